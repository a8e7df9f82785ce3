"""Progress bars of runs, and what is different in a notebook."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from trainyard.system import notebook
from trainyard.system.notebook import BarProgress, build_default_progress, hide_notebook_output, open_progress_bar
from trainyard.system.progress import Progress


@pytest.fixture
def in_notebook(monkeypatch):
    """Pretends that this process is the kernel of a notebook without ipywidgets."""
    ipython = sys.modules.get("IPython") or ModuleType("IPython")
    monkeypatch.setattr(ipython, "get_ipython", lambda: SimpleNamespace(kernel=object()), raising=False)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(notebook.importlib.util, "find_spec", lambda _: None)


def test_scripts_report_nothing_by_default(capsys):
    progress = build_default_progress()
    assert type(progress) is Progress
    progress.epoch(1, 2, {"loss/train": 0.5})
    assert capsys.readouterr() == ("", "")
    with hide_notebook_output():
        sys.stdout.write("visible")
    assert capsys.readouterr().out == "visible"


def test_a_program_that_imported_the_modules_of_notebooks_is_no_notebook(monkeypatch):
    for name in ("ipykernel", "IPython"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["IPython"].get_ipython = lambda: None
    assert type(build_default_progress()) is Progress


@pytest.mark.usefixtures("in_notebook")
def test_without_widgets_a_notebook_shows_text_that_updates(capsys):
    progress = build_default_progress()
    assert isinstance(progress, BarProgress)
    progress.stage("train")
    progress.epoch(1, 2, {"loss/train": 0.5, "accuracy/val": 0.25, "time/epoch_seconds": 1.0})
    progress.epoch(2, 2, {"loss/train": 0.4, "accuracy/val": 0.75, "time/epoch_seconds": 1.0})
    progress.stage("evaluate")
    output = capsys.readouterr().out
    assert "epochs: 100%" in output
    assert "loss/train=0.4000, accuracy/val=0.7500" in output
    assert "time/" not in output


@pytest.mark.usefixtures("in_notebook")
def test_a_bar_that_ends_before_the_last_epoch_is_closed(capsys):
    progress = build_default_progress()
    progress.epoch(1, 10, {})
    progress.stage("evaluate")
    progress.epoch(1, 3, {})
    progress.stage("evaluate")
    output = capsys.readouterr().out
    assert "1/10" in output
    assert "1/3" in output


def test_a_bar_starts_at_zero(capsys):
    bar = open_progress_bar(4, "trials")
    bar.update(3)
    bar.close()
    assert "3/4" in capsys.readouterr().out

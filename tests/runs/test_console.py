from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from trainyard.data.dataset import DataSpec
from trainyard.evaluation.scoring import score_predictions
from trainyard.runs import ScreenProgress, print_labelled
from trainyard.runs.console import _shorten_report


@pytest.mark.parametrize(("classes", "lines"), [(3, 9), (100, 106), (101, 7), (1000, 7)])
def test_the_terminal_shows_only_the_averages_of_many_classes(classes, lines):
    spec = DataSpec((2, 2), tuple(f"c{label}" for label in range(classes)), 255)
    result = score_predictions(np.eye(classes, dtype=np.float32), np.arange(classes, dtype=np.uint16), spec)
    shown = _shorten_report(result)
    assert len(shown.splitlines()) == lines
    assert ("\n          c2 " in shown) == (classes <= 100)
    assert f"macro avg       1.00      1.00      1.00 {classes:9}" in shown
    assert ("classification_report.txt" in shown) == (classes > 100)


def test_other_progress_bars_are_visible_while_the_data_is_loaded(monkeypatch):
    """Rich replaces stdout and stderr while it draws, and holds back lines without an end, such as a bar of tqdm."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    drawing = []
    with ScreenProgress() as progress:
        for stage in ("start", "load", "build"):
            progress.stage(stage)
            drawing.append(progress._bars.live.is_started)
    assert drawing == [True, False, True]
    assert not progress._bars.live.is_started


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (60, ["time      21.4 s, of which training 0.4 s"]),
        (30, ["time      21.4 s, of which", "          training 0.4 s"]),
        (12, ["time", "21.4 s, of", "which", "training 0.4", "s"]),
    ],
)
def test_labelled_lines_are_wrapped_between_words(width, lines):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, highlight=False)
    print_labelled(console, "time", "21.4 s, of which training 0.4 s")
    assert [line.rstrip() for line in console.file.getvalue().splitlines()] == lines


def test_commands_and_lines_without_a_terminal_are_not_wrapped():
    text = "trainyard train --config-dir sweeps/t/conf"
    for is_terminal, is_command in ((True, True), (False, False)):
        console = Console(file=io.StringIO(), force_terminal=is_terminal, width=20, color_system=None, highlight=False)
        print_labelled(console, "train it", text, is_command=is_command)
        assert console.file.getvalue() == f"train it  {text}\n"

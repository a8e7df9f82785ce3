from __future__ import annotations

import numpy as np
import pytest

from trainyard.data.dataset import DataSpec
from trainyard.evaluation.scoring import score_predictions
from trainyard.runs import ScreenProgress
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


@pytest.mark.parametrize("classes", [3, 101])
def test_the_report_fits_a_narrow_terminal(classes):
    spec = DataSpec((2, 2), tuple(f"c{label}" for label in range(classes)), 255)
    result = score_predictions(np.eye(classes, dtype=np.float32), np.arange(classes, dtype=np.uint16), spec)
    table, *note = _shorten_report(result, 40).split("\n\nThe scores")
    lines = table.splitlines()
    assert lines[0].split() == ["precision", "recall", "f1-score"]
    assert lines[-1].split() == ["weighted", "avg", "1.00", "1.00", "1.00"]
    assert lines[-3].split() == ["accuracy", "1.00"]
    assert max(map(len, lines)) <= 40
    assert len(note) == (classes > 100)
    assert _shorten_report(result, 80) == _shorten_report(result)

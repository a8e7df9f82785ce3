from __future__ import annotations

from trainyard.runs import ScreenProgress


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

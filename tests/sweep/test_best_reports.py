"""Reports of the best points of a sweep, which separate processes write."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

from trainyard.evaluation import TrialResult
from trainyard.sweep import best_reports
from trainyard.sweep.best_reports import write_reports_in_parallel
from trainyard.sweep.folder import SweepFolder


def _build_results(*folders):
    result = TrialResult(
        objective=0.9, metrics={}, epochs=1, history=(), seconds=1.0, run_id=None, folder="", parameters=1
    )
    return [replace(result, folder=str(folder)) for folder in folders]


def test_all_reports_are_written_at_the_same_time_if_trials_ran_in_parallel(monkeypatch):
    def write_when_all_have_started(folder, notify):
        (folder / "started").touch()
        for _ in range(600):
            if len(list(folder.parent.glob("*/started"))) == 3:
                (folder / "report.html").touch()
                return
            time.sleep(0.1)

    folders = [Path.cwd() / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setattr(best_reports, "write_missing_report", write_when_all_have_started)
    with write_reports_in_parallel(_build_results(*folders), SweepFolder(Path("sweep")), 2, print):
        pass
    assert all((folder / "report.html").exists() for folder in folders)


def test_reports_are_written_until_the_end_of_the_block_and_warnings_are_passed_on(train_once):
    bare = train_once("tracking.plots=none", "dataset.validation_fraction=0.2", "training.early_stopping.patience=9")
    complete, broken = Path("complete"), Path("broken")
    for folder in (complete, broken):
        shutil.copytree(bare.folder, folder)
    (broken / "config.yaml").unlink()
    config = complete / "config.yaml"
    config.write_text(config.read_text().replace("limit: 300", "limit: 200"))  # other test images
    results = _build_results(complete, broken, Path("missing"))
    notices = []
    with write_reports_in_parallel(results, SweepFolder(Path("sweep")), 2, notices.append):
        pass
    assert (complete / "report.html").is_file()
    assert (complete / "confusion_matrix.png").is_file()
    assert len(notices) == 1
    assert "the plots of test images are left out" in notices[0]
    assert not (broken / "report.html").exists()

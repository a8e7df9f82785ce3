"""Reports of the best points of a sweep, which separate processes write."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from trainyard.evaluation import TrialResult
from trainyard.sweep.best_reports import write_reports_in_parallel
from trainyard.sweep.folder import SweepFolder


def test_reports_are_written_until_the_end_of_the_block_and_warnings_are_passed_on(train_once):
    bare = train_once("tracking.plots=none", "dataset.validation_fraction=0.2", "training.early_stopping.patience=9")
    complete, broken = Path("complete"), Path("broken")
    for folder in (complete, broken):
        shutil.copytree(bare.folder, folder)
    (broken / "config.yaml").unlink()
    config = complete / "config.yaml"
    config.write_text(config.read_text().replace("limit: 300", "limit: 200"))  # other test images
    result = TrialResult(
        objective=0.9, metrics={}, epochs=1, history=(), seconds=1.0, run_id=None, folder=str(complete), parameters=1
    )
    results = [replace(result, folder=str(folder)) for folder in (complete, broken, Path("missing"))]
    notices = []
    with write_reports_in_parallel(results, SweepFolder(Path("sweep")), 2, notices.append):
        pass
    assert (complete / "report.html").is_file()
    assert (complete / "confusion_matrix.png").is_file()
    assert len(notices) == 1
    assert "the plots of test images are left out" in notices[0]
    assert not (broken / "report.html").exists()

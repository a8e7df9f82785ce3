from __future__ import annotations

import errno
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from trainyard import run_experiment
from trainyard.config import registry
from trainyard.errors import TrackingError, TrainyardError
from trainyard.reporting import plots
from trainyard.runs.warning_log import WarningLog
from trainyard.system import Progress
from trainyard.system.signals import raise_on_signals
from trainyard.tracking.connection import connect


class Listening(Progress):
    """Keeps all details."""

    def __init__(self):
        self.details = []

    def detail(self, text):
        self.details.append(text)


def _fail(error, file):
    """Writes a part of a file, then raises the error."""
    file.write_text("partial")
    raise error


@pytest.mark.parametrize(
    "error", [ValueError("no such colour"), OSError("no such font"), RuntimeError("\udcff"), SystemError()]
)
def test_an_error_while_a_file_is_written_becomes_a_warning(error):
    progress, folder = Listening(), Path.cwd()
    warnings = WarningLog(folder, progress.detail)
    (folder / "evaluation").mkdir()
    file = folder / "evaluation" / "plot.png"
    with warnings.catch(file):
        _fail(error, file)
    assert not file.exists()
    (message,) = warnings.messages
    assert message.startswith(f"evaluation/plot.png is left out, because it can't be written: {type(error).__name__}: ")
    assert progress.details == [f"warning: {message}"]
    written = (folder / "warnings.txt").read_text()
    assert "Traceback" in written
    assert "in _fail" in written


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (MemoryError(), MemoryError),
        (TrackingError("unreachable"), TrackingError),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), TrainyardError),
    ],
    ids=["interrupt", "memory", "tracking", "full disk"],
)
def test_errors_that_a_file_did_not_cause_are_raised(error, raised):
    warnings = WarningLog(Path.cwd(), Progress().detail)
    with pytest.raises(raised), warnings.catch(Path("plot.png").absolute()):
        raise error
    assert not warnings.messages


def test_an_interrupt_that_a_library_swallows_while_it_draws_is_raised():
    import signal

    def draw():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            raise ValueError("interrupted") from interrupt

    warnings = WarningLog(Path.cwd(), Progress().detail)
    with pytest.raises(KeyboardInterrupt), raise_on_signals(), warnings.catch(Path("plot.png").absolute()):
        draw()


@pytest.fixture
def flawed(once, tiny, keras):
    """A run with a class without test images, metrics without a value, and a plot and a report that can't be written."""

    def run_with_problems():
        generator = np.random.default_rng(0)
        images, labels = generator.integers(0, 256, (40, 8, 8, 2), np.uint8), np.arange(40) % 3
        np.savez("data.npz", x_train=images, y_train=labels, x_test=images[labels < 2], y_test=labels[labels < 2])

        def fail(*arguments):
            _fail(ValueError("no ink"), arguments[-1])

        def fail_metric(probabilities, labels):
            raise ZeroDivisionError

        def warn(probabilities, labels):
            warnings.simplefilter("default")  # only until the warnings of the metric have been recorded
            warnings.warn("too few\nimages", RuntimeWarning, stacklevel=1)
            return 0.25

        progress = Listening()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plots, "draw_calibration", fail)
            patch.setitem(registry._metrics, "broken", fail_metric)
            patch.setitem(registry._metrics, "undefined", lambda probabilities, labels: float("nan"))
            patch.setitem(registry._metrics, "noisy", warn)
            config = tiny(
                "dataset=npz", "dataset.path=data.npz", "dataset.limit=null", "training.epochs=1",
                "evaluation.metrics=[broken,undefined,noisy]",
            )  # fmt: skip
            result = run_experiment(config, progress=progress)
        return result, progress.details

    return once(run_with_problems)


def test_problems_after_the_training_do_not_fail_the_run_and_are_logged(flawed):
    result, details = flawed
    client = connect(result.tracking_uri)
    run = client.get_run(result.run_id)
    assert run.info.status == "FINISHED"
    messages = [detail.removeprefix("warning: ") for detail in details if detail.startswith("warning: ")]
    for part in (
        "no test images of 1 of 3 classes: 2.",
        "evaluation.metrics: broken failed: ZeroDivisionError",
        "evaluation.metrics: undefined is undefined",
        "evaluation.metrics: the function of noisy issued a warning: RuntimeWarning: too few images",
        "evaluation/calibration.png is left out, because it can't be written: ValueError: no ink",
    ):
        assert sum(part in message for message in messages) == 1, part
    logged = {
        Path(file.path).name for path in (None, "evaluation") for file in client.list_artifacts(result.run_id, path)
    }
    assert {"warnings.txt", "confusion_matrix.png", "report.html", "mistakes.png"} <= logged
    assert not {"calibration.png", "error.txt"} & logged
    assert (result.folder / "warnings.txt").read_text().count("Traceback") == 2
    report = (result.folder / "report.html").read_text()
    assert "no test images of 1 of 3 classes: 2." in report
    assert "calibration.png is left out" in report


def test_undefined_scores_are_null_in_the_tables_and_not_logged(flawed):
    result, _ = flawed
    metrics = connect(result.tracking_uri).get_run(result.run_id).data.metrics
    assert {"broken/test", "undefined/test", "roc_auc/test", "recall_by_class/2", "f1_by_class/2"}.isdisjoint(metrics)
    table = json.loads((result.folder / "evaluation" / "per_class.json").read_text())["data"]
    name, f1, _, recall, support = table[2]
    assert (name, f1, recall, support) == ("2", None, None, 0)

"""What a run that fails or is interrupted leaves in its folder and in the store."""

from __future__ import annotations

import errno
import json
import os
import re
import runpy
import shutil
from pathlib import Path

import pytest

from trainyard import DatasetError, TrainingError, run_experiment
from trainyard.errors import TrialPruned
from trainyard.reporting import plots
from trainyard.runs import failure, report_run
from trainyard.runs.context import TrialInfo
from trainyard.system import Progress
from trainyard.tracking import TrackingStore, load_run_record, names
from trainyard.tracking.connection import connect


class Failing(Progress):
    """Raises an error in the second epoch."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def epoch(self, epoch, epochs, metrics):
        if epoch == 2:
            raise self.error


def fail(config, error, **options):
    """Performs a run that raises the error in its second epoch, and returns its folder."""
    with pytest.raises(type(error)):
        run_experiment(config, progress=Failing(error), **options)
    (folder,) = Path("outputs/tiny").iterdir()
    return folder


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()], ids=["an error", "Ctrl-C"])
def test_a_run_that_ends_early_has_a_report_and_a_description(quick, keras, error):
    config = quick("tracking=off", "training.epochs=5", "training.checkpoint=true", "notes=hello")
    folder = fail(config, error)
    status, verb, message = ("KILLED", "Stopped", "SIGINT (Ctrl-C)")
    if isinstance(error, RuntimeError):
        status, verb, message = ("FAILED", "Failed", "RuntimeError: boom")
    summary = f"{verb} while training, in epoch 2 of 5"
    text = (folder / "report.html").read_text()
    for part in (summary, message, status, f"trainyard train resume={folder}", "Metrics of all epochs"):
        assert part in text
    assert text.count("data:image/png") == 1
    assert ("Traceback" in text) == (status == "FAILED")
    run = load_run_record(folder)
    assert run.status == status
    assert run.tags[names.NOTE].startswith(f"**{summary}.** ")
    assert run.tags[names.NOTE].endswith("hello")


def test_a_run_that_fails_before_its_training_has_a_report(quick, keras):
    with pytest.raises(DatasetError):
        run_experiment(quick("tracking=off", "dataset=mnist", "dataset.path=nowhere"))
    (folder,) = Path("outputs/tiny").iterdir()
    text = (folder / "report.html").read_text()
    assert "Failed while loading the data" in text
    assert "dataset.path: expected the four MNIST idx files" in text
    assert "mnist, not loaded" in text
    assert "Traceback" not in text


def test_the_location_in_code_of_the_user_is_in_the_report(quick, keras):
    Path("mine.py").write_text("def stop(epoch, logs):\n    raise ValueError('my mistake')\n")
    stop = runpy.run_path(str(Path("mine.py").absolute()))["stop"]
    callback = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    with pytest.raises(ValueError, match="my mistake"):
        run_experiment(quick("tracking=off"), callbacks=[callback])
    (folder,) = Path("outputs/tiny").iterdir()
    assert "my mistake (in mine.py, line 2, in stop)" in (folder / "report.html").read_text()


@pytest.mark.parametrize("is_trial", [False, True])
def test_trials_and_runs_without_plots_have_no_report(quick, keras, is_trial):
    trial = TrialInfo("s", None, 1, "a trial", print) if is_trial else None
    config = quick("tracking=off", *([] if is_trial else ["tracking.plots=none"]))
    folder = fail(config, RuntimeError("boom"), trial=trial)
    assert not (folder / "report.html").exists()
    assert "boom" in load_run_record(folder).tags[names.NOTE]


def load_without_times(folder):
    """Returns the report of a run that failed, without what the run does not log."""
    text = (folder / "report.html").read_text()
    text = re.sub(r"<section>\s*<h2>Time</h2>.*?</section>", "", text, flags=re.DOTALL)
    text = re.sub(r"<dt>Duration</dt><dd>[^<]*", "", text)
    return re.sub(r"\s+", " ", re.sub(r"Ended [^,]*", "", text))


@pytest.mark.parametrize("error", [RuntimeError("boom"), TrainingError("two\n\nparts"), KeyboardInterrupt()])
def test_the_report_of_a_failed_run_can_be_written_later(quick, keras, error):
    folder = fail(quick("tracking=off", "training.checkpoint=true", "notes=hello"), error)
    original = load_without_times(folder)
    for name in ("report.html", "learning_curves.png"):
        (folder / name).unlink()
    assert report_run(str(folder), None, print) == folder.absolute() / "report.html"
    assert load_without_times(folder) == original
    assert "Tested weights" not in original


def test_the_report_of_a_failed_run_is_logged_and_can_be_written_from_the_store(quick, keras, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("cache").absolute()))
    config = quick("tracking.plots=none")
    folder = fail(config, RuntimeError("boom"))
    run = load_run_record(folder)
    store = TrackingStore.from_config(config.tracking)
    shutil.move(folder, "elsewhere")
    text = report_run(run.run_id, store, print).read_text()
    assert "RuntimeError: boom" in text
    assert "Failed while training, in epoch 2 of" in text
    files = connect(store.uri).list_artifacts(run.run_id)
    assert {"report.html", "learning_curves.png"} <= {file.path for file in files}


@pytest.mark.parametrize(
    ("kept", "activity"),
    [
        (("run", "params"), "loading the data"),
        (("run", "params", "inputs"), "building the model"),
        (("run", "params", "inputs", "size", "tags", "metrics"), "training, in epoch 2 of 5"),
    ],
    ids=["data", "model", "training"],
)
def test_the_report_of_a_run_whose_process_died_says_how_far_it_came(quick, keras, kept, activity):
    """The operation log is that of a run that was killed before it could log its end."""
    folder = fail(quick("tracking=off", "training.epochs=5"), RuntimeError("boom"))
    for name in ("report.html", "learning_curves.png", "error.txt"):
        (folder / name).unlink()
    log = folder / ".tracking.jsonl"
    lines = []
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        values = entry.get("values", {})
        kind = "size" if "model.parameters" in values else entry["what"]
        if kind == "run":
            entry["tags"]["pid"] = "0"
        if kind in kept and not {names.ERROR, names.NOTE} & set(values):
            lines += [json.dumps(entry), "\n"]
    log.write_text("".join(lines))
    text = report_run(str(folder), None, print).read_text()
    assert f"Stopped while {activity}" in text
    assert "the process ended without an error report" in text
    assert "KILLED" in text
    assert ("Metrics of all epochs" in text) == ("metrics" in kept)


def test_the_report_of_a_pruned_trial_says_why(quick, keras):
    trial = TrialInfo("s", None, 1, "a trial", print, prune_reason=lambda: "after epoch 1, with accuracy/val 0.1")
    with pytest.raises(TrialPruned):
        run_experiment(quick("tracking=off", "training.epochs=5"), trial=trial)
    (folder,) = Path("outputs/tiny").iterdir()
    text = report_run(str(folder), None, print).read_text()
    assert "The sweep pruned the trial after epoch 1, with accuracy/val 0.1." in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    "problem",
    [MemoryError(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), ValueError("no font")],
    ids=["memory", "disk", "a plot"],
)
@pytest.mark.parametrize("function", ["draw_learning_curves", "write_failure_report"])
def test_an_error_while_the_report_is_written_does_not_hide_that_of_the_run(
    quick, keras, monkeypatch, problem, function
):
    def refuse(*_arguments):
        raise problem

    monkeypatch.setattr(plots if function.startswith("draw") else failure, function, refuse)
    folder = fail(quick("tracking=off"), RuntimeError("boom"))
    run = load_run_record(folder)
    assert (run.status, run.tags[names.ERROR]) == ("FAILED", "RuntimeError: boom")
    is_written = isinstance(problem, ValueError) and function.startswith("draw")
    assert (folder / "report.html").exists() == is_written

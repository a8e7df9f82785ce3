"""The scheduler's reactions to the ends of trials, with launchers that only simulate them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobStatus

from trainyard.errors import TrackingError
from trainyard.evaluation.trials import TrialResult
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.launch.launcher import JobResult
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.plan import make_plan
from trainyard.sweep.progress_file import EpochFile, LatestEpoch, load_epochs
from trainyard.sweep.results import RESULT
from trainyard.sweep.scheduler import SweepScheduler
from trainyard.tracking import RunRequest, TrackingStore
from trainyard.tracking.operation_log import OperationLog


def _sweep(*overrides):
    """Starts or resumes a sweep over three seeds in the working directory."""
    plan = make_plan(["sweep.objective=off", "seed=1,2,3", "sweep.name=mine", *overrides])
    folder = SweepFolder(Path("sweeps/mine"))
    folder.path.mkdir(parents=True, exist_ok=True)
    sweep = SweepScheduler(plan.trials, plan.policy, folder, Ledger(folder.ledger), task_function=lambda _: None)
    sweep.load_ledger()
    return sweep


def _write_result(folder, *, status):
    """Writes the result and the journal of a trial that ended with a status."""
    folder.mkdir(parents=True)
    journal = OperationLog(folder, pytest.fail)
    journal.record_start(TrackingStore("http://host"), RunRequest("tiny", "", "seed1", {}, logs_model=True))
    journal.record_end(status)
    result = TrialResult(
        objective=None, metrics={}, epochs=1, history=(), seconds=1.0, run_id="lost", folder=str(folder), parameters=1
    )
    (folder / RESULT).write_text(json.dumps(dataclasses.asdict(result)))


class Launcher:
    """Simulates Trainyard's launcher: each trial writes a result, and the first trial fails after that."""

    has_free_slot = True

    def __init__(self, sweep, status):
        self.sweep, self.status = sweep, status
        self.started, self.ended = [], []

    @contextlib.contextmanager
    def open(self, held):
        yield self

    def __len__(self):
        return len(self.ended)

    def compose(self, number, overrides):
        subdir = str(self.sweep.folder.find_next_attempt_folder(number + 1).relative_to(self.sweep.folder.path))
        return SimpleNamespace(hydra=SimpleNamespace(sweep=SimpleNamespace(subdir=subdir)), number=number)

    def submit(self, config):
        is_first = not self.started
        self.started.append(config.number + 1)
        folder = self.sweep.folder.path / config.hydra.sweep.subdir
        _write_result(folder, status=self.status if is_first else "FINISHED")
        self.ended.append(JobResult(config.number, JobReturn(), "TrackingError: the store is down" if is_first else ""))

    def poll(self):
        assert self.ended, "the launcher would wait for ever"
        ended, self.ended = self.ended, []
        return ended


def _raise_tracking_error(_):
    raise TrackingError("the store is down")


def test_a_trial_that_loses_the_store_does_not_end_the_sweep_and_is_not_trained_again():
    sweep = _sweep("sweep.retries=2")
    sweep.is_finished = _raise_tracking_error
    launcher = Launcher(sweep, status="FINISHED")
    sweep.run(launcher, None)
    assert launcher.started == [1, 2, 3]
    assert sweep.outcomes.failed == {1: "TrackingError: the store is down"}
    assert sorted(sweep.outcomes.done) == [2, 3]

    resumed = _sweep("sweep.retries=2")
    assert resumed.outcomes.waiting == [1]
    uploaded = []
    resumed.is_finished, resumed.upload_run = lambda _: False, lambda folder: uploaded.append(folder) or "uploaded"
    resumed.adopt_finished()
    assert uploaded == [sweep.folder.path / "trials" / "1"]
    assert (resumed.outcomes.waiting, resumed.outcomes.done[1].run_id) == ([], "uploaded")
    assert sorted(_sweep().outcomes.done) == [1, 2, 3]


def test_a_trial_whose_run_was_not_finished_is_trained_again():
    sweep = _sweep("sweep.retries=1")
    sweep.is_finished = lambda _: False
    launcher = Launcher(sweep, status="KILLED")
    sweep.run(launcher, None)
    assert launcher.started == [1, 2, 3, 1]
    assert sorted(sweep.outcomes.done) == [1, 2, 3]


@pytest.mark.parametrize(("policy", "started"), [("sweep.on_error=stop", 1), ("sweep.max_failures=2", 2)])
def test_the_failure_policy_also_applies_to_sequential_trials(policy, started):
    batches = []

    class FailingLauncher(BasicLauncher):
        def launch(self, job_overrides, initial_job_idx):
            batches.append(list(job_overrides))
            job = JobReturn(status=JobStatus.FAILED)
            job.return_value = RuntimeError("no")
            return [job] * len(job_overrides)

    sweep = _sweep(policy)
    sweep.run(FailingLauncher(), None)
    assert [len(batch) for batch in batches] == [1] * started
    assert len(sweep.outcomes.waiting) == 3 - started


@pytest.mark.parametrize(("size", "expected"), [(None, [3]), (2, [2, 1])])
def test_a_batch_launcher_gets_batches_of_the_requested_size(size, expected):
    batch_sizes = []

    class BatchLauncher:
        def launch(self, job_overrides, initial_job_idx):
            batch_sizes.append(len(job_overrides))
            for overrides in job_overrides:
                number = next(trial.number for trial in sweep.trials if trial.overrides == tuple(overrides))
                _write_result(sweep.folder.find_next_attempt_folder(number), status="FINISHED")
            return [JobReturn(status=JobStatus.COMPLETED) for _ in job_overrides]

    sweep = _sweep()
    sweep.run(BatchLauncher(), size)
    assert batch_sizes == expected
    assert sorted(sweep.outcomes.done) == [1, 2, 3]


def test_epochs_of_an_earlier_start_are_removed(tmp_path):
    file = tmp_path / "epochs.json"
    trial = _sweep().trials[0]
    EpochFile(file).on_epoch_end(trial, 9, 10, {"loss/train": 0.5})
    assert load_epochs(file) == {1: LatestEpoch(9, 10, {"loss/train": 0.5})}
    EpochFile(file)
    assert load_epochs(file) == {}

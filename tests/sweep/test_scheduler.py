"""What a sweep makes of how its trials end, with launchers that only pretend to run them."""

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
from trainyard.sweep.launch.launcher import JobEnd
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.plan import make_plan
from trainyard.sweep.progress_file import Epoch, EpochFile, read_epochs
from trainyard.sweep.results import RESULT
from trainyard.sweep.scheduler import PlannedSweep
from trainyard.tracking.journal import Journal


def _sweep(*overrides):
    """Takes up the sweep of this folder over three seeds."""
    plan = make_plan(["sweep.objective=off", "seed=1,2,3", "sweep.name=mine", *overrides])
    folder = SweepFolder(Path("sweeps/mine"))
    folder.path.mkdir(parents=True, exist_ok=True)
    sweep = PlannedSweep(plan.trials, plan.policy, folder, Ledger(folder.ledger), work=lambda _: None)
    sweep.take_up()
    return sweep


def _leave_result(folder, *, status):
    """Leaves what a trial leaves, which told its journal how it ended."""
    folder.mkdir(parents=True)
    journal = Journal(folder, pytest.fail)
    journal.begin("http://host", "tiny", "", "seed1", {}, model=True)
    journal.end(status)
    result = TrialResult(
        objective=None, metrics={}, epochs=1, history=(), seconds=1.0, run_id="lost", folder=str(folder), parameters=1
    )
    (folder / RESULT).write_text(json.dumps(dataclasses.asdict(result)))


class Launcher:
    """Has each trial leave a result, and the first of them fail after that; `open` and the rest are as of ours."""

    free = True

    def __init__(self, sweep, status):
        self.sweep, self.status = sweep, status
        self.begun, self.ended = [], []

    @contextlib.contextmanager
    def open(self, held):
        yield self

    def __len__(self):
        return len(self.ended)

    def compose(self, number, overrides):
        subdir = str(self.sweep.folder.next_attempt(number + 1).relative_to(self.sweep.folder.path))
        return SimpleNamespace(hydra=SimpleNamespace(sweep=SimpleNamespace(subdir=subdir)), number=number)

    def submit(self, config):
        first = not self.begun
        self.begun.append(config.number + 1)
        folder = self.sweep.folder.path / config.hydra.sweep.subdir
        _leave_result(folder, status=self.status if first else "FINISHED")
        self.ended.append(JobEnd(config.number, JobReturn(), "TrackingError: the store is away" if first else ""))

    def poll(self):
        assert self.ended, "a launcher waits for what will never come"
        ended, self.ended = self.ended, []
        return ended


def _store_is_away(_):
    raise TrackingError("the store is away")


def test_a_trial_that_loses_the_store_does_not_end_the_sweep_and_is_not_trained_again():
    sweep = _sweep("sweep.retries=2")
    sweep.is_finished = _store_is_away
    launcher = Launcher(sweep, status="FINISHED")
    sweep.conduct(launcher, None)
    assert launcher.begun == [1, 2, 3]
    assert sweep.tally.failed == {1: "TrackingError: the store is away"}
    assert sorted(sweep.tally.done) == [2, 3]

    again = _sweep("sweep.retries=2")
    assert again.tally.waiting == [1]
    told = []
    again.is_finished, again.bring_in = lambda _: False, lambda folder: told.append(folder) or "found"
    again.recover()
    assert told == [sweep.folder.path / "trials" / "1"]
    assert (again.tally.waiting, again.tally.done[1].run_id) == ([], "found")
    assert sorted(_sweep().tally.done) == [1, 2, 3]


def test_a_trial_that_ended_before_its_run_was_finished_is_trained_again():
    sweep = _sweep("sweep.retries=1")
    sweep.is_finished = lambda _: False
    launcher = Launcher(sweep, status="KILLED")
    sweep.conduct(launcher, None)
    assert launcher.begun == [1, 2, 3, 1]
    assert sorted(sweep.tally.done) == [1, 2, 3]


@pytest.mark.parametrize(("policy", "begun"), [("sweep.on_error=stop", 1), ("sweep.max_failures=2", 2)])
def test_the_policy_holds_where_one_trial_after_the_other_is_run_too(policy, begun):
    batches = []

    class Failing(BasicLauncher):
        def launch(self, job_overrides, initial_job_idx):
            batches.append(list(job_overrides))
            job = JobReturn(status=JobStatus.FAILED)
            job.return_value = RuntimeError("no")
            return [job] * len(job_overrides)

    sweep = _sweep(policy)
    sweep.conduct(Failing(), None)
    assert [len(batch) for batch in batches] == [1] * begun
    assert len(sweep.tally.waiting) == 3 - begun


@pytest.mark.parametrize(("size", "batches"), [(None, [3]), (2, [2, 1])])
def test_a_launcher_that_takes_batches_gets_all_or_as_many_as_it_is_to_have(size, batches):
    given = []

    class Batches:
        def launch(self, job_overrides, initial_job_idx):
            given.append(len(job_overrides))
            for overrides in job_overrides:
                number = next(trial.number for trial in sweep.trials if trial.overrides == tuple(overrides))
                _leave_result(sweep.folder.next_attempt(number), status="FINISHED")
            return [JobReturn(status=JobStatus.COMPLETED) for _ in job_overrides]

    sweep = _sweep()
    sweep.conduct(Batches(), size)
    assert given == batches
    assert sorted(sweep.tally.done) == [1, 2, 3]


def test_epochs_of_an_earlier_start_are_forgotten(tmp_path):
    file = tmp_path / "epochs.json"
    trial = _sweep().trials[0]
    EpochFile(file).epoch(trial, 9, 10, {"loss/train": 0.5})
    assert read_epochs(file) == {1: Epoch(9, 10, {"loss/train": 0.5})}
    EpochFile(file)
    assert read_epochs(file) == {}

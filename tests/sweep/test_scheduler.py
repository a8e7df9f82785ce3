"""The scheduler's reactions to the ends of trials, with launchers that only simulate them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.utils import JobReturn, JobStatus

from trainyard.errors import TrackingError
from trainyard.evaluation.trials import TrialResult
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.launch.process_pool import JobExit
from trainyard.sweep.listener import SweepListener
from trainyard.sweep.plan import make_plan
from trainyard.sweep.recorder import TrialRecorder
from trainyard.sweep.results import RESULT
from trainyard.sweep.scheduler import SweepScheduler
from trainyard.sweep.status import load_sweep_status
from trainyard.sweep.trial_queue import TrialQueue
from trainyard.sweep.trial_runner import LauncherRunner
from trainyard.system import collect_process_info
from trainyard.tracking import RunRequest, Tracker, TrackingStore
from trainyard.tracking.operation_log import OperationLog


def _load_sweep(*overrides):
    """Returns the plan and the recorder of a new or resumed sweep over three seeds in the working directory."""
    plan = make_plan(["sweep.objective=off", "seed=1,2,3", "sweep.name=mine", *overrides])
    folder = SweepFolder(Path("sweeps/mine"))
    folder.path.mkdir(parents=True, exist_ok=True)
    return plan, TrialRecorder(plan.trials, folder, plan.objective)


def _run(plan, recorder, runner, is_finished=lambda _: True):
    """Runs the waiting trials; `is_finished` replaces the tracking store."""
    runs = SimpleNamespace(is_finished=is_finished)
    SweepScheduler(plan.policy, recorder, TrialQueue(), runner, runs=runs).run()


def _write_result(folder, *, status):
    """Writes the result and the journal of a trial that ended with a status."""
    folder.mkdir(parents=True)
    journal = OperationLog(folder, pytest.fail)
    journal.record_start(TrackingStore("http://host"), RunRequest("tiny", "", "seed1", {}, model_label="16 relu"))
    journal.record_end(status)
    result = TrialResult(
        objective=None, metrics={}, epochs=1, history=(), seconds=1.0, run_id="lost", folder=str(folder), parameters=1
    )
    (folder / RESULT).write_text(json.dumps(dataclasses.asdict(result)))


class Runner:
    """Each trial writes a result, and the process of the first trial fails after that."""

    has_free_slot = True

    def __init__(self, status):
        self.status = status
        self.started, self.ended = [], []

    def __len__(self):
        return len(self.ended)

    def start(self, trial, folder):
        is_first = not self.started
        self.started.append(trial.number)
        _write_result(folder, status=self.status if is_first else "FINISHED")
        failure = "TrackingError: the store is down" if is_first else ""
        self.ended.append(JobExit(trial.number, None, failure))

    def poll(self):
        assert self.ended, "the scheduler would wait for ever"
        ended, self.ended = self.ended, []
        return ended


def _raise_tracking_error(_):
    raise TrackingError("the store is down")


def test_a_trial_that_loses_the_store_does_not_end_the_sweep_and_is_not_trained_again():
    plan, recorder = _load_sweep("sweep.retries=2")
    runner = Runner(status="FINISHED")
    _run(plan, recorder, runner, _raise_tracking_error)
    assert runner.started == [1, 2, 3]
    assert recorder.outcomes.failed == {1: "TrackingError: the store is down"}
    assert sorted(recorder.outcomes.done) == [2, 3]

    _, resumed = _load_sweep("sweep.retries=2")
    assert resumed.outcomes.waiting == [1]
    uploaded = []
    resumed.adopt_finished(
        SimpleNamespace(find_finished_trials=dict, upload_run=lambda folder: uploaded.append(folder) or "uploaded")
    )
    assert uploaded == [Path("sweeps/mine/trials/1").absolute()]
    assert (resumed.outcomes.waiting, resumed.outcomes.done[1].run_id) == ([], "uploaded")
    assert sorted(_load_sweep()[1].outcomes.done) == [1, 2, 3]


def test_a_trial_whose_run_was_not_finished_is_trained_again():
    plan, recorder = _load_sweep("sweep.retries=1")
    runner = Runner(status="KILLED")
    _run(plan, recorder, runner, lambda _: False)
    assert runner.started == [1, 2, 3, 1]
    assert sorted(recorder.outcomes.done) == [1, 2, 3]


@pytest.mark.parametrize(("policy", "started"), [("sweep.on_error=stop", 1), ("sweep.max_failures=2", 2)])
def test_the_failure_policy_also_applies_to_sequential_trials(policy, started):
    batches = []

    class FailingLauncher:
        def launch(self, job_overrides, initial_job_idx):
            batches.append(list(job_overrides))
            job = JobReturn(status=JobStatus.FAILED)
            job.return_value = RuntimeError("no")
            return [job] * len(job_overrides)

    plan, recorder = _load_sweep(policy)
    _run(plan, recorder, LauncherRunner(FailingLauncher(), 1))
    assert [len(batch) for batch in batches] == [1] * started
    assert recorder.outcomes.failed[1] == "RuntimeError: no"
    assert len(recorder.outcomes.waiting) == 3 - started


@pytest.mark.parametrize(("size", "expected"), [(None, [3]), (2, [2, 1])])
def test_a_batch_launcher_gets_batches_of_the_requested_size(size, expected):
    batch_sizes = []
    plan, recorder = _load_sweep()

    class BatchLauncher:
        def launch(self, job_overrides, initial_job_idx):
            batch_sizes.append(len(job_overrides))
            for overrides in job_overrides:
                trial = next(trial for trial in recorder.trials if trial.overrides == tuple(overrides))
                _write_result(recorder.get_folder(trial), status="FINISHED")
            return [JobReturn(status=JobStatus.COMPLETED) for _ in job_overrides]

    _run(plan, recorder, LauncherRunner(BatchLauncher(), size))
    assert batch_sizes == expected
    assert sorted(recorder.outcomes.done) == [1, 2, 3]


def test_events_contain_the_counts_of_ended_trials():
    events = []

    class Listener(SweepListener):
        def on_trial_done(self, trial, result, counts):
            events.append((trial.number, dataclasses.astuple(counts)))

        def on_trial_failed(self, trial, reason, counts, *, will_retry):
            events.append((trial.number, will_retry, dataclasses.astuple(counts)))

    plan, recorder = _load_sweep("sweep.retries=1")
    recorder.listeners.append(Listener())
    _run(plan, recorder, Runner(status="KILLED"), lambda _: False)
    assert events == [
        (1, True, (0, 0, 0, None)),
        (2, (1, 0, 0, None)),
        (3, (2, 0, 0, None)),
        (1, (3, 0, 0, None)),
    ]


@pytest.mark.parametrize(("objective", "best"), [("accuracy/val", 0.6), ("loss/val", 0.5)])
def test_the_best_value_is_the_best_mean_of_a_point_whose_seeds_are_all_done(objective, best):
    """Point 1 has the seeds 0.1 and 0.9, point 2 has 0.6 and 0.6, and point 3 has 0.99 and no second result."""
    overrides = [f"sweep.objective={objective}", "dataset.validation_fraction=0.1", "training.epochs=1,2,3"]
    plan = make_plan([*overrides, "sweep.seeds=2", "sweep.name=mine"])
    folder = SweepFolder(Path("sweeps/mine"))
    folder.path.mkdir(parents=True)
    recorder, counts = TrialRecorder(plan.trials, folder, plan.objective), []
    recorder.listeners.append(SimpleNamespace(
        on_trial_begin=lambda *_: None, on_trial_done=lambda trial, result, count: counts.append(count.best)
    ))  # fmt: skip
    for trial, value in zip(plan.trials, (0.1, 0.9, 0.6, 0.6, 0.99), strict=False):
        recorder.record_start(trial)
        result = TrialResult(
            objective=value, metrics={}, epochs=1, history=(), seconds=1.0, run_id=None, folder="", parameters=1
        )
        recorder.record_done(trial, result)
    assert counts == [None, 0.5, 0.5, best, best]


def test_the_status_of_a_running_sweep_shows_the_last_epochs_of_its_trials():
    plan = make_plan(["sweep.objective=accuracy/val", "dataset.validation_fraction=0.1", "seed=1,2", "sweep.name=mine"])
    folder = SweepFolder(Path("sweeps/mine"))
    folder.write_plan(plan, None)
    recorder = TrialRecorder(plan.trials, folder, plan.objective)
    folder.ledger.record_session_start(collect_process_info(), 1)
    run_folder = recorder.record_start(plan.trials[0])
    recorder.record_start(plan.trials[1])
    run_folder.mkdir(parents=True)
    tracker = Tracker(None, print, "", run_folder)
    tracker.start(RunRequest("mine", "", "trial 1", {}), {})
    tracker.log_metrics({"accuracy/val": 0.5}, 1)
    tracker.log_metrics({"accuracy/val": 0.75}, 2)
    running = load_sweep_status(SweepFolder(folder.path)).progress.running
    assert {number: (trial.epoch, trial.value) for number, trial in running.items()} == {1: (2, 0.75), 2: (0, None)}

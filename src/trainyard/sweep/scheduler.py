"""Runs the trials of a planned sweep through a launcher, records their results, and resumes an interrupted sweep.

Each change of a trial's state is written to the ledger first. A trial writes its result file just before its MLflow run
becomes FINISHED. If the process of the trial or of the sweep ends between these two steps, the status of the MLflow run
decides whether the trial is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn
from hydra.types import TaskFunction
from omegaconf import DictConfig

from trainyard.config import SweepConfig, get_job_error, is_basic_launcher
from trainyard.errors import TrackingError
from trainyard.evaluation import Trial, TrialResult
from trainyard.sweep.config_loader import FrozenConfigLoader
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.launch.launcher import JobResult
from trainyard.sweep.launch.process_pool import Message
from trainyard.sweep.ledger import EpochReport, Ledger
from trainyard.sweep.listener import SweepListener
from trainyard.sweep.pruner import TrialPruner
from trainyard.sweep.results import has_finished, load_result
from trainyard.sweep.space import NOT_DRAWN


class Launcher(Protocol):
    """The interface of Hydra's launchers. Trainyard's launchers also have `open`, which accepts single jobs."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs a batch of jobs."""


class TrialQueue(Protocol):
    """Provides the trials to start."""

    def has_more(self) -> bool:
        """Returns whether `take` may still return a trial."""

    @property
    def undrawn(self) -> Sequence[int]:
        """The numbers of the trials that have not been drawn yet."""

    def put(self, trial: Trial) -> None:
        """Adds a trial to the queue."""

    def put_last(self, trial: Trial) -> None:
        """Adds a trial that starts after all other trials."""

    def take(self) -> Trial | None:
        """Removes and returns the next trial, or returns None if there is none."""

    def finish(self, trial: Trial, value: float | None) -> None:
        """Notifies the queue that a trial ended and is not retried.

        Args:
            trial: The trial.
            value: Its objective value; None if it failed or was pruned.
        """


class PlannedTrialQueue:
    """A queue of trials that are all known when the sweep is planned, as in a grid."""

    undrawn = ()

    def __init__(self) -> None:
        self._trials: deque[Trial] = deque()

    def has_more(self) -> bool:
        """Returns whether any trial is left."""
        return bool(self._trials)

    def put(self, trial: Trial) -> None:
        """Adds a trial to the queue."""
        self._trials.append(trial)

    put_last = put

    def take(self) -> Trial | None:
        """Removes and returns the next trial, or returns None if there is none."""
        return self._trials.popleft() if self._trials else None

    def finish(self, trial: Trial, value: float | None) -> None:
        """Does nothing: results do not affect which trials are run."""


_DRAWN_BATCH_SIZE = 8
"""Default number of trials in a batch, for a launcher that runs batches, while trials remain to be drawn."""


@dataclass(slots=True)
class TrialOutcomes:
    """The outcomes of the trials, by trial number.

    Attributes:
        done: The results of the finished trials, of all sessions of the sweep.
        failed: The errors of the trials that failed in this session and are not retried.
        pruned: The reasons of the pruned trials, of all sessions of the sweep.
        waiting: The numbers of the trials that remain to be run.
    """

    done: dict[int, TrialResult] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    pruned: dict[int, str] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)

    def update(self, ledger: Ledger, numbers: Sequence[int]) -> None:
        """Adds the outcomes that a ledger contains for these trials. Trials without a result are added to `waiting`."""
        for number in numbers:
            record = ledger.get_trial_record(number)
            if record.result:
                self.done[number] = record.result
            elif record.state == "pruned":
                self.pruned[number] = record.reason
            else:
                self.waiting.append(number)


class SweepScheduler:
    """Runs the trials of a sweep. It is passed to Hydra as the task function; Hydra's sweeper then calls `run`.

    Attributes:
        folder: The folder of the sweep.
        task_function: The function that runs one trial, in the process of the trial.
        outcomes: The outcomes of the trials so far.
        listeners: The objects that are notified of the progress.
        prepare: A callback that is called once, before the first trial starts.
        build_pruner: Returns the pruner, or None if trials are not pruned.
        build_queue: Returns an empty queue; the queue of a search draws further trials itself.
        is_finished: Returns whether the MLflow run of a trial with a result is FINISHED; True without tracking.
        upload_run: Uploads a run that finished while the tracking store was unreachable. It is called with the folder
            of the run and returns the run id.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        policy: SweepConfig,
        folder: SweepFolder,
        ledger: Ledger,
        task_function: TaskFunction,
    ) -> None:
        """Creates the scheduler; `load_ledger` loads the outcomes of earlier sessions.

        Args:
            trials: All trials of the sweep.
            policy: The settings for retries and failures.
            folder: The folder of the sweep, locked by this process.
            ledger: The ledger of the sweep.
            task_function: The function that runs one trial.
        """
        self.folder = folder
        self.task_function = task_function
        self.outcomes = TrialOutcomes()
        self.listeners: list[SweepListener] = []
        self.prepare: Callable[[], None] = lambda: None
        self.build_queue: Callable[[], TrialQueue] = PlannedTrialQueue
        self.build_pruner: Callable[[], TrialPruner | None] = lambda: None
        self.is_finished: Callable[[TrialResult], bool] = lambda _: True
        self.upload_run: Callable[[Path], str | None] = lambda _: None
        self._trials = {trial.number: trial for trial in trials}
        self._policy = policy
        self._ledger = ledger
        self._attempts: dict[int, int] = {}
        self._pruner: TrialPruner | None = None
        self._loader: FrozenConfigLoader | None = None
        self._prune_reasons: dict[int, str] = {}

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials, including those that were drawn so far."""
        return tuple(self._trials.values())

    def __call__(self, _: DictConfig) -> None:
        """Raises a TypeError. Hydra requires a callable, but the sweeper passes `task_function` to the launcher."""
        raise TypeError("a SweepScheduler can only be run by hydra/sweeper=trainyard, not called as a task function")

    def build_loader(self, loader: ConfigLoader) -> FrozenConfigLoader:
        """Returns a config loader that returns the planned configs; `loader` is Hydra's loader."""
        self._loader = FrozenConfigLoader(loader, self.folder)
        return self._loader

    def load_ledger(self) -> None:
        """Loads the outcomes of earlier sessions. Removes undrawn trials if the search space is exhausted."""
        if self._ledger.is_exhausted:
            self._trials = {number: trial for number, trial in self._trials.items() if trial.label != NOT_DRAWN}
        self.outcomes.update(self._ledger, list(self._trials))

    def adopt_finished(self) -> None:
        """Records the results of trials that finished after the sweep was killed, so that they are not run again.

        Runs that finished while the tracking store was unreachable are uploaded.
        """
        for number in self.outcomes.waiting:
            record = self._ledger.get_trial_record(number)
            folder = Path(record.folder)
            result = load_result(folder) if record.folder else None
            if result and self.is_finished(result):
                self._record_done(self._trials[number], result)
            elif result and has_finished(folder):
                self._record_done(self._trials[number], replace(result, run_id=self.upload_run(folder)))
        self._update_waiting()

    def _update_waiting(self) -> None:
        """Sets the waiting trials: all that are not done, failed or pruned, in the order of the plan."""
        ended = self.outcomes.done.keys() | self.outcomes.failed.keys() | self.outcomes.pruned.keys()
        self.outcomes.waiting = [number for number in self._trials if number not in ended]

    def note(self, text: str) -> None:
        """Sends a one-line message to the listeners."""
        for listener in self.listeners:
            listener.on_message(text)

    def run(self, launcher: Launcher, batch_size: int | None) -> None:
        """Runs all waiting trials. It is called by Hydra's sweeper.

        The return values of the launcher are discarded: the configs of ten thousand trials would take a gigabyte.

        Args:
            launcher: A launcher of Trainyard, which accepts single jobs, or any other launcher of Hydra.
            batch_size: The number of jobs per batch for other launchers; None runs all planned trials in one batch.
        """
        self.prepare()
        queue, self._pruner = self.build_queue(), self.build_pruner()
        for number in self.outcomes.waiting:
            if self._trials[number].label != NOT_DRAWN:
                queue.put(self._trials[number])
        if hasattr(launcher, "open"):
            self._run_jobs(launcher, queue)
        else:
            self._run_batches(launcher, queue, 1 if is_basic_launcher(launcher) else batch_size)
        self._drop_undrawn(queue)
        self._update_waiting()

    def _drop_undrawn(self, queue: TrialQueue) -> None:
        """Removes the trials that cannot be drawn because the search space seems exhausted, and records this."""
        if not queue.has_more() and (undrawn := [number for number in queue.undrawn if number in self._trials]):
            for number in undrawn:
                del self._trials[number]
            self._ledger.record_exhausted()
            self.note(f"{len(undrawn)} trials were skipped: the search space contains no further untried points")

    def _take_next_trial(self, queue: TrialQueue) -> Trial | None:
        """Takes a trial from the queue; a trial that was just drawn replaces its placeholder."""
        trial = queue.take()
        if trial:
            self._trials[trial.number] = trial
            if self._loader:
                self._loader.add_trial(trial)
        return trial

    def _run_jobs(self, launcher: Any, queue: TrialQueue) -> None:  # noqa: ANN401 - a launcher of Trainyard
        """Starts a trial whenever a slot is free, and processes messages and results as they arrive."""
        with launcher.open(self.folder.trials_lock_file) as jobs:
            while (queue.has_more() and not self._should_stop()) or len(jobs):
                while jobs.has_free_slot and not self._should_stop() and (trial := self._take_next_trial(queue)):
                    config = jobs.compose(trial.number - 1, trial.overrides)
                    self._record_start(trial, config.hydra.sweep.subdir)
                    jobs.submit(config)
                for event in jobs.poll() if len(jobs) else ():  # no job runs if no further point could be drawn
                    trial = self._trials[event.number + 1]
                    if isinstance(event, JobResult):
                        self._handle_end(trial, event.failure, queue)
                    else:
                        self._handle_epoch(trial, event, jobs)

    def _run_batches(self, launcher: Launcher, queue: TrialQueue, batch_size: int | None) -> None:
        """Runs batches of trials, one after another, with a launcher that does not accept single jobs.

        The failure limit is checked between batches. Hydra's basic launcher is sequential; for it, `batch_size` is 1.
        """
        while queue.has_more() and not self._should_stop():
            batch: list[Trial] = []
            limit = batch_size or (_DRAWN_BATCH_SIZE if queue.undrawn else None)
            while len(batch) != limit and (trial := self._take_next_trial(queue)):
                batch.append(trial)
            if not batch:
                break
            for trial in batch:
                self._record_start(
                    trial, str(self.folder.find_next_attempt_folder(trial.number).relative_to(self.folder.path))
                )
            returns = launcher.launch([trial.overrides for trial in batch], initial_job_idx=batch[0].number - 1)
            for trial, job in zip(batch, returns, strict=True):
                error = get_job_error(job)
                self._handle_end(trial, f"{type(error).__name__}: {error}" if error else "", queue)

    def _should_stop(self) -> bool:
        """Returns whether the number of failed trials has reached the limit, so that no further trial starts."""
        failures = len(self.outcomes.failed)
        limit = 1 if self._policy.on_error == "stop" else self._policy.max_failures
        return limit is not None and failures >= limit

    def _record_start(self, trial: Trial, subfolder: str) -> None:
        """Records in the ledger that an attempt of a trial starts in a subfolder, and notifies the listeners."""
        self._ledger.record_start(trial.number, str(self.folder.path / subfolder))
        self._attempts[trial.number] = self._attempts.get(trial.number, 0) + 1
        for listener in self.listeners:
            listener.on_trial_begin(trial, self._ledger.get_trial_record(trial.number).attempts)

    def _handle_epoch(self, trial: Trial, message: Message, jobs: Any) -> None:  # noqa: ANN401 - a JobRunner
        """Notifies the listeners of an epoch. With a pruner, also records the epoch, and replies whether to prune."""
        epoch, epochs, metrics = message.content
        for listener in self.listeners:
            listener.on_epoch_end(trial, *message.content)
        if self._pruner:
            value = metrics[self._pruner.objective]
            report = EpochReport(trial.number, epoch, epochs, value)
            self._ledger.record_epoch(report)
            reason = self._pruner.report_epoch(report)
            if reason:
                self._prune_reasons[trial.number] = reason
            jobs.answer(trial.number - 1, (epoch, reason))

    def _handle_end(self, trial: Trial, failure: str, queue: TrialQueue) -> None:
        """Processes the end of a trial. If its MLflow run is FINISHED, the trial is done, even if its process failed.

        A trial that finished but could not reach the tracking store counts as failed. It is not retried: when the sweep
        is resumed, its run is only uploaded.
        """
        folder = Path(self._ledger.get_trial_record(trial.number).folder)
        result = load_result(folder)
        if result and (not failure or self._is_finished_now(result)):
            self._record_done(trial, result)
            self._notify_pruner_and_queue(trial, result.objective, queue)
            return
        prune_reason = self._prune_reasons.pop(trial.number, "")
        if prune_reason and not failure:
            self._ledger.record_pruned(trial.number, prune_reason)
            self.outcomes.pruned[trial.number] = prune_reason
            for listener in self.listeners:
                listener.on_trial_pruned(trial, prune_reason)
            self._notify_pruner_and_queue(trial, None, queue)
            return
        reason = failure or "it ended without a result"
        will_retry = self._attempts[trial.number] <= self._policy.retries and not (result and has_finished(folder))
        self._ledger.record_failure(trial.number, reason, will_retry=will_retry)
        if will_retry:
            queue.put_last(trial)
        else:
            self.outcomes.failed[trial.number] = reason
            self._notify_pruner_and_queue(trial, None, queue)
        for listener in self.listeners:
            listener.on_trial_failed(trial, reason, will_retry=will_retry)

    def _notify_pruner_and_queue(self, trial: Trial, value: float | None, queue: TrialQueue) -> None:
        """Reports the end of a trial that is not retried; `value` is None if it failed or was pruned."""
        if self._pruner:
            self._pruner.report_end(trial.number, value)
        queue.finish(trial, value)

    def _is_finished_now(self, result: TrialResult) -> bool:
        """Returns whether the MLflow run of a trial is FINISHED; False if the tracking store is unreachable."""
        try:
            return self.is_finished(result)
        except TrackingError:
            return False

    def _record_done(self, trial: Trial, result: TrialResult) -> None:
        """Records in the ledger that a trial is done, and notifies the listeners."""
        self._ledger.record_result(trial.number, result)
        self.outcomes.done[trial.number] = replace(result, history=())
        for listener in self.listeners:
            listener.on_trial_done(trial, result)

"""Carries out a planned sweep: hands its trials to a launcher, takes in how each ends, and goes on where it was ended.

What became of a trial is in the ledger before anything else happens. A trial leaves its result just before its run is
FINISHED; a trial whose process ended between the two, or whose sweep was killed before it could write it down, is done
if the store has its run as FINISHED.

Before it: folder, results, tryout, trials, tracking. After it: the sweeper, which Hydra calls; the command line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import TaskFunction
from omegaconf import DictConfig

from trainyard.errors import TrackingError
from trainyard.sections import SweepConfig
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.frozen import FrozenLoader
from trainyard.sweep.launcher import JobEnd
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.pool import Message
from trainyard.sweep.results import has_finished, read_result
from trainyard.sweep.trials import SweepListener, Trial, TrialResult


class Launcher(Protocol):
    """What Hydra's launchers are bound to have; one of ours can take one job at a time, too, and has `open`."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs a batch of jobs."""


@dataclass(slots=True)
class Tally:
    """What became of the trials, each by its number.

    Attributes:
        done: What those came to that are done, whenever that was.
        failed: Why those failed that failed this time for good.
        waiting: Those that were not tried, because the sweep was stopped.
    """

    done: dict[int, TrialResult] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)


class PlannedSweep:
    """A sweep as Hydra is handed it, in the place of a task function.

    Attributes:
        trials: All of them.
        folder: Of the sweep.
        work: What a trial's process does.
        tally: What became of the trials so far.
        listeners: Told what happens.
        prepare: Called when Hydra is ready, before the first trial starts.
        is_finished: Tells whether the run of a trial that left its result is FINISHED; where nothing is tracked, it is.
        bring_in: Tells the store a run that finished while the store was away, by its folder; returns its id there.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        policy: SweepConfig,
        folder: SweepFolder,
        ledger: Ledger,
        work: TaskFunction,
    ) -> None:
        """Takes up a sweep.

        Args:
            trials: All of them.
            policy: How failures are taken.
            folder: Of the sweep, which is ours alone.
            ledger: Of the sweep.
            work: What a trial's process does.
        """
        self.trials = tuple(trials)
        self.folder = folder
        self.work = work
        self.tally = Tally()
        self.listeners: list[SweepListener] = []
        self.prepare: Callable[[], None] = lambda: None
        self.is_finished: Callable[[TrialResult], bool] = lambda _: True
        self.bring_in: Callable[[Path], str | None] = lambda _: None
        self._trials = {trial.number: trial for trial in trials}
        self._policy = policy
        self._ledger = ledger
        self._attempts: dict[int, int] = {}

    def __call__(self, _: DictConfig) -> None:
        """Hydra wants something that can be called; the sweeper hands `work` to the launcher instead."""
        raise TypeError("a planned sweep is run by hydra/sweeper=trainyard")

    def freeze(self, loader: ConfigLoader) -> FrozenLoader:
        """Returns what loads the planned configs in the place of Hydra's loader."""
        return FrozenLoader(loader, self.folder)

    def take_up(self) -> None:
        """Takes in what the ledger knows of an earlier start of the sweep."""
        for number in self._trials:
            result = self._ledger.account(number).result
            if result:
                self.tally.done[number] = result
        self._count_waiting()

    def recover(self) -> None:
        """Takes in what trials did that had left their results when the sweep was ended, unknown to the ledger.

        Of those that finished while the store was away the store is told now.
        """
        for number in self.tally.waiting:
            account = self._ledger.account(number)
            folder = Path(account.folder)
            result = read_result(folder) if account.folder else None
            if result and self.is_finished(result):
                self._done(self._trials[number], result)
            elif result and has_finished(folder):
                self._done(self._trials[number], replace(result, run_id=self.bring_in(folder)))
        self._count_waiting()

    def _count_waiting(self) -> None:
        self.tally.waiting = [number for number in self._trials if number not in self.tally.done]

    def note(self, text: str) -> None:
        """Tells the listeners something worth a line."""
        for listener in self.listeners:
            listener.note(text)

    def conduct(self, launcher: Launcher, batch_size: int | None) -> None:
        """Runs every trial that is not done yet. Hydra's sweeper calls this.

        What the launcher returns is not kept: the configs of ten thousand trials would take a gigabyte.
        """
        self.prepare()
        queue = deque(self._trials[number] for number in self.tally.waiting)
        if hasattr(launcher, "open"):
            self._stream(launcher, queue)
        else:
            self._run_batches(launcher, queue, 1 if isinstance(launcher, BasicLauncher) else batch_size)
        self.tally.waiting = sorted(trial.number for trial in queue)

    def _stream(self, launcher: Any, queue: deque[Trial]) -> None:  # noqa: ANN401 - a launcher of ours
        """Starts a trial whenever a place is free, and takes in what comes of each as it ends."""
        with launcher.open(self.folder.held) as jobs:
            while (queue and not self._stopped()) or len(jobs):
                while queue and jobs.free and not self._stopped():
                    trial = queue.popleft()
                    config = jobs.compose(trial.number - 1, trial.overrides)
                    self._begin(trial, config.hydra.sweep.subdir)
                    jobs.submit(config)
                for event in jobs.poll():
                    trial = self._trials[event.number + 1]
                    if isinstance(event, JobEnd):
                        self._end(trial, event.failure, queue)
                    else:
                        self._hear(trial, event)

    def _run_batches(self, launcher: Launcher, queue: deque[Trial], batch_size: int | None) -> None:
        """Hands a launcher that takes batches one after the other.

        Between them it is asked whether enough have failed. Hydra's own launcher, which runs one job after the other
        anyway, gets one at a time.
        """
        while queue and not self._stopped():
            batch = [queue.popleft() for _ in range(min(batch_size or len(queue), len(queue)))]
            for trial in batch:
                self._begin(trial, str(self.folder.next_attempt(trial.number).relative_to(self.folder.path)))
            returns = launcher.launch([trial.overrides for trial in batch], initial_job_idx=batch[0].number - 1)
            for trial, job in zip(batch, returns, strict=True):
                raised = job._return_value if job.status == JobStatus.FAILED else None  # noqa: SLF001 - it would raise
                self._end(trial, f"{type(raised).__name__}: {raised}" if raised else "", queue)

    def _stopped(self) -> bool:
        failures = len(self.tally.failed)
        limit = 1 if self._policy.on_error == "stop" else self._policy.max_failures
        return limit is not None and failures >= limit

    def _begin(self, trial: Trial, subfolder: str) -> None:
        self._ledger.began(trial.number, str(self.folder.path / subfolder))
        self._attempts[trial.number] = self._attempts.get(trial.number, 0) + 1
        for listener in self.listeners:
            listener.began(trial, self._ledger.account(trial.number).attempts)

    def _hear(self, trial: Trial, message: Message) -> None:
        for listener in self.listeners:
            listener.epoch(trial, *message.content)

    def _end(self, trial: Trial, failure: str, queue: deque[Trial]) -> None:
        """Takes in how a trial ended. One whose run is FINISHED is done, whatever its process came to after that.

        One that finished, but could not tell the store, has failed; it is not tried again, as the next start of the
        sweep has only to tell the store.
        """
        folder = Path(self._ledger.account(trial.number).folder)
        result = read_result(folder)
        if result and (not failure or self._is_finished_now(result)):
            self._done(trial, result)
            return
        reason = failure or "it ended without a result"
        again = self._attempts[trial.number] <= self._policy.retries and not (result and has_finished(folder))
        self._ledger.failed(trial.number, reason)
        if again:
            queue.append(trial)
        else:
            self.tally.failed[trial.number] = reason
        for listener in self.listeners:
            listener.failed(trial, reason, again=again)

    def _is_finished_now(self, result: TrialResult) -> bool:
        """Tells whether a run is FINISHED, as far as the store can be asked: it may be what the trial failed by."""
        try:
            return self.is_finished(result)
        except TrackingError:
            return False

    def _done(self, trial: Trial, result: TrialResult) -> None:
        self._ledger.done(trial.number, result)
        self.tally.done[trial.number] = replace(result, history=())
        for listener in self.listeners:
            listener.done(trial, result)

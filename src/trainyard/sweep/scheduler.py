"""Carries out a planned sweep: hands its trials to a launcher, takes in how each ends, and goes on where it was ended.

What became of a trial is in the ledger before anything else happens. A trial leaves its result just before its run is
FINISHED; a trial whose process ended between the two, or whose sweep was killed before it could write it down, is done
if the store has its run as FINISHED.
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

from trainyard.config.sections import SweepConfig
from trainyard.errors import TrackingError
from trainyard.evaluation.trials import SweepListener, Trial, TrialResult
from trainyard.sweep.config_loader import FrozenLoader
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.launch.launcher import JobEnd
from trainyard.sweep.launch.process_pool import Message
from trainyard.sweep.ledger import Epoch, Ledger
from trainyard.sweep.pruner import Pruning
from trainyard.sweep.results import has_finished, read_result
from trainyard.sweep.space import NOT_DRAWN


class Launcher(Protocol):
    """What Hydra's launchers are bound to have; one of ours can take one job at a time, too, and has `open`."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs a batch of jobs."""


class Queue(Protocol):
    """Where the trials come from. It is true as long as there may be more."""

    def __bool__(self) -> bool: ...

    @property
    def missing(self) -> Sequence[int]:
        """The numbers of the trials that are yet to be drawn."""

    def put(self, trial: Trial) -> None:
        """Has a trial wait its turn."""

    def put_last(self, trial: Trial) -> None:
        """Has a trial wait until all others have begun."""

    def take(self) -> Trial | None:
        """Returns the next, or None where there is none after all."""

    def ended(self, trial: Trial, value: float | None) -> None:
        """Takes in how a trial ended for good: with the value of the objective, or without."""


class PlainQueue:
    """Trials that were all known when the sweep was planned."""

    missing = ()

    def __init__(self) -> None:
        self._trials: deque[Trial] = deque()

    def __bool__(self) -> bool:
        return bool(self._trials)

    def put(self, trial: Trial) -> None:
        """Has a trial wait its turn."""
        self._trials.append(trial)

    put_last = put

    def take(self) -> Trial | None:
        """Returns the next."""
        return self._trials.popleft() if self._trials else None

    def ended(self, trial: Trial, value: float | None) -> None:
        """Takes in how a trial ended: it is all the same to the others."""


_BATCH_OF_DRAWN = 8
"""So many points are drawn at once for a launcher that takes batches, where nothing is said of their size."""


@dataclass(slots=True)
class Tally:
    """What became of the trials, each by its number.

    Attributes:
        done: What those came to that are done, whenever that was.
        failed: Why those failed that failed this time for good.
        pruned: Why those were pruned that were, whenever that was.
        waiting: Those that were not tried, because the sweep was stopped.
    """

    done: dict[int, TrialResult] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    pruned: dict[int, str] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)

    def take_in(self, ledger: Ledger, numbers: Sequence[int]) -> None:
        """Takes in what a ledger knows of trials; those that failed wait for another try."""
        for number in numbers:
            account = ledger.account(number)
            if account.result:
                self.done[number] = account.result
            elif account.state == "pruned":
                self.pruned[number] = account.reason
            else:
                self.waiting.append(number)


class PlannedSweep:
    """A sweep as Hydra is handed it, in the place of a task function.

    Attributes:
        folder: Of the sweep.
        work: What a trial's process does.
        tally: What became of the trials so far.
        listeners: Told what happens.
        prepare: Called when Hydra is ready, before the first trial starts.
        make_pruning: Returns what tells which trials are not worth going on with; None: nothing does.
        make_queue: Returns an empty queue, or one that draws further trials as they are wanted.
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
        self.folder = folder
        self.work = work
        self.tally = Tally()
        self.listeners: list[SweepListener] = []
        self.prepare: Callable[[], None] = lambda: None
        self.make_queue: Callable[[], Queue] = PlainQueue
        self.make_pruning: Callable[[], Pruning | None] = lambda: None
        self.is_finished: Callable[[TrialResult], bool] = lambda _: True
        self.bring_in: Callable[[Path], str | None] = lambda _: None
        self._trials = {trial.number: trial for trial in trials}
        self._policy = policy
        self._ledger = ledger
        self._attempts: dict[int, int] = {}
        self._pruning: Pruning | None = None
        self._frozen: FrozenLoader | None = None
        self._asked_to_end: dict[int, str] = {}

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All of them, as they are known by now."""
        return tuple(self._trials.values())

    def __call__(self, _: DictConfig) -> None:
        """Hydra wants something that can be called; the sweeper hands `work` to the launcher instead."""
        raise TypeError("a planned sweep is run by hydra/sweeper=trainyard")

    def freeze(self, loader: ConfigLoader) -> FrozenLoader:
        """Returns what loads the planned configs in the place of Hydra's loader."""
        self._frozen = FrozenLoader(loader, self.folder)
        return self._frozen

    def take_up(self) -> None:
        """Takes in what the ledger knows of an earlier start of the sweep."""
        if self._ledger.is_exhausted:
            self._trials = {number: trial for number, trial in self._trials.items() if trial.label != NOT_DRAWN}
        self.tally.take_in(self._ledger, list(self._trials))

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
        known = self.tally.done.keys() | self.tally.failed.keys() | self.tally.pruned.keys()
        self.tally.waiting = [number for number in self._trials if number not in known]

    def note(self, text: str) -> None:
        """Tells the listeners something worth a line."""
        for listener in self.listeners:
            listener.note(text)

    def conduct(self, launcher: Launcher, batch_size: int | None) -> None:
        """Runs every trial that is not done yet. Hydra's sweeper calls this.

        What the launcher returns is not kept: the configs of ten thousand trials would take a gigabyte.
        """
        self.prepare()
        queue, self._pruning = self.make_queue(), self.make_pruning()
        for number in self.tally.waiting:
            if self._trials[number].label != NOT_DRAWN:
                queue.put(self._trials[number])
        if hasattr(launcher, "open"):
            self._stream(launcher, queue)
        else:
            self._run_batches(launcher, queue, 1 if isinstance(launcher, BasicLauncher) else batch_size)
        self._drop_undrawn(queue)
        self._count_waiting()

    def _drop_undrawn(self, queue: Queue) -> None:
        """Forgets the trials that can't be drawn, as there is nothing left in the space that was not tried."""
        if not queue and (missing := [number for number in queue.missing if number in self._trials]):
            for number in missing:
                del self._trials[number]
            self._ledger.exhausted()
            self.note(f"{len(missing)} trials are left out: there is nothing more to be drawn that was not tried")

    def _next(self, queue: Queue) -> Trial | None:
        """Takes a trial from the queue; what was drawn for it is known from now on."""
        trial = queue.take()
        if trial:
            self._trials[trial.number] = trial
            if self._frozen:
                self._frozen.take_in(trial)
        return trial

    def _stream(self, launcher: Any, queue: Queue) -> None:  # noqa: ANN401 - a launcher of ours
        """Starts a trial whenever a place is free, and takes in what comes of each as it ends."""
        with launcher.open(self.folder.held) as jobs:
            while (queue and not self._stopped()) or len(jobs):
                while jobs.free and not self._stopped() and (trial := self._next(queue)):
                    config = jobs.compose(trial.number - 1, trial.overrides)
                    self._begin(trial, config.hydra.sweep.subdir)
                    jobs.submit(config)
                for event in jobs.poll() if len(jobs) else ():  # else there was nothing more to be drawn
                    trial = self._trials[event.number + 1]
                    if isinstance(event, JobEnd):
                        self._end(trial, event.failure, queue)
                    else:
                        self._hear(trial, event, jobs)

    def _run_batches(self, launcher: Launcher, queue: Queue, batch_size: int | None) -> None:
        """Hands a launcher that takes batches one after the other.

        Between them it is asked whether enough have failed. Hydra's own launcher, which runs one job after the other
        anyway, gets one at a time.
        """
        while queue and not self._stopped():
            batch: list[Trial] = []
            most = batch_size or (_BATCH_OF_DRAWN if queue.missing else None)
            while len(batch) != most and (trial := self._next(queue)):
                batch.append(trial)
            if not batch:
                break
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

    def _hear(self, trial: Trial, message: Message, jobs: Any) -> None:  # noqa: ANN401 - of a launcher of ours
        """Takes in what a trial came to after an epoch, and answers whether it is worth going on with."""
        epoch, epochs, metrics = message.content
        for listener in self.listeners:
            listener.epoch(trial, *message.content)
        if self._pruning:
            value = metrics[self._pruning.objective]
            came = Epoch(trial.number, epoch, epochs, value)
            self._ledger.reached(came)
            reason = self._pruning.reached(came)
            if reason:
                self._asked_to_end[trial.number] = reason
            jobs.answer(trial.number - 1, (epoch, reason))

    def _end(self, trial: Trial, failure: str, queue: Queue) -> None:
        """Takes in how a trial ended. One whose run is FINISHED is done, whatever its process came to after that.

        One that finished, but could not tell the store, has failed; it is not tried again, as the next start of the
        sweep has only to tell the store.
        """
        folder = Path(self._ledger.account(trial.number).folder)
        result = read_result(folder)
        if result and (not failure or self._is_finished_now(result)):
            self._done(trial, result)
            self._tell_ended(trial, result.objective, queue)
            return
        pruned = self._asked_to_end.pop(trial.number, "")
        if pruned and not failure:
            self._ledger.pruned(trial.number, pruned)
            self.tally.pruned[trial.number] = pruned
            for listener in self.listeners:
                listener.pruned(trial, pruned)
            self._tell_ended(trial, None, queue)
            return
        reason = failure or "it ended without a result"
        again = self._attempts[trial.number] <= self._policy.retries and not (result and has_finished(folder))
        self._ledger.failed(trial.number, reason, again=again)
        if again:
            queue.put_last(trial)
        else:
            self.tally.failed[trial.number] = reason
            self._tell_ended(trial, None, queue)
        for listener in self.listeners:
            listener.failed(trial, reason, again=again)

    def _tell_ended(self, trial: Trial, value: float | None, queue: Queue) -> None:
        if self._pruning:
            self._pruning.ended(trial.number, value)
        queue.ended(trial, value)

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

"""How a sweep stands: the state of each trial, which is the best so far, and how long the rest will take.

What happens keeps counts and order up to date, so that a look costs as much with ten thousand trials as with ten.
"""

from __future__ import annotations

import bisect
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from trainyard.evaluation.trials import Trial, TrialResult

NO_OBJECTIVE = "accuracy/test"
"""What is shown of a trial where the sweep compares nothing."""

_EPOCHS_TO_JUDGE_BY = 2
"""How many epochs each place has to have done, on average, before the time that is left can be told."""


class State(StrEnum):
    """What a trial is at."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    PRUNED = "pruned"  # ended, as it was not worth going on with
    AGAIN = "again"  # failed, and will be tried again
    STOPPED = "stopped"  # interrupted


@dataclass(slots=True, kw_only=True)
class TrialStatus:
    """How a trial stands.

    Attributes:
        trial: Which.
        state: What it is at.
        attempt: Counted from 1; 0 before the first.
        epoch: The last that it has done.
        epochs: How many it is to do at most.
        value: What the sweep compares, or else the test accuracy: at the last epoch, then of the model it ended with.
        seconds: How long it took, once it has ended.
        reason: Why it failed, in one line.
        log: Where its output is.
        began: When the attempt began, on the clock of the `Standing`.
        skipped: How many epochs an earlier attempt had done for this one.
    """

    trial: Trial
    state: State = State.WAITING
    attempt: int = 0
    epoch: int = 0
    epochs: int = 0
    value: float | None = None
    seconds: float | None = None
    reason: str = ""
    log: str = ""
    began: float = 0.0
    skipped: int | None = None


@dataclass(frozen=True, slots=True)
class Best:
    """The best so far: of trials that differ by their seed alone the mean, once all of them are done.

    Attributes:
        value: What the sweep compares.
        label: What distinguishes it.
        point: The point of the sweep that it is.
        origin: Where it comes from: ``'trial 7'``, or ``'mean of 5 seeds'``.
    """

    value: float
    label: str
    point: int
    origin: str


def status_of(trial: Trial, objective: str | None, result: TrialResult | None = None, log: str = "") -> TrialStatus:
    """Returns how a trial stands that is done, where there is a result, or else waits.

    Args:
        trial: Which.
        objective: What the sweep compares.
        result: What it came to.
        log: Where its output is.
    """
    status = TrialStatus(trial=trial, epochs=trial.config["training"]["epochs"], log=log)
    if result:
        _finish(status, objective, result)
    return status


def _finish(status: TrialStatus, objective: str | None, result: TrialResult) -> None:
    status.state, status.epoch, status.seconds = State.DONE, result.epochs, result.seconds
    status.value = result.objective if objective else result.metrics.get(NO_OBJECTIVE)


class Standing:
    """The trials of a sweep, as they stand.

    Attributes:
        total: How many there are.
        shown: The metric that is shown of each.
        running: Those that run, by number, in the order they began.
        stopped: Those that were interrupted, by number.
        failed: Those that failed for good, in the order they failed.
        pruned: Those that were pruned, in the order they were.
        ranked: Those that are done, the best first; the latest first where nothing is compared.
        best: The best so far, or None.
    """

    def __init__(
        self,
        statuses: Iterable[TrialStatus],
        objective: str | None,
        *,
        places: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes in how the trials stand when the look begins.

        Args:
            statuses: In the order of the plan.
            objective: What the sweep compares, ``accuracy/val`` or ``loss/val``; None: nothing.
            places: How many trials run at a time.
            clock: Seconds that never go back.
        """
        self.shown = objective or NO_OBJECTIVE
        self.running: dict[int, TrialStatus] = {}
        self.stopped: dict[int, TrialStatus] = {}
        self.failed: list[TrialStatus] = []
        self.pruned: list[TrialStatus] = []
        self.ranked: list[TrialStatus] = []
        self.best: Best | None = None
        self._objective = objective
        self._sign = 1 if self.shown.startswith("loss") else -1
        self._places = places
        self._clock = clock
        self._statuses: dict[int, TrialStatus] = {}
        self._points: dict[int, list[TrialStatus]] = {}
        self._epochs_waiting = 0
        self._epochs_done = 0
        self._seconds_spent = 0.0
        for status in statuses:
            self._statuses[status.trial.number] = status
            self._points.setdefault(status.trial.point, []).append(status)
        self.total = len(self._statuses)
        for status in self._statuses.values():
            if status.state is State.DONE:
                self._rank(status)
            elif status.state is State.RUNNING:
                self.running[status.trial.number] = status
            elif status.state is State.FAILED:
                self.failed.append(status)
            elif status.state is State.PRUNED:
                self.pruned.append(status)
            else:
                self._epochs_waiting += status.epochs
            if status.state is State.STOPPED:
                self.stopped[status.trial.number] = status

    @property
    def ended(self) -> int:
        """How many trials are done, pruned or failed for good."""
        return len(self.ranked) + len(self.failed) + len(self.pruned)

    @property
    def counts(self) -> str:
        """How many are done, pruned, failed or stopped: ``'12 of 16 done, 1 failed'``."""
        pruned = f", {len(self.pruned):,} pruned" if self.pruned else ""
        failed = f", {len(self.failed):,} failed" if self.failed else ""
        stopped = f", {len(self.stopped):,} stopped" if self.stopped else ""
        return f"{len(self.ranked):,} of {self.total:,} done{pruned}{failed}{stopped}"

    @property
    def fraction(self) -> float:
        """How much of the sweep is done, from 0 to 1; a running trial counts by its epochs."""
        begun = sum(status.epoch / status.epochs for status in self.running.values() if status.epochs)
        return (self.ended + begun) / self.total if self.total else 1.0

    @property
    def trials(self) -> list[Trial]:
        """All of them, in the order of the plan."""
        return [status.trial for status in self._statuses.values()]

    def take_in(self, trial: Trial) -> bool:
        """Takes in what a trial is; tells whether that is news, as where its settings were drawn just now."""
        status = self._statuses[trial.number]
        news, status.trial = trial is not status.trial, trial
        before, status.epochs = status.epochs, trial.config["training"]["epochs"]
        self._epochs_waiting += status.epochs - before
        return news

    def began(self, number: int, attempt: int) -> None:
        """Takes in that a trial begins."""
        status = self._statuses[number]
        self.stopped.pop(number, None)
        self._epochs_waiting -= status.epochs
        status.state, status.attempt, status.began = State.RUNNING, attempt, self._clock()
        status.epoch, status.value, status.skipped = 0, None, None
        self.running[number] = status

    def epoch(self, number: int, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Takes in that a trial has done an epoch."""
        status = self._statuses[number]
        if status.skipped is None:
            status.skipped = epoch - 1
        status.epoch, status.epochs, status.value = epoch, epochs, metrics.get(self.shown)

    def done(self, number: int, result: TrialResult) -> TrialStatus:
        """Takes in that a trial came to its end."""
        status = self._leave(number)
        _finish(status, self._objective, result)
        self._rank(status)
        return status

    def failed_for(self, number: int, reason: str, *, again: bool) -> None:
        """Takes in that a trial failed, and whether it will be tried again."""
        status = self._leave(number)
        if status.state is State.RUNNING:
            status.seconds = self._clock() - status.began
        status.reason = reason
        if again:
            status.state = State.AGAIN
            self._epochs_waiting += status.epochs
        else:
            status.state = State.FAILED
            self.failed.append(status)

    def pruned_for(self, number: int, reason: str) -> TrialStatus:
        """Takes in that a trial was pruned."""
        status = self._leave(number)
        if status.state is State.RUNNING:
            status.seconds = self._clock() - status.began
        status.state, status.reason = State.PRUNED, reason
        self.pruned.append(status)
        return status

    def stop(self) -> None:
        """Takes in that nothing runs any more: what did was interrupted."""
        now = self._clock()
        for status in self.running.values():
            status.state, status.seconds = State.STOPPED, now - status.began
            self._epochs_waiting += status.epochs
        self.stopped |= self.running
        self.running.clear()

    def seconds_run(self, status: TrialStatus) -> float | None:
        """Returns how long a trial took, or has been running for."""
        return self._clock() - status.began if status.state is State.RUNNING else status.seconds

    def seconds_left(self) -> float | None:
        """Returns about how long the rest will take, or None while that can't be told.

        The epochs that are left take what an epoch took so far, start and evaluation of the trials included, shared out
        among as many trials as run at a time; but no less than the slowest of those that run has before it.
        """
        now, running = self._clock(), list(self.running.values())
        epochs = self._epochs_done + sum(_epochs_here(status) for status in running)
        unfinished = self.total - self.ended
        places = max(self._places, len(running))  # a cluster has as many as it has
        if not running or epochs < _EPOCHS_TO_JUDGE_BY * min(places, self.total):
            return None
        pace = (self._seconds_spent + sum(now - status.began for status in running)) / epochs
        rests = [(status.epochs - status.epoch, _pace(status, now) or pace) for status in running]
        left = self._epochs_waiting + sum(rest for rest, _ in rests)
        return max([left * pace / min(places, unfinished), *(rest * own for rest, own in rests)])

    def rows(self, limit: int) -> tuple[list[TrialStatus], dict[str, int]]:
        """Chooses the trials that matter most: those that run or did, the best that are done, the latest that failed.

        Args:
            limit: How many at most.

        Returns:
            The trials, all of them in the order of the plan where there is room; and how many of which state are left
            out.
        """
        if self.total <= limit:
            return list(self._statuses.values()), {}
        rows = [*self.running.values(), *self.stopped.values()][:limit]
        room = limit - len(rows)
        failures = min(len(self.failed), max(room // 3, room - len(self.ranked)))
        rows += self.ranked[: room - failures]
        rows += self.failed[len(self.failed) - failures :]
        rows += self.pruned[-(limit - len(rows)) :] if limit > len(rows) else []
        counts = {
            State.RUNNING: len(self.running),
            State.STOPPED: len(self.stopped),
            State.WAITING: self.total - self.ended - len(self.running) - len(self.stopped),
            State.DONE: len(self.ranked),
            State.FAILED: len(self.failed),
            State.PRUNED: len(self.pruned),
        }
        shown = Counter(status.state for status in rows)
        return rows, {state.value: n - shown[state] for state, n in counts.items() if n > shown[state]}

    def _leave(self, number: int) -> TrialStatus:
        """Takes a trial from those that run or, where it ends before it began, from those that wait."""
        status = self._statuses[number]
        if not self.running.pop(number, None):
            self._epochs_waiting -= status.epochs
        elif epochs := _epochs_here(status):
            self._epochs_done += epochs
            self._seconds_spent += self._clock() - status.began
        return status

    def _rank(self, status: TrialStatus) -> None:
        """Puts a trial that is done in its place, and sees whether it, or its point, is the best."""
        if not self._objective:
            self.ranked.insert(0, status)
            return
        bisect.insort(self.ranked, status, key=self._worth)
        point = self._points[status.trial.point]
        values = [each.value for each in point if each.state is State.DONE and each.value is not None]
        mean = sum(values) / len(values) if len(values) == len(point) else math.nan
        if not math.isnan(mean) and (self.best is None or self._sign * mean < self._sign * self.best.value):
            several = len(point) > 1
            origin = f"mean of {len(point)} seeds" if several else f"trial {status.trial.number}"
            self.best = Best(mean, point_label([each.trial for each in point]), status.trial.point, origin)

    def _worth(self, status: TrialStatus) -> float:
        value = math.nan if status.value is None else status.value
        return math.inf if math.isnan(value) else self._sign * value


def point_label(trials: Iterable[Trial]) -> str:
    """Returns what the labels of trials that differ by their seed alone have in common."""
    first, *others = (trial.label.split() for trial in trials)
    return " ".join(word for word in first if all(word in other for other in others))


def _epochs_here(status: TrialStatus) -> int:
    """Returns how many epochs a running trial has done in this attempt."""
    return status.epoch - (status.skipped or 0)


def _pace(status: TrialStatus, now: float) -> float | None:
    """Returns how long an epoch of a running trial takes, or None where it has not done any."""
    return (now - status.began) / _epochs_here(status) if _epochs_here(status) else None

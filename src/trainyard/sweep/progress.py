"""The progress of a sweep: the state of each trial, the best result so far, and the estimated remaining time.

The order is updated with each event, so a display of ten thousand trials costs about as much as one of ten.
"""

from __future__ import annotations

import bisect
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from trainyard.config import find_common_label
from trainyard.evaluation import Trial, TrialResult, higher_is_better
from trainyard.sweep.ledger import TrialState

NO_OBJECTIVE = "accuracy/test"
"""The metric that is shown if the sweep has no objective."""

_MIN_EPOCHS_PER_SLOT = 2
"""The average number of epochs per slot that must be finished before the remaining time is estimated."""


@dataclass(slots=True, kw_only=True)
class TrialStatus:
    """The current status of a trial.

    Attributes:
        attempt: The number of the current or last attempt, from 1; 0 before the first.
        epoch: The last finished epoch, from 1; 0 before the first, of at most `epochs`.
        value: The objective, or the test accuracy if there is no objective: of the last epoch while the trial runs,
            then of the final model.
        seconds: The duration of the last attempt that ended or was interrupted; None before.
        started: When the attempt started, on the clock of the `SweepProgress`.
        earlier_epochs: The number of epochs that the attempt resumed from; None before its first epoch.
    """

    trial: Trial
    state: TrialState = TrialState.WAITING
    attempt: int = 0
    epoch: int = 0
    epochs: int = 0
    value: float | None = None
    seconds: float | None = None
    reason: str = ""
    log: str = ""
    started: float = 0.0
    earlier_epochs: int | None = None


@dataclass(frozen=True, slots=True)
class BestSoFar:
    """The best point so far, of those whose trials are all done. A point with several seeds counts with its mean.

    `source` is the trial or the seeds that the value is from: ``'trial 7'``, or ``'mean of 5 seeds'``.
    """

    value: float
    label: str
    point: int
    source: str


def build_status(trial: Trial, objective: str | None, result: TrialResult | None = None, log: str = "") -> TrialStatus:
    """Returns the status of a trial: done if there is a result, else waiting."""
    status = TrialStatus(trial=trial, epochs=trial.config["training"]["epochs"], log=log)
    if result:
        _set_result(status, objective, result)
    return status


def _set_result(status: TrialStatus, objective: str | None, result: TrialResult) -> None:
    """Marks a trial as done, with the epochs, duration and value of its result."""
    status.state, status.epoch, status.seconds = TrialState.DONE, result.epochs, result.seconds
    status.value = result.objective if objective else result.metrics.get(NO_OBJECTIVE)


class SweepProgress:
    """The statuses of the trials of a sweep, with counts and an order that are updated with each event.

    Attributes:
        running: The running trials, by number, in the order in which they started.
        failed: The trials that failed and are not retried, by number, in the order in which they failed.
        ranked: The trials that are done, best first; without an objective, the latest first.
    """

    def __init__(
        self,
        statuses: Iterable[TrialStatus],
        objective: str | None,
        *,
        slots: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Creates the progress from the initial statuses, in the order of the plan; `slots` trials run in parallel."""
        self.shown_metric = objective or NO_OBJECTIVE
        self._by_state: dict[TrialState, dict[int, TrialStatus]] = {state: {} for state in TrialState}
        self.running = self._by_state[TrialState.RUNNING]
        self.stopped = self._by_state[TrialState.STOPPED]
        self.failed = self._by_state[TrialState.FAILED]
        self.pruned = self._by_state[TrialState.PRUNED]
        self.ranked: list[TrialStatus] = []
        self.best: BestSoFar | None = None
        self._objective = objective
        self._sign = -1 if higher_is_better(self.shown_metric) else 1
        self._slots = slots
        self._clock = clock
        self._points: dict[int, list[TrialStatus]] = {}
        self._epochs_done = 0
        self._seconds_spent = 0.0
        self._statuses = {status.trial.number: status for status in statuses}
        self.total = len(self._statuses)
        for number, status in self._statuses.items():
            self._points.setdefault(status.trial.point, []).append(status)
            self._by_state[status.state][number] = status
        for status in self._by_state[TrialState.DONE].values():
            self._insert_ranked(status)

    @property
    def ended_count(self) -> int:
        """The number of trials that are done, pruned, or failed without a retry."""
        return len(self.ranked) + len(self.failed) + len(self.pruned)

    @property
    def counts(self) -> str:
        """The numbers of trials that are done, pruned, failed or stopped: ``'12 of 16 done, 1 failed'``."""
        others = [
            f", {len(self._by_state[state]):,} {state}"
            for state in (TrialState.PRUNED, TrialState.FAILED, TrialState.STOPPED)
            if self._by_state[state]
        ]
        return f"{len(self.ranked):,} of {self.total:,} done{''.join(others)}"

    @property
    def best_title(self) -> str:
        """The title of the best point, which says that points with several seeds count after all of them are done."""
        return "best complete point" if self.has_repeats else "best"

    @property
    def has_repeats(self) -> bool:
        """Whether points have several seeds."""
        return self.total > len(self._points)

    @property
    def fraction(self) -> float:
        """The finished fraction of the sweep, from 0 to 1; the finished epochs of running trials are included."""
        running = sum(status.epoch / status.epochs for status in self.running.values() if status.epochs)
        return (self.ended_count + running) / self.total if self.total else 1.0

    @property
    def trials(self) -> list[Trial]:
        """All trials, in the order of the plan."""
        return [status.trial for status in self._statuses.values()]

    def update_trial(self, trial: Trial) -> bool:
        """Replaces a waiting trial by its current definition. Returns whether its settings were drawn just now."""
        status = self._statuses[trial.number]
        changed = trial is not status.trial
        status.trial, status.epochs = trial, trial.config["training"]["epochs"]
        return changed

    def start_trial(self, number: int, attempt: int) -> None:
        """Marks a waiting or interrupted trial as running, and clears its epoch and its value."""
        status = self._statuses[number]
        self._move(status, TrialState.RUNNING)
        status.attempt, status.started = attempt, self._clock()
        status.epoch, status.value, status.earlier_epochs = 0, None, None

    def update_epoch(self, number: int, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Sets the last finished epoch of a trial, its maximum number of epochs, and its value of the shown metric."""
        status = self._statuses[number]
        if status.earlier_epochs is None:
            status.earlier_epochs = epoch - 1
        status.epoch, status.epochs, status.value = epoch, epochs, metrics.get(self.shown_metric)

    def finish_trial(self, number: int, result: TrialResult) -> TrialStatus:
        """Marks a trial as done, adds it to the ranking, and updates the best point. Returns the trial's status."""
        status = self._end_attempt(number, TrialState.DONE)
        _set_result(status, self._objective, result)
        self._insert_ranked(status)
        return status

    def fail_trial(self, number: int, reason: str, *, will_retry: bool) -> None:
        """Marks a trial as failed, or with `will_retry` as waiting for a retry."""
        self._end_attempt(number, TrialState.RETRY if will_retry else TrialState.FAILED).reason = reason

    def prune_trial(self, number: int, reason: str) -> None:
        """Marks a trial as pruned."""
        self._end_attempt(number, TrialState.PRUNED).reason = reason

    def mark_interrupted(self) -> None:
        """Marks all running trials as interrupted. Their epochs are counted again as epochs to train."""
        for status in [*self.running.values()]:
            status.seconds = self._clock() - status.started
            self._move(status, TrialState.STOPPED)

    def compute_seconds_run(self, status: TrialStatus) -> float | None:
        """Returns the duration of the current or last attempt, until now if it is running; None if there is none."""
        return self._clock() - status.started if status.state is TrialState.RUNNING else status.seconds

    def estimate_seconds_left(self) -> float | None:
        """Returns the estimated remaining time of the sweep, or None if too few epochs are finished.

        The estimate is the number of remaining epochs times the average duration of an epoch, which includes the start
        and the evaluation of the trials, divided by the number of trials that run at the same time. It is at least the
        remaining time of the slowest running trial.
        """
        now, running = self._clock(), list(self.running.values())
        epochs = self._epochs_done + sum(_count_epochs_of_attempt(status) for status in running)
        unfinished = self.total - self.ended_count
        slots = max(self._slots, len(running))  # the number of slots of a cluster may be larger than planned
        if not running or epochs < _MIN_EPOCHS_PER_SLOT * min(slots, self.total):
            return None
        seconds_per_epoch = (self._seconds_spent + sum(now - status.started for status in running)) / epochs
        to_train = (TrialState.WAITING, TrialState.RETRY, TrialState.STOPPED)
        epochs_left = sum(status.epochs for state in to_train for status in self._by_state[state].values())
        epochs_left += sum(status.epochs - status.epoch for status in running)
        seconds_left = [epochs_left * seconds_per_epoch / min(slots, unfinished)]
        for status in running:
            done = _count_epochs_of_attempt(status)
            pace = (now - status.started) / done if done else seconds_per_epoch
            seconds_left.append((status.epochs - status.epoch) * pace)
        return max(seconds_left)

    def select_rows(self, limit: int) -> tuple[list[TrialStatus], dict[str, int]]:
        """Selects the most important trials: running or interrupted ones, the best, the latest failed and pruned ones.

        If the limit allows, these are all trials, in the order of the plan. Also returns the numbers of trials left
        out, by state.
        """
        if self.total <= limit:
            return list(self._statuses.values()), {}
        rows = [*self.running.values(), *self.stopped.values()][:limit]
        room = limit - len(rows)
        failures = min(len(self.failed), max(room // 3, room - len(self.ranked)))
        rows += self.ranked[: room - failures]
        rows += [*self.failed.values()][len(self.failed) - failures :]
        rows += [*self.pruned.values()][-(limit - len(rows)) :] if limit > len(rows) else []
        selected = Counter(status.state for status in rows)
        left_out = {state: len(trials) - selected[state] for state, trials in self._by_state.items()}
        left_out[TrialState.WAITING] += left_out.pop(TrialState.RETRY)
        return rows, {state.value: count for state, count in left_out.items() if count}

    def _move(self, status: TrialStatus, state: TrialState) -> None:
        """Changes the state of a trial."""
        number = status.trial.number
        self._by_state[state][number] = self._by_state[status.state].pop(number)
        status.state = state

    def _end_attempt(self, number: int, state: TrialState) -> TrialStatus:
        """Changes the state of a trial that has ended, and adds its epochs and its time to those of the estimate."""
        status = self._statuses[number]
        if status.state is TrialState.RUNNING:
            status.seconds = self._clock() - status.started
            if epochs := _count_epochs_of_attempt(status):
                self._epochs_done += epochs
                self._seconds_spent += status.seconds
        self._move(status, state)
        return status

    def _insert_ranked(self, status: TrialStatus) -> None:
        """Inserts a trial that is done into the ranking, and updates the best point, if there is an objective."""
        if not self._objective:
            self.ranked.insert(0, status)
            return
        bisect.insort(self.ranked, status, key=self._compute_sort_key)
        point = self._points[status.trial.point]
        values = [seed.value for seed in point if seed.state is TrialState.DONE and seed.value is not None]
        mean = sum(values) / len(values) if len(values) == len(point) else math.nan
        if not math.isnan(mean) and (self.best is None or self._sign * mean < self._sign * self.best.value):
            source = f"mean of {len(point)} seeds" if len(point) > 1 else f"trial {status.trial.number}"
            label = find_common_label(seed.trial.label for seed in point) or f"point {status.trial.point}"
            self.best = BestSoFar(mean, label, status.trial.point, source)

    def _compute_sort_key(self, status: TrialStatus) -> float:
        """Returns a number that sorts statuses from best to worst; a missing or NaN value is the worst."""
        return math.inf if status.value is None or math.isnan(status.value) else self._sign * status.value


def _count_epochs_of_attempt(status: TrialStatus) -> int:
    """Returns the number of epochs that a running trial finished in the current attempt."""
    return status.epoch - (status.earlier_epochs or 0)

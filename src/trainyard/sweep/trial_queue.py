"""The order in which the trials of a sweep start."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

from trainyard.evaluation import Trial


class TrialQueue(Protocol):
    """Waiting trials. The queue of a search draws further trials itself; see `search.SearchQueue`."""

    @property
    def undrawn(self) -> Sequence[int]:
        """The numbers of the trials that remain to be drawn."""

    def has_more(self) -> bool:
        """Returns whether there may be further trials to start."""

    def put(self, trial: Trial) -> None:
        """Adds a trial to the queue."""

    def put_last(self, trial: Trial) -> None:
        """Adds a trial to start after all other trials."""

    def take(self) -> Trial | None:
        """Removes and returns the next trial, or returns None if there is none."""

    def finish(self, trial: Trial, value: float | None) -> None:
        """Reports the end of a trial that is not retried; `value` is its objective, None if it failed or was pruned."""


class PlannedTrialQueue:
    """The queue of a grid: the trials in the order in which they were added."""

    undrawn: Sequence[int] = ()

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self._trials = deque(trials)

    def has_more(self) -> bool:
        """Returns whether trials are waiting."""
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

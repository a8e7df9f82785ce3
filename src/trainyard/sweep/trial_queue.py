"""The order in which the trials of a sweep start."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from trainyard.evaluation import Trial


class TrialQueue:
    """Waiting trials, in the order in which they were added. A search draws further ones; see `search.SearchQueue`."""

    def __init__(self) -> None:
        self._ready: deque[Trial] = deque()
        self._deferred: deque[Trial] = deque()

    @property
    def undrawn(self) -> Sequence[int]:
        """The numbers of the trials that remain to be drawn."""
        return ()

    def has_more(self) -> bool:
        """Returns whether there may be further trials to start."""
        return bool(self._ready or self._deferred)

    def put(self, trial: Trial) -> None:
        """Adds a trial to the queue."""
        self._ready.append(trial)

    def put_last(self, trial: Trial) -> None:
        """Adds a trial to start after all other trials."""
        self._deferred.append(trial)

    def take(self) -> Trial | None:
        """Removes and returns the next trial, or returns None if there is none."""
        queue = self._ready or self._deferred
        return queue.popleft() if queue else None

    def finish(self, trial: Trial, value: float | None) -> None:
        """Reports the end of a trial that is not retried; `value` is its objective, None if it failed or was pruned."""

"""A run that is written to: in order without waiting for the store and closed with a status whatever the store does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from trainyard.errors import TrackingError
from trainyard.tracking import operations
from trainyard.tracking.writer import Operation, Standing, StoreWriter, Writer


class TrackedRun:
    """One run in the store. Before it has a writer, nothing is logged."""

    def __init__(self, tell: Callable[[str], None], goes_on: str) -> None:
        """Takes who is told of the store's first failure, and what is said of the work that goes on all the same."""
        self._tell = tell
        self._goes_on = goes_on
        self._told = False
        self._writer: Writer | None = None
        self._uri = ""

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None before it is known, and where nothing is tracked."""
        return self._writer.standing.run_id if self._writer else None

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the run's experiment; None likewise."""
        return self._writer.standing.experiment_id if self._writer else None

    def settle(self) -> None:
        """Waits until everything that was logged has reached the store, or the store failed."""
        if self._writer:
            self._note(self._writer.settle())

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Logs the flattened config; what MLflow can't hold is left to the artifact."""
        self._perform(operations.log_params, dict(params))

    def log_metrics(self, metrics: Mapping[str, float], epoch: int | None = None) -> None:
        """Logs metrics in one call, at an epoch counted from 1, or once for the whole run."""
        self._perform(operations.log_metrics, dict(metrics), epoch or 0, int(time.time() * 1000))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags, cut to the length that MLflow holds."""
        self._perform(operations.set_tags, dict(tags))

    def end(self, status: str) -> TrackingError | None:
        """Closes the run with a status; FAILED instead of FINISHED if the store failed, which is tried once more then.

        Returns:
            What the store failed with, if it did.
        """
        if self._writer is None:
            return None
        if failure := self._writer.settle().failure:
            if self._writer.lost:
                self._writer = self._stand_in(self._writer)
            self._writer.perform(operations.set_tags, {"error": str(failure)}, although_failed=True)
            status = "FAILED" if status == "FINISHED" else status
        self._writer.perform(operations.end, status, although_failed=True)
        return self._writer.settle().failure

    def break_off(self) -> None:
        """Has the run closed as KILLED as soon as it is there, without waiting for a store that has yet to answer."""
        if self._writer:
            self._writer.perform(operations.end, "KILLED", although_failed=True)
            self._writer.close(wait=False)
            self._writer = None

    def close(self) -> None:
        """Lets go of the store. Comes last."""
        if self._writer:
            self._writer.close()

    def _stand_in(self, lost: Writer) -> Writer:
        """Returns a writer in the place of one that can do no more."""
        stand_in = StoreWriter()
        stand_in.take_over(self._uri, lost.standing)
        lost.close()
        return stand_in

    def _perform(self, operation: Operation, *arguments: Any) -> None:  # noqa: ANN401 - each operation has its own
        """Does something with the run, now or as soon as the store is ready for it."""
        if self._writer is None:
            return
        self._writer.perform(operation, *arguments)
        self._note(self._writer.standing)

    def _note(self, standing: Standing) -> None:
        """Tells of the store's first failure, once. If the run could not be created at all, that ends the work."""
        if standing.failure and standing.run_id and not self._told:
            self._told = True
            self._tell(f"{standing.failure}. {self._goes_on}")

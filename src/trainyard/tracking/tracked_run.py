"""A run to which data is logged: in order, without waiting for the store, and closed even if the store fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from trainyard.errors import TrackingError
from trainyard.tracking import names, operations
from trainyard.tracking.tracking_store import TrackingStore
from trainyard.tracking.writer import Operation, StoreWriter, Writer, WriterStatus


class TrackedRun:
    """Base class of `Tracker` and `SweepParentRun`: logs one run to the store only, without an operation log.

    As long as it has no writer, nothing is logged.
    """

    def __init__(self, notify: Callable[[str], None], reassurance: str) -> None:
        """Creates a run without a writer.

        Args:
            notify: Called once, with a message, at the first failure of the store.
            reassurance: Second sentence of that message, which states that the work continues.
        """
        self._notify = notify
        self._reassurance = reassurance
        self._has_notified = False
        self._writer: Writer | None = None
        self._store: TrackingStore | None = None

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None before the run is created, and if tracking is off."""
        return self._writer.status.run_id if self._writer else None

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the run's experiment; None before the run is created, and if tracking is off."""
        return self._writer.status.experiment_id if self._writer else None

    def flush(self) -> None:
        """Waits until all logged data has reached the store, or the store has failed."""
        if self._writer:
            self._notify_of_failure(self._writer.flush())

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Logs params as text. Values over MLflow's length limit are skipped."""
        self._perform(operations.log_params, dict(params))

    def log_metrics(self, metrics: Mapping[str, float], epoch: int | None = None) -> None:
        """Logs metrics of an epoch, counted from 1; None logs metrics of the whole run, at step 0."""
        self._perform(operations.log_metrics, dict(metrics), epoch or 0, int(time.time() * 1000))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags, truncated to MLflow's length limit."""
        self._perform(operations.set_tags, dict(tags))

    def end(self, status: str) -> TrackingError | None:
        """Closes the run as `status` (FINISHED, FAILED or KILLED), after all logged data has reached the store.

        If the store has failed, data logged since then is skipped. Tries once more to set the tag `error` and to close
        the run, as FAILED instead of FINISHED.

        Returns:
            The first failure of the store; None if there was none.
        """
        if self._writer is None:
            return None
        if failure := self._writer.flush().failure:
            if self._writer.is_lost:
                self._writer = self._replace_writer(self._writer)
            self._writer.perform(operations.set_tags, {names.ERROR: str(failure)}, even_after_failure=True)
            status = "FAILED" if status == "FINISHED" else status
        self._writer.perform(operations.end, status, even_after_failure=True)
        return self._writer.flush().failure

    def abort(self) -> None:
        """Closes the run as KILLED, and returns without waiting until the store has answered.

        The writer process performs the requests that it received, then ends the run. Requests that could not
        be sent to it within two seconds, or that the store rejects, may be missing in the store.
        """
        if self._writer:
            self._writer.perform(operations.end, "KILLED", even_after_failure=True)
            self._writer.close(wait=False)
            self._writer = None

    def close(self) -> None:
        """Closes the writer. Must be the last call."""
        if self._writer:
            self._writer.close()

    def _replace_writer(self, lost: Writer) -> Writer:
        """Returns a new writer in this process for the same run, and closes the lost writer."""
        replacement = StoreWriter()
        if self._store:
            replacement.attach(self._store, lost.status)
        lost.close()
        return replacement

    def _perform(self, operation: Operation, *arguments: Any) -> None:  # noqa: ANN401 - each operation has its own
        """Performs an operation on the run, now or as soon as the store is ready; does nothing without a writer.

        Reports the first failure of the store.
        """
        if self._writer is None:
            return
        self._writer.perform(operation, *arguments)
        self._notify_of_failure(self._writer.status)

    def _notify_of_failure(self, status: WriterStatus) -> None:
        """Reports the first failure of the store, once. If the run was not created, `wait_until_created` raises it."""
        if status.failure and status.run_id and not self._has_notified:
            self._has_notified = True
            self._notify(f"{status.failure}. {self._reassurance}")

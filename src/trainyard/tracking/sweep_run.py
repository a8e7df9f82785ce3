"""The one run that stands for a sweep: the parent of its trials' runs, open while the sweep goes on.

Another process writes it, so that the sweep's own need not import MLflow, and so that it is marked KILLED when the
sweep's process dies without a word. When the store fails in the middle, the sweep goes on: its folder is its account.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainyard.errors import TrackingError
from trainyard.tracking import operations, trial_runs
from trainyard.tracking.tracked_run import TrackedRun
from trainyard.tracking.trial_runs import FinishedTrial
from trainyard.tracking.ui_views import sweep_view
from trainyard.tracking.writer import RunRequest, Standing
from trainyard.tracking.writer_process import WorkerWriter

SUBFOLDER = "sweep"
"""Where the files of a sweep are among the artifacts of its run."""


class ParentRun(TrackedRun):
    """Logs a sweep, in order and without waiting for the store. One that was not opened logs and finds nothing."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """Takes who is told when the store fails, as ``SweepListener.note``."""
        super().__init__(tell, "The sweep goes on, and its folder holds everything")

    @property
    def standing(self) -> Standing:
        """What is known by now: also whether the run was reopened, or is a new one."""
        return self._writer.standing if self._writer else Standing()

    def open(
        self,
        uri: str,
        experiment: str,
        notes: str,
        *,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        earlier_run_id: str | None = None,
    ) -> None:
        """Has the run created, RUNNING, or reopened with other tags and no `error`.

        Args:
            uri: The tracking URI.
            experiment: The name of its experiment.
            notes: What the experiment is about, used when it is created.
            name: The run's name, when it is created.
            tags: Its tags, with those that `provenance.describe_process` returns.
            params: Its params; those that a reopened run has stay as they are.
            earlier_run_id: The run of the same sweep's earlier start. If the experiment has it no longer, a new run is
                created, and `standing` says so.
        """
        self._uri = uri
        self._writer = WorkerWriter()
        request = RunRequest(uri, experiment, notes, name, tags, earlier_run_id, logs_model=False)
        self._writer.create(request)
        self._perform(operations.complete_params if earlier_run_id else operations.log_params, dict(params))

    def confirm(self) -> tuple[str, str]:
        """Waits until the run is there, with what it was opened with.

        Returns:
            MLflow's ids of the run and of its experiment.

        Raises:
            TrackingError: If the store can't be reached: better now than after the first trial.
        """
        standing = self._writer.settle() if self._writer else Standing()
        if standing.failure or standing.run_id is None or standing.experiment_id is None:
            raise standing.failure or TrackingError("the run of the sweep was not opened")
        return standing.run_id, standing.experiment_id

    def share_view(self, sweep_id: str, objective: str | None, varied: Sequence[str]) -> None:
        """Adds a view of the sweep to the experiment, under `view.sweep_view_key`; see `view.sweep_view`."""
        self._perform(operations.share_view, sweep_view(sweep_id, objective, varied))

    def log_files(self, paths: Sequence[Path], subfolder: str = SUBFOLDER) -> None:
        """Uploads files, and folders with what is in them, to a subfolder of the artifacts. Must be there till then."""
        self._perform(operations.log_files, list(paths), subfolder)

    def find_finished(self) -> dict[str, FinishedTrial]:
        """Waits for the store, and returns the trials whose runs are FINISHED, by the tag `trainyard.trial`.

        Raises:
            TrackingError: If the store can't be asked.
        """
        return self._writer.query(trial_runs.find_finished) if self._writer else {}

    def close_orphans(self, errors: Mapping[str, str] | None = None, *, elsewhere: Collection[str] | None = ()) -> None:
        """Has every trial's run that says RUNNING, and whose process on this host is gone, marked as KILLED.

        Args:
            errors: What became of a trial, for the tag `error`, by its number; of others it is said that they died.
            elsewhere: See `trial_runs.close_orphans`.
        """
        self._perform(trial_runs.close_orphans, dict(errors or {}), elsewhere)

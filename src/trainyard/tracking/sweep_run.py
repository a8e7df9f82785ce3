"""The parent run of a sweep, to which the runs of its trials belong; it is open as long as the sweep runs.

A separate process writes it. The sweep's process need not import MLflow, and the run is marked KILLED if the sweep's
process dies. If the store fails, the sweep continues: its folder contains all results.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainyard.errors import TrackingError
from trainyard.tracking import names, operations, trial_runs
from trainyard.tracking.tracked_run import TrackedRun
from trainyard.tracking.tracking_store import TrackingStore
from trainyard.tracking.ui_views import build_sweep_view
from trainyard.tracking.writer import RunRequest, WriterStatus
from trainyard.tracking.writer_process import ProcessWriter


class SweepParentRun(TrackedRun):
    """Logs a sweep to its parent run, without waiting for the store.

    Before `open` is called, nothing is logged, and `find_finished_trials` finds nothing.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        """Prepares the run; `notify` is called with a message when the store fails."""
        super().__init__(notify, "The sweep continues; its folder contains all results")

    @property
    def status(self) -> WriterStatus:
        """The current status of the writer, which includes whether the run was reopened or is new."""
        return self._writer.status if self._writer else WriterStatus()

    def open(
        self,
        store: TrackingStore,
        experiment: str,
        notes: str,
        *,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        earlier_run_id: str | None = None,
    ) -> None:
        """Starts to create the run with status RUNNING, or to reopen an earlier one with new tags and without `error`.

        Args:
            store: The store.
            experiment: The name of the experiment.
            notes: The description of the experiment, used if it is created.
            name: The name of the run, used if it is created.
            tags: The tags of the run, including those of `collect_process_info`.
            params: The params of the run. Params that a reopened run already has are not changed.
            earlier_run_id: The run of an earlier start of the same sweep. If the experiment does not contain it any
                more, a new run is created; see `status`.
        """
        self._store = store
        self._writer = ProcessWriter()
        request = RunRequest(store, experiment, notes, name, tags, earlier_run_id, logs_model=False)
        self._writer.create(request)
        self._perform(operations.log_missing_params if earlier_run_id else operations.log_params, dict(params))

    def wait_until_created(self) -> tuple[str, str]:
        """Waits until the run has been created or reopened. An unreachable store is thus found before the first trial.

        Returns:
            MLflow's ids of the run and of its experiment.

        Raises:
            TrackingError: If the store can't be reached.
        """
        status = self._writer.flush() if self._writer else WriterStatus()
        if status.failure or status.run_id is None or status.experiment_id is None:
            raise status.failure or TrackingError("the run of the sweep was not opened")
        return status.run_id, status.experiment_id

    def share_view(self, sweep_id: str, objective: str | None, varied: Sequence[str]) -> None:
        """Adds a view of the sweep to the experiment; see `build_sweep_view`."""
        self._perform(operations.share_view, build_sweep_view(sweep_id, objective, varied))

    def log_files(self, paths: Sequence[Path], subfolder: str = names.SWEEP_FOLDER) -> None:
        """Uploads files, and folders with their contents, to a subfolder of the artifacts.

        The upload happens later: the files must exist until `end` or `wait_until_created` returns.
        """
        self._perform(operations.log_files, list(paths), subfolder)

    def find_finished_trials(self) -> dict[str, str]:
        """Waits for the store, and returns the id of the FINISHED run of each trial, by the tag `trainyard.trial`.

        Raises:
            TrackingError: If the store can't be read.
        """
        return self._writer.query(trial_runs.find_finished_trials) if self._writer else {}

    def close_orphans(
        self, errors: Mapping[str, str] | None = None, *, ended_elsewhere: Collection[str] | None = ()
    ) -> None:
        """Marks as KILLED every RUNNING child run whose process no longer exists; see `trial_runs.close_orphans`.

        Args:
            errors: Texts for the tag `error`, by the trial's number as text; other trials get `PROCESS_DIED`.
            ended_elsewhere: See `trial_runs.close_orphans`.
        """
        self._perform(trial_runs.close_orphans, dict(errors or {}), ended_elsewhere)

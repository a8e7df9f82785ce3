"""Tracks one run in MLflow: opens it, logs to it, and closes it with the correct status.

The tracker does not use or change MLflow's active run, its active experiment or MLFLOW_RUN_ID, so it also works in a
notebook that uses them.

If the store fails during the run, the run continues. If the store works again at the end of the run, everything is
uploaded from the operation log. If not, the run fails, but its folder contains everything for `trainyard sync`.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from trainyard.config import RunConfig
from trainyard.errors import TrackingError, TrainyardError, TrialPruned
from trainyard.system import Progress, prefer_interrupt, redact_credentials
from trainyard.tracking import names, operations
from trainyard.tracking.mlflow_model import ServableModel
from trainyard.tracking.operation_log import LOCK, OperationLog, find_logged_files
from trainyard.tracking.operations import DatasetInput
from trainyard.tracking.tracked_run import TrackedRun
from trainyard.tracking.tracking_store import TrackingStore
from trainyard.tracking.writer import Operation, RunRequest, StoreWriter
from trainyard.tracking.writer_process import ProcessWriter

if TYPE_CHECKING:
    from trainyard.data import DataSpec


class Tracker(TrackedRun):
    """Logs a training run like `TrackedRun`, and also writes all it logs to the operation log in the run folder.

    Before `start`, only the operation log is written.
    """

    def __init__(
        self, config: RunConfig, folder: Path, store: TrackingStore | None, progress: Progress, name: str | None = None
    ) -> None:
        """Creates the tracker of a run, which logs nothing yet.

        Args:
            config: The config of the run; defines the experiment and whether the model is logged.
            folder: The run folder.
            store: The store; None writes only the operation log.
            progress: Displays a message when the store fails.
            name: The name of the run; None uses the label of the architecture.
        """
        super().__init__(progress.detail, f"The run continues, and its folder will contain everything: {folder}")
        self.name = name or config.model.label
        self.folder = folder
        self.progress = progress
        self._config = config
        self._store = store
        self._operation_log = OperationLog(folder, progress.detail)
        self._unfinished_operations = 0

    def start(self, tags: Mapping[str, str], params: Mapping[str, Any]) -> None:
        """Starts to create the run with status RUNNING, and logs tags, params and the files that are in the folder.

        If MLflow is already imported (in a notebook or a sweep), this process writes to the store, else another one.
        """
        config, store, tags = self._config, self._store, {**tags, names.RUN_KEY: self._operation_log.key}
        self._operation_log.record_start(
            store, config.experiment, config.notes, self.name, tags, model=config.tracking.model
        )
        if store is not None:
            self.progress.stage("open")
            in_process = "mlflow" in sys.modules or os.name == "nt"  # on Windows, processes inherit no pipes by number
            self._writer = StoreWriter() if in_process else ProcessWriter()
            self._writer.create(RunRequest(store, config.experiment, config.notes, self.name, tags))
        self.log_params(params)
        self.log_folder()

    def wait_until_created(self) -> None:
        """Waits until the run has been created. An unreachable store is thus found before the training.

        Raises:
            TrackingError: If the store can't be reached.
        """
        if self._writer and (failure := self._writer.flush().failure):
            raise failure

    def log_inputs(self, inputs: Sequence[DatasetInput]) -> None:
        """Logs the splits of the data set that the run used."""
        self._perform(operations.log_inputs, list(inputs))

    def log_folder(self) -> None:
        """Uploads the current contents of the run folder; see `find_logged_files`."""
        self._perform(operations.log_files, find_logged_files(self.folder))

    @property
    def logs_model(self) -> bool:
        """Whether a servable model is to be logged: the config requests it, and tracking is on."""
        return self._writer is not None and self._config.tracking.model

    def log_model(self, file: Path, spec: DataSpec) -> None:
        """Logs the servable model with its signature and requirements.

        Args:
            file: A ``.keras`` file of a model that maps raw pixels to probabilities. It is moved away.
            spec: The shape of an image and the classes.
        """
        self._perform(operations.log_model, ServableModel(file, spec.image_shape, spec.classes))

    @property
    def is_log_complete(self) -> bool:
        """Whether the operation log contains the complete run, so that it can be uploaded later."""
        return not self._operation_log.has_gap

    def end(self, status: str) -> TrackingError | None:
        """Closes the run as `status`, also in the operation log; see `TrackedRun.end`."""
        self._operation_log.record_end(status)
        failure = super().end(status)
        if self._store and self.run_id and not failure and not self._unfinished_operations:
            self._operation_log.record_stored(self._store, self.run_id)
        return failure

    def abort(self) -> None:
        """Closes the run as KILLED without waiting for the store; see `TrackedRun.abort`.

        Data that has not reached the store is not lost: it is in the run folder, and `trainyard sync` uploads it.
        """
        self._operation_log.record_end("KILLED")
        super().abort()

    def _perform(self, operation: Operation, *arguments: Any) -> None:  # noqa: ANN401 - each operation has its own
        """Records an operation in the operation log, then performs it; see `TrackedRun._perform`."""
        self._operation_log.record_operation(operation, *arguments)
        self._unfinished_operations += 1  # stays above 0 if a signal interrupts the operation: then the store has a gap
        super()._perform(operation, *arguments)
        self._unfinished_operations -= 1


@contextlib.contextmanager
def open_tracker(
    tracker: Tracker, tags: Mapping[str, str], params: Mapping[str, Any], retry_upload: Callable[[], object]
) -> Iterator[None]:
    """Opens a run for the duration of the block, and closes it with the correct status.

    The status is FINISHED if the block completed, KILLED if a signal interrupted it or the trial was pruned, and FAILED
    otherwise. On failure, the traceback is written to ``error.txt``, the error to the tag `error`, and the current
    contents of the folder are logged.

    Args:
        tracker: The tracker of the run.
        tags: The first tags.
        params: The first params.
        retry_upload: Uploads the complete run; called at the end of a successful run during which the store failed.
            Raises a TrackingError if the store still fails.

    Raises:
        TrackingError: If the store failed during a run that was successful otherwise.
    """
    folder, progress = tracker.folder, tracker.progress
    with FileLock(folder / LOCK), contextlib.closing(tracker):  # no other process may upload the run meanwhile
        try:
            with prefer_interrupt():
                tracker.start(tags, params)
                yield
            if (failure := tracker.end("FINISHED")) and tracker.is_log_complete:
                failure = _try_upload(retry_upload)
                if failure is None:
                    progress.detail("the tracking store works again and now contains the complete run")
        except BaseException as error:
            try:
                store_failure = _close_failed_run(tracker, error)
            except KeyboardInterrupt:  # the first signal; later ones are ignored until the run is closed
                store_failure = _close_with_status(tracker, error)
            if store_failure:
                progress.detail(
                    f"{store_failure}. When the store works again, upload this run: {_format_sync_command(folder)}"
                )
            raise
    if failure:
        explanation = "Nothing is lost: {} contains the complete run"
        if not tracker.is_log_complete:
            explanation = "{} contains the run, except for data that could not be written there"
        raise TrackingError(
            f"{failure}. {explanation.format(folder)}. When the store works again, upload the run: "
            f"{_format_sync_command(folder)}"
        )


def _close_failed_run(tracker: Tracker, error: BaseException) -> TrackingError | None:
    """Closes a run that an exception ended, after writing the exception to ``error.txt`` and the tag `error`.

    A pruned trial has no error but the tag `pruned`.

    Returns:
        The first failure of the store; None if there was none.
    """
    if isinstance(error, TrialPruned):
        tracker.set_tags({names.PRUNED: str(error)})
        tracker.log_folder()
        return _close_with_status(tracker, error)
    with contextlib.suppress(OSError):  # a full disk must not prevent the run from being closed
        (tracker.folder / names.ERROR_FILE).write_text(
            _make_writable("".join(traceback.format_exception(error))), encoding="utf-8"
        )
    tracker.set_tags({names.ERROR: _make_writable(f"{type(error).__name__}: {error}")})
    with contextlib.suppress(OSError):
        tracker.log_folder()
    return _close_with_status(tracker, error)


def _close_with_status(tracker: Tracker, error: BaseException) -> TrackingError | None:
    """Closes the run as KILLED after a signal or pruning, else FAILED; returns the store's first failure."""
    is_killed = isinstance(error, (KeyboardInterrupt, TrialPruned))
    if is_killed and tracker.run_id is None:
        tracker.abort()
        return None
    return tracker.end("KILLED" if is_killed else "FAILED")


def _make_writable(text: str) -> str:
    """Returns a text without passwords, in which characters that UTF-8 can't encode (from file names) are escaped."""
    return redact_credentials(text).encode("utf-8", "backslashreplace").decode()


def _try_upload(retry_upload: Callable[[], object]) -> TrackingError | None:
    """Uploads the run again; returns the error as a TrackingError, or None if the upload succeeded."""
    try:
        retry_upload()
    except (TrainyardError, OSError) as error:
        return TrackingError(str(error))
    return None


def _format_sync_command(folder: Path) -> str:
    """Returns the command that uploads a run, for use in the current working directory."""
    return f"trainyard sync {shlex.quote(os.path.relpath(folder))}"

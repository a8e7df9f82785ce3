"""Logs one run to the tracking store: opens it, logs to it, and closes it with the correct status.

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
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from trainyard.errors import TrackingError, TrainyardError, TrialPruned
from trainyard.system import Progress, prefer_interrupt, redact_credentials
from trainyard.tracking import names, operations
from trainyard.tracking.child_runs import close_orphans, find_finished_trials, has_logged_models
from trainyard.tracking.mlflow_model import ServableModel
from trainyard.tracking.operation_log import LOCK, OperationLog, find_logged_files
from trainyard.tracking.operations import DatasetInput, TimedMetrics, find_test_split
from trainyard.tracking.retrying_client import iterate_delays
from trainyard.tracking.tracking_store import NO_LOGGED_MODELS, TrackingStore
from trainyard.tracking.ui_views import build_sweep_view
from trainyard.tracking.writer import Operation, RunRequest, StoreWriter, WriterStatus
from trainyard.tracking.writer_process import ProcessWriter

_METRICS_SECONDS = 1.0
"""The minimum time between two requests with metrics of epochs. The metrics of short epochs are sent together."""


class Tracker:
    """Logs the run of a training, or the parent run of a sweep, without waiting for the store."""

    def __init__(
        self,
        store: TrackingStore | None,
        notify: Callable[[str], None],
        reassurance: str,
        folder: Path | None = None,
        *,
        lock_file: Path | None = None,
    ) -> None:
        """Creates the tracker, which logs nothing before `start`.

        Args:
            store: None logs to the operation log only.
            notify: Called once, with a message, at the first failure of the store.
            reassurance: Second sentence of that message, which states that the work continues.
            folder: The run folder, which gets the operation log; None for a sweep, which has none.
            lock_file: A file on which the process that writes to the store holds a shared lock, if any.
        """
        self._folder = folder
        self._store = store
        self._notify = notify
        self._reassurance = reassurance
        self._lock_file = lock_file
        self._is_created = self._has_notified = False
        self._operation_log = OperationLog(folder, notify) if folder else None
        self._unfinished_operations = 0
        self._writer: StoreWriter | ProcessWriter | None = None
        self._results: list[TimedMetrics] = []
        self._unsent: list[TimedMetrics] = []
        self._sent_at = time.monotonic()
        self._test_split: DatasetInput | None = None

    @property
    def status(self) -> WriterStatus:
        """MLflow's ids of the run and its experiment, and the first failure of the store, as far as they are known."""
        return self._writer.status if self._writer else WriterStatus()

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None before the run is created, and if tracking is off."""
        return self.status.run_id

    @property
    def retry_seconds(self) -> float:
        """The time for which requests to the store are repeated; see `TrackingStore`."""
        return self._store.retry_seconds if self._store else 0.0

    @property
    def is_log_complete(self) -> bool:
        """Whether the operation log contains the complete run, so that it can be uploaded later."""
        return self._operation_log is not None and not self._operation_log.has_gap

    def start(self, request: RunRequest, params: Mapping[str, Any], *, in_process: bool = False) -> None:
        """Starts to create or reopen the run with status RUNNING, and logs its params, without changing existing ones.

        By default another process writes to the store. This process then need not import MLflow, and the run is marked
        KILLED if this process dies. With `in_process`, this process writes.
        """
        if self._operation_log:
            request = self._operation_log.record_start(self._store, request)
        if self._store is not None:
            self._writer = StoreWriter() if in_process else ProcessWriter(self._lock_file)
            self._writer.create(self._store, request)
        self._perform(operations.log_missing_params if request.reopens else operations.log_params, dict(params))
        if request.varied:
            self._perform(operations.add_columns, request.varied)

    def wait_until_created(self) -> None:
        """Waits until the run has been created, and what was logged so far has reached the store.

        Raises:
            ConfigError: If another version of MLflow wrote the database.
            TrackingError: If the store can't be reached, or rejects what was logged so far.
        """
        if self._writer:
            status = self._writer.flush()
            if status.failure:
                raise status.failure
            self._is_created = True
            for notice in status.notices:
                self._notify(notice)

    def notify_without_logged_models(self) -> None:
        """Waits for the store, and reports if it has no logged models. For sweeps, whose trials log models."""
        if self._writer and not self._writer.query(has_logged_models):
            self._notify(NO_LOGGED_MODELS)

    def flush(self) -> None:
        """Waits until all logged data has reached the store, or the store has failed."""
        if self._writer:
            self._send_metrics()
            self._notify_of_failure(self._writer.flush())

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Logs params as text. Values over MLflow's length limit are skipped."""
        self._perform(operations.log_params, dict(params))

    def log_metrics(self, metrics: Mapping[str, float], epoch: int | None = None) -> None:
        """Logs metrics of an epoch, counted from 1; None logs metrics of the whole run, at step 0.

        Metrics of an epoch within a second after the last ones, or after the start, are sent together with those of the
        next epoch.
        """
        entry = (dict(metrics), epoch or 0, int(time.time() * 1000))
        if epoch is None:
            self._results.append(entry)
        if self._operation_log:
            self._operation_log.record_operation(operations.log_history, [entry])
        self._unsent.append(entry)
        if epoch is None or time.monotonic() - self._sent_at >= _METRICS_SECONDS:
            self._send_metrics()

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags, truncated to MLflow's length limit."""
        self._perform(operations.set_tags, dict(tags))

    def log_inputs(self, inputs: Sequence[DatasetInput]) -> None:
        """Logs the splits of the data set that the run used."""
        self._test_split = find_test_split(inputs)
        self._perform(operations.log_inputs, list(inputs))

    def log_files(self, paths: Sequence[Path], subfolder: str = "") -> None:
        """Uploads files, and folders with their contents, to a subfolder of the artifacts.

        The upload happens later: the files must exist until `end` or `flush` returns.
        """
        self._perform(operations.log_files, list(paths), subfolder)

    def log_run_files(self, run_id: str, folder: Path, files: Sequence[str]) -> None:
        """Uploads files in the folder of another run of the store, by their paths in it, to the artifacts of that run.

        The upload happens later: the files must exist until `end` or `flush` returns.
        """
        self._perform(operations.log_run_files, run_id, folder, list(files))

    def log_folder(self) -> None:
        """Uploads the current contents of the run folder; see `find_logged_files`."""
        if self._folder:
            self.log_files(find_logged_files(self._folder))

    def log_model(self, model: ServableModel) -> None:
        """Logs the servable model, and links the metrics of the whole run to it. Its file is moved away."""
        self._perform(operations.log_model, model, self._results, self._test_split)

    def share_view(self, sweep_id: str, objective: str | None, varied: Sequence[str]) -> None:
        """Adds a view of the sweep to the experiment, and the varied settings to the view of all runs.

        See `build_sweep_view` for the arguments.
        """
        self._perform(operations.share_view, build_sweep_view(sweep_id, objective, varied))
        self._perform(operations.add_columns, list(varied))

    def find_finished_trials(self) -> dict[str, str]:
        """Waits for the store, and returns the id of the FINISHED run of each trial, by the tag `trainyard.trial`."""
        self._send_metrics()
        return self._writer.query(find_finished_trials) if self._writer else {}

    def close_orphans(
        self,
        errors: Mapping[str, str] | None = None,
        *,
        ended_elsewhere: Collection[str] | None = (),
        only: str | None = None,
    ) -> None:
        """Marks as KILLED every RUNNING child run whose process no longer exists; see the function of this name."""
        self._perform(close_orphans, dict(errors or {}), ended_elsewhere, only)

    def end(self, status: str) -> TrainyardError | None:
        """Closes the run as FINISHED, FAILED or KILLED, after all data; returns the first failure of the store.

        If the store has failed, data logged since then is skipped. A FINISHED run with a complete operation log is then
        not closed: upload it, or call `end_incomplete`. Other runs are closed, as FAILED instead of FINISHED. The
        operation log always gets `status`.

        A KILLED run of which the store has not confirmed the creation is closed without waiting: the writer process
        performs the requests that it received, then ends the run. Requests that could not be sent to it within two
        seconds, or that the store rejects, may be missing in the store. If there is an operation log, `trainyard sync`
        uploads them.
        """
        self._send_metrics()
        if self._operation_log:
            self._operation_log.record_end(status)
        if self._writer is None or self._store is None:
            return None
        if status == "KILLED" and self.run_id is None:
            self._writer.perform(operations.end, status, even_after_failure=True)
            self._writer.close(wait=False)
            self._writer = None
            return None
        failure = self._writer.flush().failure
        if not failure:
            self._writer.perform(operations.end, status)
            failure = self._writer.flush().failure
        if failure and (status != "FINISHED" or not self.is_log_complete):
            self.end_incomplete("FAILED" if status == "FINISHED" else status, failure)
        if self._operation_log and self.run_id and not failure and not self._unfinished_operations:
            self._operation_log.record_stored(self._store, self.run_id, self.status.run_name or "")
        return failure

    def end_incomplete(self, status: str, failure: TrainyardError) -> None:
        """Closes a run that is incomplete in the store, with its failure as the tag `error`, if the store answers."""
        if self._writer is None or self._store is None or not self._store.is_reachable():
            return
        if self._writer.is_lost:  # continue in this process
            self._writer.close()
            self._writer = StoreWriter(self._store, self._writer.status)
        self._writer.perform(operations.end, status, error=str(failure), even_after_failure=True)
        self._writer.flush()

    def close(self) -> None:
        """Closes the writer. Must be the last call."""
        if self._writer:
            self._writer.close()

    def _perform(self, operation: Operation, *arguments: Any) -> None:  # noqa: ANN401 - each operation has its own
        """Records an operation in the operation log, and performs it on the run, now or as soon as the store is ready.

        Reports the first failure of the store.
        """
        if self._operation_log:
            self._operation_log.record_operation(operation, *arguments)
        self._send_metrics()
        self._send(operation, *arguments)

    def _send_metrics(self) -> None:
        """Logs the metrics that are not sent yet to the run."""
        if self._unsent:
            entries = list(self._unsent)
            self._send(operations.log_history, entries)
            del self._unsent[: len(entries)]  # a signal before this line repeats them, which MLflow ignores
            self._sent_at = time.monotonic()

    def _send(self, operation: Operation, *arguments: Any) -> None:  # noqa: ANN401 - each operation has its own
        """Performs an operation on the run, now or as soon as the store is ready."""
        self._unfinished_operations += 1  # stays above 0 if a signal interrupts the operation: then the store has a gap
        if self._writer:
            self._writer.perform(operation, *arguments)
            self._notify_of_failure(self._writer.status)
        self._unfinished_operations -= 1

    def _notify_of_failure(self, status: WriterStatus) -> None:
        """Reports the first failure of the store, once. An earlier failure is raised by `wait_until_created`."""
        if status.failure and self._is_created and not self._has_notified:
            self._has_notified = True
            self._notify(f"{status.failure}. {self._reassurance}")


@contextlib.contextmanager
def open_tracker(
    tracker: Tracker,
    folder: Path,
    progress: Progress,
    *,
    request: RunRequest,
    params: Mapping[str, Any],
    retry_upload: Callable[[], object],
    report_failure: Callable[[BaseException], object],
) -> Iterator[None]:
    """Opens a run for the duration of the block, and closes it with the correct status.

    The status is FINISHED if the block completed, KILLED if a signal interrupted it or the trial was pruned, and FAILED
    otherwise. On failure, the traceback is written to ``error.txt``, the error to the tag `error`, `report_failure` is
    called with the exception, and the current contents of the folder are logged. `report_failure` must not raise an
    exception, except for a KeyboardInterrupt. If MLflow is already imported (in a notebook or a sweep), this process
    writes to the store, else another one.

    At the end of a successful run during which the store failed, `retry_upload` is called, which uploads the complete
    run. If it raises an error, because the store still fails, a TrackingError is raised.
    """
    with FileLock(folder / LOCK), contextlib.closing(tracker):  # no other process may upload the run meanwhile
        try:
            with prefer_interrupt():
                in_process = "mlflow" in sys.modules or os.name == "nt"  # on Windows, no pipes are inherited by number
                tracker.start(request, params, in_process=in_process)
                tracker.log_folder()
                yield
            if (failure := tracker.end("FINISHED")) and tracker.is_log_complete:
                failure = _upload_again(retry_upload, progress, tracker.retry_seconds / 2)
                if failure:
                    tracker.end_incomplete("FAILED", failure)
        except BaseException as error:
            status = "KILLED" if isinstance(error, (KeyboardInterrupt, TrialPruned)) else "FAILED"
            try:
                _log_reason(tracker, folder, error, report_failure)
                store_failure = tracker.end(status)
            except KeyboardInterrupt:  # the first signal; later ones are ignored until the run is closed
                store_failure = tracker.end(status)
            if store_failure:
                progress.detail(f"{store_failure}. {_format_remedy(folder)}")
            raise
    if failure:
        explanation = "Nothing is lost: {} contains the complete run"
        if not tracker.is_log_complete:
            explanation = "{} contains the run, except for data that could not be written there"
        raise TrackingError(f"{failure}. {explanation.format(folder)}. {_format_remedy(folder)}")


def _upload_again(upload: Callable[[], object], progress: Progress, seconds: float) -> TrackingError | None:
    """Uploads the complete run, trying again for some seconds; returns the store's failure if it still fails."""
    deadline = time.monotonic() + seconds
    progress.detail(f"the tracking store failed: trying to upload the complete run for {seconds:.0f} seconds")
    for delay in iterate_delays():
        try:
            upload()
        except (TrackingError, OSError) as error:
            if time.monotonic() + delay > deadline:
                return TrackingError(str(error))
        except TrainyardError as error:  # repeating the upload would not help
            return TrackingError(str(error))
        else:
            progress.detail("the tracking store works again and now contains the complete run")
            return None
        time.sleep(delay)
    return None  # never: the delays have no end


def _log_reason(
    tracker: Tracker, folder: Path, error: BaseException, report_failure: Callable[[BaseException], object]
) -> None:
    """Logs the folder, and the exception that ended the run as ``error.txt`` and tag `error`, or tag `pruned`."""
    if isinstance(error, TrialPruned):
        tracker.set_tags({names.PRUNED: str(error)})
    else:
        with contextlib.suppress(OSError):  # a full disk must not prevent the run from being closed
            text = make_writable("".join(traceback.format_exception(error)))
            (folder / names.ERROR_FILE).write_text(text, encoding="utf-8")
        tracker.set_tags({names.ERROR: make_writable(f"{type(error).__name__}: {error}")})
        report_failure(error)
    with contextlib.suppress(OSError):
        tracker.log_folder()


def make_writable(text: str) -> str:
    """Returns a text without passwords, in which characters that UTF-8 can't encode (from file names) are escaped."""
    return redact_credentials(text).encode("utf-8", "backslashreplace").decode()


def _format_remedy(folder: Path) -> str:
    """Returns the sentence with the command that uploads a run, for use in the current working directory."""
    return f"When the store works again, upload the run: trainyard sync {shlex.quote(os.path.relpath(folder))}"

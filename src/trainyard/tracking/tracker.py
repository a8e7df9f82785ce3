"""One run in MLflow: opened, logged to while it goes on, and closed with a status that is true.

What is logged, by name, is the contract in the README. The tracker leaves MLflow's active run, its active experiment
and MLFLOW_RUN_ID alone, so that it works inside a notebook that uses them.

When the store fails in the middle, the run goes on to its end. If the store works again by then, it is told all of it;
if not, the run fails, and its folder holds everything: the journal there has what the store was to be told.
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

from trainyard.config.schema import RunConfig
from trainyard.errors import TrackingError, TrainyardError, TrialPruned
from trainyard.system.progress import Progress
from trainyard.system.signals import stop_wins
from trainyard.system.uris import without_credentials
from trainyard.tracking import operations
from trainyard.tracking.journal import KEY_TAG, LOCK, Journal, logged_files
from trainyard.tracking.mlflow_model import ServableModel
from trainyard.tracking.operations import DatasetInput
from trainyard.tracking.tracked_run import TrackedRun
from trainyard.tracking.writer import Operation, RunRequest, StoreWriter
from trainyard.tracking.writer_process import WorkerWriter

if TYPE_CHECKING:
    from trainyard.data.dataset import DataSpec


class Tracker(TrackedRun):
    """Logs one run, in order and without waiting for the store. One that was not started logs nothing."""

    def __init__(self, config: RunConfig, folder: Path, progress: Progress, name: str | None) -> None:
        super().__init__(progress.detail, f"The run goes on, and its folder will hold everything: {folder}")
        self.name = name or config.model.label
        self._config = config
        self._folder = folder
        self._journal = Journal(folder, progress.detail)
        self._in_hand = 0

    def start(self, uri: str | None, tags: Mapping[str, str], params: Mapping[str, Any]) -> None:
        """Has the run created, RUNNING, with what is known by now: tags, params, what the folder holds.

        Where MLflow is imported already (in a notebook, in a sweep) that is done at once, else by another process.
        Where nothing is tracked, the URI is None, and only the journal is written.
        """
        config, tags = self._config, {**tags, KEY_TAG: self._journal.key}
        self._journal.begin(uri, config.experiment, config.notes, self.name, tags, model=config.tracking.model)
        if uri is not None:
            here = "mlflow" in sys.modules or os.name == "nt"  # Windows hands no pipes on by number
            self._uri = uri
            self._writer = StoreWriter() if here else WorkerWriter()
            self._writer.create(RunRequest(uri, config.experiment, config.notes, self.name, tags))
        self.log_params(params)
        self.log_folder()

    def confirm(self) -> None:
        """Waits until the run is there, with what it was started with.

        Raises:
            TrackingError: If the store can't be reached: better now than after the training.
        """
        if self._writer and (failure := self._writer.settle().failure):
            raise failure

    def log_inputs(self, inputs: Sequence[DatasetInput]) -> None:
        """Logs the splits of the data set that the run used."""
        self._perform(operations.log_inputs, list(inputs))

    def log_folder(self) -> None:
        """Uploads what is in the run folder now; see `logged_files`."""
        self._perform(operations.log_files, logged_files(self._folder))

    @property
    def wants_model(self) -> bool:
        """Whether the config says that a servable model is logged."""
        return self._writer is not None and self._config.tracking.model

    def log_model(self, file: Path, spec: DataSpec) -> None:
        """Logs the servable model with signature and requirements.

        Args:
            file: A ``.keras`` file, moved away from where it is. Takes raw pixels, returns probabilities.
            spec: What an image looks like.
        """
        self._perform(operations.log_model, ServableModel(file, spec.image_shape, spec.classes))

    @property
    def can_be_told_again(self) -> bool:
        """Whether the journal has all of the run."""
        return not self._journal.has_gap

    def end(self, status: str) -> TrackingError | None:
        """Closes the run; see `TrackedRun.end`."""
        self._journal.end(status)
        failure = super().end(status)
        if not failure and self.run_id and not self._in_hand:
            self._journal.stored(self._uri, self.run_id)
        return failure

    def break_off(self) -> None:
        """Closes the run as KILLED without waiting; see `TrackedRun.break_off`."""
        self._journal.end("KILLED")
        super().break_off()

    def _perform(self, operation: Operation, *arguments: Any) -> None:  # noqa: ANN401 - each operation has its own
        self._journal.perform(operation, *arguments)
        self._in_hand += 1  # and stays so where a signal breaks it off: then the store lacks something
        super()._perform(operation, *arguments)
        self._in_hand -= 1


@contextlib.contextmanager
def open_tracker(
    config: RunConfig,
    folder: Path,
    progress: Progress,
    uri: str | None,
    *,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    catch_up: Callable[[], object],
    name: str | None = None,
) -> Iterator[Tracker]:
    """Opens a run for the time of the block and closes it with a true status.

    FINISHED where the block ended, KILLED where a signal ended it, FAILED otherwise. On failure the traceback goes
    into ``error.txt`` and the tag `error`, and what the folder holds by then is logged.

    Args:
        config: What is run; names the experiment, and says whether the model is logged.
        folder: The run folder.
        progress: Told when the store fails.
        uri: The tracking URI, or None for no tracking.
        tags: Tags that are known at the start.
        params: Params that are known at the start.
        catch_up: Tells the store everything, when it has failed in the middle of a run that is else sound. Raises a
            TrackingError if it still does not work.
        name: Of the run; None: that of the architecture.

    Yields:
        The tracker of the run.

    Raises:
        TrackingError: If the store failed in the middle of a run that is else sound.
    """
    tracker = Tracker(config, folder, progress, name)
    with FileLock(folder / LOCK), contextlib.closing(tracker):  # so that no other process tells of it meanwhile
        try:
            if uri is not None:
                progress.stage("open")
            with stop_wins():
                tracker.start(uri, tags, params)
                yield tracker
            if (failure := tracker.end("FINISHED")) and tracker.can_be_told_again:
                failure = _retry(catch_up)
                if failure is None:
                    progress.detail("the tracking store works again, and has the whole run now")
        except BaseException as error:
            try:
                lost = _close_broken(tracker, folder, error)
            except KeyboardInterrupt:  # the first signal; whatever comes after it is not heard until all is closed
                lost = _close(tracker, error)
            if lost:
                progress.detail(f"{lost}. When the store works again, tell it of this run: {_sync_command(folder)}")
            raise
    if failure:
        held = "Nothing is lost: {} holds the whole run"
        if not tracker.can_be_told_again:
            held = "{} holds the run but for what could not be written there"
        raise TrackingError(
            f"{failure}. {held.format(folder)}. When the store works again, upload it: {_sync_command(folder)}"
        )


def _close_broken(tracker: Tracker, folder: Path, error: BaseException) -> TrackingError | None:
    """Closes a run that an exception ended, and leaves it in ``error.txt`` and the tag `error`.

    One that was pruned has no error, but the tag `pruned`.

    Returns:
        What the store failed with, if it did.
    """
    if isinstance(error, TrialPruned):
        tracker.set_tags({"pruned": str(error)})
        tracker.log_folder()
        return _close(tracker, error)
    with contextlib.suppress(OSError):  # a full disk must not keep the run from being closed
        (folder / "error.txt").write_text(_writable("".join(traceback.format_exception(error))), encoding="utf-8")
    tracker.set_tags({"error": _writable(f"{type(error).__name__}: {error}")})
    with contextlib.suppress(OSError):
        tracker.log_folder()
    return _close(tracker, error)


def _close(tracker: Tracker, error: BaseException) -> TrackingError | None:
    killed = isinstance(error, (KeyboardInterrupt, TrialPruned))
    if killed and tracker.run_id is None:
        tracker.break_off()
        return None
    return tracker.end("KILLED" if killed else "FAILED")


def _writable(text: str) -> str:
    """Returns a text without passwords, and without the bytes of file names that are no letters."""
    return without_credentials(text).encode("utf-8", "backslashreplace").decode()


def _retry(catch_up: Callable[[], object]) -> TrackingError | None:
    try:
        catch_up()
    except (TrainyardError, OSError) as error:
        return TrackingError(str(error))
    return None


def _sync_command(folder: Path) -> str:
    """Returns the command that uploads a run, as it is typed where this process works."""
    return f"trainyard sync {shlex.quote(os.path.relpath(folder))}"

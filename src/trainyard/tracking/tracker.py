"""One run in MLflow: opened, logged to while it goes on, and closed with a status that is true.

What is logged, by name, is the contract in the README. The tracker leaves MLflow's active run, its active experiment
and MLFLOW_RUN_ID alone, so that it works inside a notebook that uses them.

When the store fails in the middle, the run goes on to its end and fails then: the run folder holds everything.

Before it: writer, worker. After it: run.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.checkpoint import CHECKPOINTS
from trainyard.errors import TrackingError
from trainyard.progress import Progress
from trainyard.schema import RunConfig
from trainyard.tracking import operations
from trainyard.tracking.operations import DatasetInput
from trainyard.tracking.servable import ServableModel
from trainyard.tracking.worker import WorkerWriter
from trainyard.tracking.writer import Operation, RunRequest, Standing, StoreWriter, Writer
from trainyard.uris import without_credentials

if TYPE_CHECKING:
    from trainyard.images import DataSpec


class Tracker:
    """Logs one run, in order and without waiting for the store. One that was not started logs nothing."""

    def __init__(self, config: RunConfig, folder: Path, progress: Progress) -> None:
        self.name = config.model.label
        self._config = config
        self._folder = folder
        self._progress = progress
        self._writer: Writer | None = None
        self._uri = ""
        self._told = False

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None before it is known, and where nothing is tracked."""
        return self._writer.standing.run_id if self._writer else None

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the run's experiment; None likewise."""
        return self._writer.standing.experiment_id if self._writer else None

    def start(self, uri: str, tags: Mapping[str, str], params: Mapping[str, Any]) -> None:
        """Has the run created, RUNNING, with what is known by now: tags, params, what the folder holds.

        Where MLflow is imported already (in a notebook, in a sweep) that is done at once, else by another process.
        """
        here = "mlflow" in sys.modules or os.name == "nt"  # Windows hands no pipes on by number
        self._uri = uri
        self._writer = StoreWriter() if here else WorkerWriter()
        self._writer.create(RunRequest(uri, self._config.experiment, self._config.notes, self.name, tags))
        self.log_params(params)
        self.log_folder()

    def confirm(self) -> None:
        """Waits until the run is there, with what it was started with.

        Raises:
            TrackingError: If the store can't be reached: better now than after the training.
        """
        if self._writer and (failure := self._writer.settle().failure):
            raise failure

    def settle(self) -> None:
        """Waits until everything that was logged has reached the store, or the store failed."""
        if self._writer:
            self._tell(self._writer.settle())

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Logs the flattened config; what MLflow can't hold is left to the artifact."""
        self._perform(operations.log_params, dict(params))

    def log_metrics(self, metrics: Mapping[str, float], epoch: int | None = None) -> None:
        """Logs metrics in one call, at an epoch counted from 1, or once for the whole run."""
        self._perform(operations.log_metrics, dict(metrics), epoch or 0, int(time.time() * 1000))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags, cut to the length that MLflow holds."""
        self._perform(operations.set_tags, dict(tags))

    def log_inputs(self, inputs: Sequence[DatasetInput]) -> None:
        """Logs the splits of the data set that the run used."""
        self._perform(operations.log_inputs, list(inputs))

    def log_folder(self) -> None:
        """Uploads what is in the run folder now; not what is hidden, nor checkpoints, which serve where they are."""
        files = (path for path in sorted(self._folder.iterdir()) if not path.name.startswith("."))
        self._perform(operations.log_files, [path for path in files if path.name != CHECKPOINTS])

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
        self._tell(self._writer.standing)

    def _tell(self, standing: Standing) -> None:
        """Tells of the store's first failure, once. If the run could not be created at all, that ends the run."""
        if standing.failure and standing.run_id and not self._told:
            self._told = True
            self._progress.detail(
                f"{standing.failure}. The run goes on, and its folder will hold everything: {self._folder}"
            )


@contextlib.contextmanager
def open_tracker(
    config: RunConfig,
    folder: Path,
    progress: Progress,
    uri: str | None,
    *,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
) -> Iterator[Tracker]:
    """Opens a run for the time of the block and closes it with a true status.

    FINISHED where the block ended, KILLED where a signal ended it, FAILED otherwise. On failure the traceback goes
    into ``error.txt`` and the tag `error`, and what the folder holds by then is logged.

    Args:
        config: What is run; names the run, its experiment, and whether the model is logged.
        folder: The run folder.
        progress: Told when the store fails.
        uri: The tracking URI, or None for no tracking.
        tags: Tags that are known at the start.
        params: Params that are known at the start.

    Yields:
        The tracker of the run.

    Raises:
        TrackingError: If the store failed in the middle of a run that is else sound.
    """
    tracker = Tracker(config, folder, progress)
    with contextlib.closing(tracker):
        try:
            if uri is not None:
                progress.stage("open")
                tracker.start(uri, tags, params)
            yield tracker
            failure = tracker.end("FINISHED")
        except BaseException as error:
            killed = isinstance(error, KeyboardInterrupt)
            with contextlib.suppress(OSError):  # a full disk must not keep the run from being closed
                (folder / "error.txt").write_text(without_credentials(traceback.format_exc()))
            tracker.set_tags({"error": without_credentials(f"{type(error).__name__}: {error}")})
            with contextlib.suppress(OSError):
                tracker.log_folder()
            if killed and tracker.run_id is None:
                tracker.break_off()
            else:
                tracker.end("KILLED" if killed else "FAILED")
            raise
    if failure:
        raise TrackingError(f"{failure}. Nothing is lost: {folder} holds the whole run")

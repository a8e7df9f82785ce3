"""One run in MLflow: opened, logged to while it goes on, and closed with a status that is true.

What is logged, by name, is the contract in the README. The tracker goes through MLflow's client and leaves its active
run, its active experiment and MLFLOW_RUN_ID alone, so that it works inside a notebook that uses them.

When the store fails in the middle, the run goes on to its end and fails then: the run folder holds everything.

Before it: store. After it: run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.checkpoint import CHECKPOINTS
from trainyard.errors import TrackingError
from trainyard.progress import Progress
from trainyard.schema import RunConfig
from trainyard.stores import URI_VARIABLE
from trainyard.tracking.store import open_store, tracking_errors
from trainyard.uris import without_credentials

if TYPE_CHECKING:
    import keras
    from mlflow import MlflowClient

    from trainyard.images import DataSpec

MODEL_NAME = "model"
"""MLflow refuses dots and slashes in the names of models."""

MODEL_PACKAGES = ("tensorflow", "keras", "numpy")
"""What the logged model needs to be served; inferring this takes MLflow seconds."""

_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """One split as MLflow shows it.

    Attributes:
        name: The data set's name.
        context: ``train``, ``validation`` or ``test``.
        digest: sha256 in hexadecimal; MLflow shows the first characters.
        source: Where the data was found.
        images: How many.
        image_shape: The shape of one.
        classes: How many.
    """

    name: str
    context: str
    digest: str
    source: str
    images: int
    image_shape: tuple[int, ...]
    classes: int


class Tracker:
    """Logs one run. One that was not started logs nothing."""

    def __init__(self, config: RunConfig, folder: Path, progress: Progress) -> None:
        self.name = config.model.label
        self.config = config
        self.folder = folder
        self.run_id: str | None = None
        self.experiment_id: str | None = None
        self.uri: str | None = None
        self.failure: TrackingError | None = None
        self._client: MlflowClient | None = None
        self._progress = progress

    def start(self, uri: str, tags: Mapping[str, str], params: Mapping[str, Any]) -> None:
        """Creates the run, RUNNING, and logs what it was started with: tags, params, what the folder holds by now.

        Raises:
            TrackingError: If the store can't be reached: better now than after the training.
        """
        self.uri = uri
        experiment = self.config.tracking.experiment or self.config.name
        self._client, self.experiment_id = open_store(uri, experiment, self.config.notes)
        with tracking_errors(uri):
            run = self._client.create_run(self.experiment_id, run_name=self.name, tags=_cut(tags))
        self.run_id = run.info.run_id
        self.log_params(params)
        self.log_folder()

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Logs the flattened config; what MLflow can't hold is left to the artifact."""

        def log(client: MlflowClient, run_id: str) -> None:
            from mlflow.entities import Param

            written = {key: value if isinstance(value, str) else json.dumps(value) for key, value in params.items()}
            kept = [Param(_key(key), value) for key, value in written.items() if len(value) <= _LONGEST_PARAM]
            client.log_batch(run_id, params=kept)

        self._attempt(log)

    def log_metrics(self, metrics: Mapping[str, float], epoch: int | None = None) -> None:
        """Logs metrics in one call, at an epoch counted from 1, or once for the whole run."""

        def log(client: MlflowClient, run_id: str) -> None:
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            client.log_batch(run_id, [Metric(_key(key), float(metrics[key]), now, epoch or 0) for key in metrics])

        self._attempt(log)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags, cut to the length that MLflow holds."""

        def log(client: MlflowClient, run_id: str) -> None:
            from mlflow.entities import RunTag

            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in _cut(tags).items()])

        self._attempt(log)

    def log_inputs(self, inputs: list[DatasetInput]) -> None:
        """Logs the splits of the data set that the run used."""
        self._attempt(lambda client, run_id: client.log_inputs(run_id, [_entity(split) for split in inputs]))

    def log_folder(self) -> None:
        """Uploads the run folder as the run's artifacts, checkpoints apart: they serve only where they are."""

        def log(client: MlflowClient, run_id: str) -> None:
            for path in sorted(self.folder.iterdir()):
                if path.is_file():
                    client.log_artifact(run_id, str(path))
                elif path.name != CHECKPOINTS:
                    client.log_artifacts(run_id, str(path), path.name)

        self._attempt(log)

    def log_model(self, model: keras.Model, spec: DataSpec) -> None:
        """Logs the servable model with signature and requirements, unless the config says not to.

        MLflow gives the model the metrics that the run has without a step by then: those of the test.

        Args:
            model: Takes raw pixels, returns probabilities.
            spec: What an image looks like.
        """
        if self.config.tracking.model:
            self._attempt(lambda client, run_id: self._log_model(client, run_id, model, spec))

    def end(self, status: str) -> None:
        """Closes the run with a status. After a failure of the store this is still tried, and the status is FAILED."""
        failure, self.failure = self.failure, None
        if failure:
            self.set_tags({"error": str(failure)})
            status = "FAILED" if status == "FINISHED" else status
        self.failure = None
        self._attempt(lambda client, run_id: client.set_terminated(run_id, status))
        self.failure = failure or self.failure

    def _log_model(self, client: MlflowClient, run_id: str, model: keras.Model, spec: DataSpec) -> None:
        import mlflow
        import mlflow.keras
        import numpy as np
        from mlflow.models import Model, ModelSignature
        from mlflow.types import Schema, TensorSpec

        signature = ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, *spec.image_shape))]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, spec.classes))]),
        )
        logged = client.create_logged_model(self.experiment_id, MODEL_NAME, source_run_id=run_id)
        before = os.environ.get(URI_VARIABLE)  # MLflow keeps what was set here too
        mlflow.set_tracking_uri(self.uri)
        try:
            Model.log(
                artifact_path=None,
                name=MODEL_NAME,
                flavor=mlflow.keras,
                run_id=run_id,
                model_id=logged.model_id,
                model=model,
                signature=signature,
                pip_requirements=[f"{name}=={version(name)}" for name in MODEL_PACKAGES],
            )
        finally:
            mlflow.set_tracking_uri(before)

    def _attempt(self, action: Callable[[MlflowClient, str], Any]) -> None:
        """Does something with the store; after its first failure nothing more is tried."""
        if self._client is None or self.run_id is None or self.uri is None or self.failure:
            return
        try:
            with tracking_errors(self.uri):
                action(self._client, self.run_id)
        except TrackingError as error:
            self.failure = error
            self._progress.detail(f"{error}. The run goes on, and its folder will hold everything: {self.folder}")


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
        TrackingError: If the store can't be reached at the start, or failed in the middle of a run that is else sound.
    """
    tracker = Tracker(config, folder, progress)
    try:
        if uri is not None:
            progress.stage("open")
            tracker.start(uri, tags, params)
        yield tracker
        tracker.end("FINISHED")
    except BaseException as error:
        (folder / "error.txt").write_text(without_credentials(traceback.format_exc()))
        tracker.set_tags({"error": without_credentials(f"{type(error).__name__}: {error}")})
        killed = isinstance(error, KeyboardInterrupt)
        tracker.log_folder()
        tracker.end("KILLED" if killed else "FAILED")
        raise
    if tracker.failure:
        raise TrackingError(f"{tracker.failure}. Nothing is lost: {folder} holds the whole run")


def _entity(split: DatasetInput) -> Any:  # noqa: ANN401 - MLflow is not typed
    """Returns MLflow's form of a split."""
    from mlflow.entities import Dataset, InputTag
    from mlflow.entities import DatasetInput as Entity

    dataset = Dataset(
        name=split.name,
        digest=split.digest[:36],
        source_type="local",
        source=json.dumps({"uri": split.source}),
        profile=json.dumps({"images": split.images, "image_shape": split.image_shape, "classes": split.classes}),
    )
    return Entity(dataset, [InputTag("mlflow.data.context", split.context)])


def _key(key: str) -> str:
    """Replaces what MLflow refuses in the names of params and metrics."""
    return re.sub(r"[^\w\-. :/]|\.\.", "_", key)


def _cut(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: str(value)[:_LONGEST_TAG] for key, value in tags.items()}

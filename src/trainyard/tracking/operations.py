"""What can be done to an open run: plain functions of plain data, so that another process can be told to do them.

Before it: servable. After it: writer, which does them one after the other.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.stores import URI_VARIABLE
from trainyard.tracking.servable import ServableModel

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL_NAME = "model"
"""MLflow refuses dots and slashes in the names of models."""

_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that can be written to.

    Attributes:
        client: Of the store.
        uri: The store.
        experiment_id: MLflow's id of the experiment.
        run_id: MLflow's id of the run.
    """

    client: MlflowClient
    uri: str
    experiment_id: str
    run_id: str


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


def log_params(run: OpenRun, params: Mapping[str, Any]) -> None:
    """Logs the flattened config; what MLflow can't hold is left to the artifact."""
    from mlflow.entities import Param

    written = {key: value if isinstance(value, str) else json.dumps(value) for key, value in params.items()}
    kept = [Param(_key(key), value) for key, value in written.items() if len(value) <= _LONGEST_PARAM]
    run.client.log_batch(run.run_id, params=kept)


def log_metrics(run: OpenRun, metrics: Mapping[str, float], step: int, milliseconds: int) -> None:
    """Logs metrics in one call, as measured at a time since 1970."""
    from mlflow.entities import Metric

    batch = [Metric(_key(name), float(value), milliseconds, step) for name, value in metrics.items()]
    run.client.log_batch(run.run_id, batch)


def set_tags(run: OpenRun, tags: Mapping[str, str]) -> None:
    """Sets tags, cut to the length that MLflow holds."""
    from mlflow.entities import RunTag

    run.client.log_batch(run.run_id, tags=[RunTag(key, value) for key, value in cut_tags(tags).items()])


def log_inputs(run: OpenRun, inputs: Sequence[DatasetInput]) -> None:
    """Logs the splits of the data set that the run used."""
    run.client.log_inputs(run.run_id, [_entity(split) for split in inputs])


def log_files(run: OpenRun, paths: Sequence[Path]) -> None:
    """Uploads files, and folders with what is in them, to the root of the run's artifacts."""
    for path in paths:
        if path.is_dir():
            run.client.log_artifacts(run.run_id, str(path), path.name)
        else:
            run.client.log_artifact(run.run_id, str(path))


def log_model(run: OpenRun, servable: ServableModel) -> None:
    """Logs the servable model. MLflow gives it the metrics that the run has without a step by now: the test's."""
    import mlflow
    from mlflow.models import Model

    logged = run.client.create_logged_model(run.experiment_id, MODEL_NAME, source_run_id=run.run_id)
    before = os.environ.get(URI_VARIABLE)  # MLflow keeps what was set here too
    mlflow.set_tracking_uri(run.uri)
    try:
        Model.log(None, servable, name=MODEL_NAME, run_id=run.run_id, model_id=logged.model_id)
    finally:
        mlflow.set_tracking_uri(before)


def end(run: OpenRun, status: str) -> None:
    """Closes the run: FINISHED, FAILED or KILLED."""
    run.client.set_terminated(run.run_id, status)


def cut_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Returns the tags as far as MLflow holds them."""
    return {key: str(value)[:_LONGEST_TAG] for key, value in tags.items()}


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

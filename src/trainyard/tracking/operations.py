"""What can be done to an open run: plain functions of plain data, so that another process can be told to do them."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

from trainyard.tracking.mlflow_model import ServableModel
from trainyard.tracking.stores import URI_VARIABLE

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL_NAME = "model"
"""MLflow refuses dots and slashes in the names of models."""

Measured: TypeAlias = tuple[Mapping[str, float], int, int]
"""Values by the names of metrics, with their step and when they were measured, in milliseconds since 1970."""

_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000
_MOST_METRICS = 1000
"""In one call."""


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


def complete_params(run: OpenRun, params: Mapping[str, Any]) -> None:
    """Logs the params that a reopened run does not have: those that it has can't be changed."""
    held = run.client.get_run(run.run_id).data.params
    log_params(run, {key: value for key, value in params.items() if _key(key) not in held})


def log_metrics(run: OpenRun, metrics: Mapping[str, float], step: int, milliseconds: int) -> None:
    """Logs metrics in one call, as measured at a time since 1970."""
    log_history(run, [(metrics, step, milliseconds)])


def log_history(run: OpenRun, history: Sequence[Measured]) -> None:
    """Logs metrics of many steps in few calls. One that the run has already, of that step and time, stays one."""
    from mlflow.entities import Metric

    batch = [
        Metric(_key(name), float(value), milliseconds, step)
        for metrics, step, milliseconds in history
        for name, value in metrics.items()
    ]
    for start in range(0, len(batch), _MOST_METRICS):
        run.client.log_batch(run.run_id, batch[start : start + _MOST_METRICS])


def set_tags(run: OpenRun, tags: Mapping[str, str]) -> None:
    """Sets tags, cut to the length that MLflow holds."""
    from mlflow.entities import RunTag

    run.client.log_batch(run.run_id, tags=[RunTag(key, value) for key, value in cut_tags(tags).items()])


def log_inputs(run: OpenRun, inputs: Sequence[DatasetInput]) -> None:
    """Logs the splits of the data set that the run used."""
    run.client.log_inputs(run.run_id, [_entity(split) for split in inputs])


def log_files(run: OpenRun, paths: Sequence[Path], subfolder: str = "") -> None:
    """Uploads files, and folders with what is in them, to the root of the run's artifacts or to a subfolder."""
    for path in paths:
        if path.is_dir():
            run.client.log_artifacts(run.run_id, str(path), str(PurePosixPath(subfolder, path.name)))
        else:
            run.client.log_artifact(run.run_id, str(path), subfolder or None)


def log_model(run: OpenRun, servable: ServableModel) -> None:
    """Logs the servable model with the run's params. MLflow adds the metrics without a step: the test's, by now."""
    import mlflow
    from mlflow.models import Model

    params = run.client.get_run(run.run_id).data.params
    logged = run.client.create_logged_model(run.experiment_id, MODEL_NAME, source_run_id=run.run_id, params=params)
    before = os.environ.get(URI_VARIABLE)  # MLflow keeps what was set here too
    mlflow.set_tracking_uri(run.uri)
    try:
        Model.log(None, servable, name=MODEL_NAME, run_id=run.run_id, model_id=logged.model_id)
    finally:
        mlflow.set_tracking_uri(before)


def share_view(run: OpenRun, tags: Mapping[str, str]) -> None:
    """Tags the run's experiment with a view. Whoever may not do that does without."""
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(MlflowException):
        for key, value in tags.items():
            run.client.set_experiment_tag(run.experiment_id, key, value)


def has_model(run: OpenRun) -> bool:
    """Tells whether the servable model was logged as a whole; what there is of a broken-off one is removed."""
    whole = False
    for model in run.client.search_logged_models([run.experiment_id], f"source_run_id = '{run.run_id}'"):
        if model.status.name == "READY":
            whole = True
        else:
            run.client.delete_logged_model(model.model_id)
    return whole


def clear_error(run: OpenRun) -> None:
    """Takes the tag `error` away, if there is one."""
    if "error" in run.client.get_run(run.run_id).data.tags:
        run.client.delete_tag(run.run_id, "error")


def end(run: OpenRun, status: str, milliseconds: int | None = None) -> None:
    """Closes the run, FINISHED, FAILED or KILLED, at a time since 1970: now if none is named."""
    run.client.set_terminated(run.run_id, status, milliseconds)


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

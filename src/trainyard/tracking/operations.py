"""Operations on an open run: functions whose arguments can be pickled, so that another process can perform them."""

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

    from trainyard.tracking.tracking_store import TrackingStore

DIGEST_LENGTH = 36
"""MLflow stores the first 36 characters of a digest."""

TimedMetrics: TypeAlias = tuple[Mapping[str, float], int, int]
"""Values by metric name, the step, and the time of measurement in milliseconds since 1970."""

_MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 5000
_MAX_METRICS = 1000
"""MLflow's limit for one call."""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that can be written to, by MLflow's ids of the run and its experiment."""

    store: TrackingStore
    experiment_id: str
    run_id: str

    @property
    def client(self) -> MlflowClient:
        """MLflow's client of the store."""
        return self.store.client


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """One split of the data set, as logged to MLflow: `images` is the number of images, `source` a path or URL.

    `context` is ``train``, ``validation`` or ``test``. `digest` is a sha256 in hexadecimal; the first 36 characters are
    logged.
    """

    name: str
    context: str
    digest: str
    source: str
    images: int
    image_shape: tuple[int, ...]
    classes: int


def log_params(run: OpenRun, params: Mapping[str, Any]) -> None:
    """Logs params as text. Values over MLflow's length limit are skipped; config.yaml among the artifacts has them."""
    from mlflow.entities import Param

    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in params.items()}
    short = [Param(_replace_invalid(key), value) for key, value in texts.items() if len(value) <= _MAX_PARAM_LENGTH]
    run.client.log_batch(run.run_id, params=short)


def log_missing_params(run: OpenRun, params: Mapping[str, Any]) -> None:
    """Logs the params that a reopened run does not have yet; MLflow does not allow changes of existing params."""
    existing = run.client.get_run(run.run_id).data.params
    log_params(run, {key: value for key, value in params.items() if _replace_invalid(key) not in existing})


def log_history(run: OpenRun, history: Sequence[TimedMetrics]) -> None:
    """Logs metrics of one or many steps in few calls. MLflow ignores values that it has with the same step and time."""
    from mlflow.entities import Metric

    batch = [
        Metric(_replace_invalid(name), float(value), milliseconds, step)
        for metrics, step, milliseconds in history
        for name, value in metrics.items()
    ]
    for start in range(0, len(batch), _MAX_METRICS):
        run.client.log_batch(run.run_id, batch[start : start + _MAX_METRICS])


def set_tags(run: OpenRun, tags: Mapping[str, str]) -> None:
    """Sets tags, truncated to MLflow's length limit."""
    from mlflow.entities import RunTag

    run.client.log_batch(run.run_id, tags=[RunTag(key, value) for key, value in truncate_tags(tags).items()])


def log_inputs(run: OpenRun, inputs: Sequence[DatasetInput]) -> None:
    """Logs the splits of the data set that the run used."""
    from mlflow.entities import Dataset, InputTag
    from mlflow.entities import DatasetInput as MlflowInput

    mlflow_inputs = []
    for split in inputs:
        dataset = Dataset(
            name=split.name,
            digest=split.digest[:DIGEST_LENGTH],
            source_type="local",
            source=json.dumps({"uri": split.source}),
            profile=json.dumps({"images": split.images, "image_shape": split.image_shape, "classes": split.classes}),
        )
        mlflow_inputs.append(MlflowInput(dataset, [InputTag("mlflow.data.context", split.context)]))
    run.client.log_inputs(run.run_id, mlflow_inputs)


def log_files(run: OpenRun, paths: Sequence[Path], subfolder: str = "") -> None:
    """Uploads files, and folders with their contents, to the root of the run's artifacts or to a subfolder."""
    for path in paths:
        if path.is_dir():
            run.client.log_artifacts(run.run_id, str(path), str(PurePosixPath(subfolder, path.name)))
        else:
            run.client.log_artifact(run.run_id, str(path), subfolder or None)


def log_model(run: OpenRun, servable: ServableModel) -> None:
    """Logs the servable model with the run's params. MLflow links the metrics logged so far to it."""
    import mlflow
    from mlflow.models import Model

    name = "model"  # MLflow refuses dots and slashes in the names of models
    params = run.client.get_run(run.run_id).data.params
    logged = run.client.create_logged_model(run.experiment_id, name, source_run_id=run.run_id, params=params)
    before = os.environ.get(URI_VARIABLE)  # `set_tracking_uri` changes this variable too
    mlflow.set_tracking_uri(run.store.uri)
    try:
        Model.log(None, servable, name=name, run_id=run.run_id, model_id=logged.model_id)
    finally:
        mlflow.set_tracking_uri(before)


def share_view(run: OpenRun, tags: Mapping[str, str]) -> None:
    """Sets a shared view as tags of the run's experiment. Errors, such as missing permissions, are ignored."""
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(MlflowException):
        for key, value in tags.items():
            run.client.set_experiment_tag(run.experiment_id, key, value)


def remove_partial_models(run: OpenRun) -> bool:
    """Deletes the run's incompletely logged models. Returns whether a complete one remains."""
    models = run.client.search_logged_models([run.experiment_id], f"source_run_id = '{run.run_id}'")
    partial_models = [model for model in models if model.status.name != "READY"]
    for model in partial_models:
        run.client.delete_logged_model(model.model_id)
    return len(partial_models) < len(models)


def end(run: OpenRun, status: str, milliseconds: int | None = None) -> None:
    """Closes the run as FINISHED, FAILED or KILLED, with an end time in milliseconds since 1970; None uses now."""
    run.client.set_terminated(run.run_id, status, milliseconds)


def truncate_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Returns the tags with values truncated to MLflow's length limit."""
    return {key: str(value)[:MAX_TAG_LENGTH] for key, value in tags.items()}


def _replace_invalid(key: str) -> str:
    """Returns a param or metric name in which the characters that MLflow rejects are replaced by underscores."""
    return re.sub(r"[^\w\-. :/]|\.\.", "_", key)

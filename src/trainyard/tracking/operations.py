"""Operations on an open run: functions whose arguments can be pickled, so that another process can perform them."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

from trainyard.tracking import names
from trainyard.tracking.mlflow_model import ServableModel
from trainyard.tracking.ui_views import EXPERIMENT_VIEW, add_varied_settings

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run

    from trainyard.tracking.retrying_client import RetryingClient
    from trainyard.tracking.tracking_store import TrackingStore

MODEL_FOLDER = "model"
"""The folder of the servable model among the artifacts of a run, in stores without logged models."""
DIGEST_LENGTH = 36
"""MLflow stores the first 36 characters of a digest."""

TimedMetrics: TypeAlias = tuple[Mapping[str, float], int, int]
"""Values by metric name, the step, and the time of measurement in milliseconds since 1970."""

_CONTEXT_TAG = "mlflow.data.context"
_MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 5000
_THREADS = 8
_MAX_METRICS = 1000
"""MLflow's limit for one call."""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that can be written to: its store, MLflow's ids of its experiment and of the run, and its name."""

    store: TrackingStore
    experiment_id: str
    run_id: str
    name: str

    @property
    def client(self) -> RetryingClient:
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


def log_history(
    run: OpenRun, history: Sequence[TimedMetrics], model_id: str | None = None, dataset: DatasetInput | None = None
) -> None:
    """Logs metrics of one or many steps in few calls. MLflow ignores values that it has with the same step and time.

    With `model_id`, the metrics are linked to a logged model, and to the split on which the model was tested.
    """
    from mlflow.entities import Metric

    links: dict[str, Any] = {"model_id": model_id, "run_id": run.run_id} if model_id else {}
    if model_id and dataset:
        links |= {"dataset_name": dataset.name, "dataset_digest": dataset.digest[:DIGEST_LENGTH]}
    batch = [
        Metric(_replace_invalid(name), float(value), milliseconds, step, **links)
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
        mlflow_inputs.append(MlflowInput(dataset, [InputTag(_CONTEXT_TAG, split.context)]))
    run.client.log_inputs(run.run_id, mlflow_inputs)


def read_inputs(entity: Run) -> Iterator[DatasetInput]:
    """Yields the splits that `log_inputs` logged to a run. What other programs did not log is empty or 0."""
    for entry in entity.inputs.dataset_inputs if entity.inputs else ():
        profile, source = _parse_object(entry.dataset.profile), _parse_object(entry.dataset.source)
        yield DatasetInput(
            name=entry.dataset.name,
            context=next((tag.value for tag in entry.tags if tag.key == _CONTEXT_TAG), ""),
            digest=entry.dataset.digest,
            source=source.get("uri", ""),
            images=profile.get("images", 0),
            image_shape=tuple(profile.get("image_shape", ())),
            classes=profile.get("classes", 0),
        )


def _parse_object(text: str | None) -> dict[str, Any]:
    """Returns a JSON object as a dict; empty if the text is something else."""
    with contextlib.suppress(ValueError):
        value = json.loads(text or "")
        return value if isinstance(value, dict) else {}
    return {}


def log_run_files(run: OpenRun, run_id: str, folder: Path, files: Sequence[str]) -> None:
    """Uploads files in the folder of a run of the same store, by their paths in it, to the artifacts of that run."""
    for subfolder, group in itertools.groupby(sorted(files), key=lambda file: str(PurePosixPath(file).parent)):
        log_files(replace(run, run_id=run_id), [folder / file for file in group], subfolder)


def log_files(run: OpenRun, paths: Sequence[Path], subfolder: str = "") -> None:
    """Uploads files, and folders with their contents, to the root of the run's artifacts or to a subfolder."""
    files = [(path, path.parent) for path in paths if not path.is_dir()]
    for folder in filter(Path.is_dir, paths):
        files += [(file, folder.parent) for file in sorted(folder.rglob("*")) if file.is_file()]

    def upload(file: Path, root: Path) -> None:
        target = PurePosixPath(subfolder, file.relative_to(root).parent.as_posix())
        run.client.log_artifact(run.run_id, str(file), "" if target == PurePosixPath() else str(target))

    for file, root in files[:1]:  # MLflow then knows the location of the artifacts, which each thread would ask for
        upload(file, root)
    _run_parallel([partial(upload, file, root) for file, root in files[1:]])


def log_model(
    run: OpenRun, servable: ServableModel, metrics: Sequence[TimedMetrics], dataset: DatasetInput | None
) -> None:
    """Logs the servable model, as plain artifacts of the run if the store has no logged models.

    The name of a logged model is the label of its architecture, followed by the other words in the name of the run:
    ``64 relu lr0_01 seed3``. Characters that MLflow rejects are replaced.

    Args:
        run: The run, whose params are logged with the model.
        servable: The model.
        metrics: The metrics to link to the logged model.
        dataset: The split on which they were measured; None if it is not known.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    client = run.client
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, MODEL_FOLDER)
        if not run.store.has_logged_models:
            servable.save_model(folder, Model(artifact_path=MODEL_FOLDER, run_id=run.run_id))
            last = folder / "MLmodel"  # its presence shows that the model is complete
            log_files(run, [path for path in folder.iterdir() if path != last], MODEL_FOLDER)
            log_files(run, [last], MODEL_FOLDER)
            return
        params = client.get_run(run.run_id).data.params
        words = servable.label.split()
        words += [word for word in run.name.split() if word not in words]
        name = re.sub(r"[/:.%\"']", "_", " ".join(words))
        model = client.create_once(
            "create_logged_model",
            lambda: next(iter(_find_logged_models(run)), None),
            run.experiment_id,
            name,
            run.run_id,
            params=params,
        )
        location, model_id = model.artifact_location, model.model_id
        servable.save_model(folder, Model(location, run.run_id, model_uuid=model_id, model_id=model_id))
        client.log_model_artifacts(model_id, str(folder))
        client.log_outputs(run.run_id, [LoggedModelOutput(model_id, step=0)])
        log_history(run, metrics, model_id, dataset)
        client.finalize_logged_model(model_id, LoggedModelStatus.READY)


def _run_parallel(calls: Sequence[Callable[[], object]]) -> None:
    """Calls functions in parallel threads. If one raises an error, those that have not started are not called."""
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = [pool.submit(call) for call in calls]
        try:
            for future in futures:
                future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def share_view(run: OpenRun, tags: Mapping[str, str]) -> None:
    """Sets a shared view as tags of the run's experiment. Errors, such as missing permissions, are ignored."""
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(MlflowException):
        for key, value in tags.items():
            run.client.set_experiment_tag(run.experiment_id, key, value)


def add_columns(run: OpenRun, varied: Sequence[str]) -> None:
    """Adds settings to the columns of the view of the run's experiment. Errors are ignored, as in `share_view`."""
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(MlflowException):
        view = run.client.get_experiment(run.experiment_id).tags.get(EXPERIMENT_VIEW)
        if view and (extended := add_varied_settings(view, varied)):
            share_view(run, {EXPERIMENT_VIEW: extended})


def remove_partial_models(run: OpenRun) -> bool:
    """Deletes the run's incompletely logged models. Returns whether a complete one remains."""
    if not run.store.has_logged_models:
        return run.store.find_model(run.run_id) is not None
    models = _find_logged_models(run)
    partial_models = [model for model in models if model.status.name != "READY"]
    for model in partial_models:
        run.client.delete_logged_model(model.model_id)
    return len(partial_models) < len(models)


def _find_logged_models(run: OpenRun) -> Sequence[LoggedModel]:
    """Returns the models of a run, whether they are complete or not."""
    models: Sequence[LoggedModel] = run.client.search_logged_models(
        [run.experiment_id], f"source_run_id = '{run.run_id}'"
    )
    return models


def end(run: OpenRun, status: str, milliseconds: int | None = None, *, error: str | None = None) -> None:
    """Closes the run as FINISHED, FAILED or KILLED, with an end time in milliseconds since 1970; None uses now.

    `error` is the tag `error`; None sets none.
    """
    if error is not None:
        set_tags(run, {names.ERROR: error})
    run.client.set_terminated(run.run_id, status, milliseconds)


def find_test_split(inputs: Sequence[DatasetInput]) -> DatasetInput | None:
    """Returns the split with the test images, or None."""
    return next((split for split in inputs if split.context == "test"), None)


def truncate_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Returns the tags with values truncated to MLflow's length limit."""
    return {key: str(value)[:MAX_TAG_LENGTH] for key, value in tags.items()}


def _replace_invalid(key: str) -> str:
    """Returns a param or metric name in which the characters that MLflow rejects are replaced by underscores."""
    return re.sub(r"[^\w\-. :/]|\.\.", "_", key)

"""Logged models, and their versions in the MLflow model registry."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from trainyard.errors import ConfigError
from trainyard.tracking.connection import connect, tracking_errors
from trainyard.tracking.runs import LoggedRun

_KERAS_FILE = "data/model.keras"
_VERSION_TAGS = ("weights_digest", "config_hash", "dataset_digest")
"""Tags that are copied from the run to the model version."""


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """The servable model that a run logged.

    Attributes:
        model_id: MLflow's id of the model.
        location: The URI of the model's folder, which MLflow's loaders accept.
    """

    model_id: str
    location: str


def find_logged_model(uri: str, run_id: str) -> LoggedModel | None:
    """Returns the model that a run logged, or None if there is no complete one.

    Raises:
        TrackingError: If the store can't be reached.
    """
    with tracking_errors(uri):
        client = connect(uri)
        experiment = client.get_run(run_id).info.experiment_id
        for model in client.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
            if model.status.name == "READY":
                return LoggedModel(model.model_id, model.artifact_location)
    return None


def download_logged_model(uri: str, model: LoggedModel, folder: Path) -> Path:
    """Downloads the Keras file of a logged model into a folder, and returns the path of the file.

    Raises:
        TrackingError: If the store can't be reached, or does not contain the file.
    """
    import mlflow

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with tracking_errors(uri):
        source = f"{model.location}/{_KERAS_FILE}"
        return Path(mlflow.artifacts.download_artifacts(source, dst_path=str(folder), tracking_uri=uri))


def register_model(uri: str, name: str, alias: str | None, run: LoggedRun, model: LoggedModel) -> tuple[int, bool]:
    """Registers a run's model as a version of a registered model, unless such a version exists already.

    Args:
        uri: The tracking URI.
        name: The name of the registered model, which is created if it does not exist.
        alias: An alias to point to the version; None sets no alias.
        run: The run that logged the model.
        model: The model to register.

    Returns:
        The number of the version, and whether it is new.

    Raises:
        ConfigError: If MLflow rejects the name or the alias.
        TrackingError: If the store can't be reached.
    """
    from mlflow.exceptions import MlflowException

    with tracking_errors(uri):
        client = connect(uri)
        try:
            try:
                client.get_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                client.create_registered_model(name)
            existing = [
                int(version.version)
                for version in client.search_model_versions(f"run_id = '{run.run_id}'")
                if version.name == name and version.source == model.location and version.status == "READY"
            ]
            if existing:
                number = max(existing)
            else:
                tags = {key: run.tags[key] for key in _VERSION_TAGS if key in run.tags}
                created = client.create_model_version(
                    name, model.location, run_id=run.run_id, tags=tags, model_id=model.model_id
                )
                number = int(created.version)
            if alias:
                client.set_registered_model_alias(name, alias, str(number))
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise ConfigError(f"{name}: {error.message}") from error
    return number, not existing

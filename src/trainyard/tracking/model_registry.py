"""Models under a name: those that runs logged, and their versions in MLflow's registry."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from trainyard.errors import ConfigError
from trainyard.tracking.connection import connect, tracking_errors
from trainyard.tracking.runs import LoggedRun

_FILE = "data/model.keras"
_TOLD = ("weights_digest", "config_hash", "dataset_digest")
"""Tags of a run that its version has, too."""


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """The servable model that a run logged.

    Attributes:
        model_id: MLflow's id.
        location: Of its folder, as MLflow's loaders take it.
    """

    model_id: str
    location: str


def find_logged_model(uri: str, run_id: str) -> LoggedModel | None:
    """Returns the whole model that a run logged, or None.

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
    """Downloads the Keras file of a logged model into a folder, and returns it.

    Raises:
        TrackingError: If the store can't be reached, or lacks it.
    """
    import mlflow

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with tracking_errors(uri):
        source = f"{model.location}/{_FILE}"
        return Path(mlflow.artifacts.download_artifacts(source, dst_path=str(folder), tracking_uri=uri))


def register_model(uri: str, name: str, alias: str | None, run: LoggedRun, model: LoggedModel) -> tuple[int, bool]:
    """Registers a run's model under a name, which is made if need be, unless that was done before.

    Args:
        uri: Of the store.
        name: Of the registered model.
        alias: To point to this version, or None.
        run: That logged it.
        model: What it logged.

    Returns:
        The version, and whether it is new.

    Raises:
        ConfigError: If MLflow refuses the name.
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
            known = [
                int(version.version)
                for version in client.search_model_versions(f"run_id = '{run.run_id}'")
                if version.name == name and version.source == model.location and version.status == "READY"
            ]
            if known:
                number = max(known)
            else:
                tags = {key: run.tags[key] for key in _TOLD if key in run.tags}
                made = client.create_model_version(
                    name, model.location, run_id=run.run_id, tags=tags, model_id=model.model_id
                )
                number = int(made.version)
            if alias:
                client.set_registered_model_alias(name, alias, str(number))
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise ConfigError(f"{name}: {error.message}") from error
    return number, not known

"""A run's model, registered under a name in MLflow's registry, once it is shown to be what the run trained.

Before it: tracking, modelfiles, provenance. After it: ``trainyard promote``.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainyard.errors import ConfigError, ModelError, TrackingError
from trainyard.modelfiles import load_model
from trainyard.provenance import digest_weights
from trainyard.registry import load_plugins
from trainyard.runtime import import_tensorflow
from trainyard.tracking.runs import LoggedRun, find_run
from trainyard.tracking.store import connect, tracking_errors

SETTING = "promote"
_MODEL = "data/model.keras"


@dataclass(frozen=True, slots=True)
class Registered:
    """A version of a registered model.

    Attributes:
        name: Of the model.
        version: From 1.
        new: Whether it was registered now; else it was there.
        alias: That points to it, or None.
    """

    name: str
    version: int
    new: bool
    alias: str | None

    @property
    def uri(self) -> str:
        """What MLflow's loaders and ``mlflow models serve`` take."""
        return f"models:/{self.name}@{self.alias}" if self.alias else f"models:/{self.name}/{self.version}"


def promote_run(run_id: str, name: str, alias: str | None, uri: str) -> Registered:
    """Registers the model of a run; one that is registered under this name already is not registered twice.

    Args:
        run_id: Of the run, in the store.
        name: Of the registered model; made if need be.
        alias: To point to this version, and no longer to an earlier one; None: none.
        uri: Of the store.

    Raises:
        ConfigError: If there is no such run, it is not FINISHED or logged no model, or a name is refused.
        ModelError: If the weights of the logged model are not those that the run ended with.
        TrackingError: If the store can't be reached.
    """
    from mlflow.exceptions import MlflowException

    if not name or re.search("[/:]", name):
        raise ConfigError(f"{SETTING}: expected a name without / and :, got {name!r}")
    if alias is not None and (not re.fullmatch(r"[\w-]+", alias) or re.fullmatch(r"latest|v\d+", alias, re.IGNORECASE)):
        raise ConfigError(
            f"--alias: expected letters, digits, _ and -, and neither latest nor v1, v2 and so on, got {alias!r}"
        )
    try:
        run = find_run(uri, run_id)
    except TrackingError as error:
        raise ConfigError(f"{SETTING}: {error}") from error
    if run.status != "FINISHED":
        raise ConfigError(f"{SETTING}: expected a run that is FINISHED, got {run_id}, which is {run.status}")
    with tracking_errors(uri):
        client = connect(uri)
        model = _logged_model(client, run_id)
        _refuse_other_weights(uri, model, run)
        try:
            version, new = _register(client, name, run, model)
            if alias:
                client.set_registered_model_alias(name, alias, str(version))
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise ConfigError(f"{SETTING}: {error.message}") from error
    return Registered(name, version, new, alias)


def _logged_model(client: Any, run_id: str) -> Any:  # noqa: ANN401 - MLflow is not typed
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    ready = [model for model in found if model.status.name == "READY"]
    if not ready:
        raise ConfigError(
            f"{SETTING}: the run {run_id} logged no servable model, as with tracking.model=false. Take one that did"
        )
    return ready[0]


def _refuse_other_weights(uri: str, model: Any, run: LoggedRun) -> None:  # noqa: ANN401 - MLflow is not typed
    import mlflow

    expected = run.tags.get("weights_digest")
    if expected is None:
        raise ConfigError(f"{SETTING}: the run {run.run_id} does not tell the digest of its weights")
    with tempfile.TemporaryDirectory(prefix="trainyard-promote-") as place:
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        source = f"{model.artifact_location}/{_MODEL}"
        load_plugins()  # a layer of the user's own is known to Keras once its module was imported
        import_tensorflow()
        file = mlflow.artifacts.download_artifacts(source, dst_path=place, tracking_uri=uri)
        found = digest_weights(load_model(Path(file), SETTING))
    if found != expected:
        raise ModelError(
            f"{SETTING}: the model that {run.run_id} logged is not what it trained: expected weights with the digest "
            f"{expected}, found {found}"
        )


def _register(client: Any, name: str, run: LoggedRun, model: Any) -> tuple[int, bool]:  # noqa: ANN401
    """Returns the version of a run's model under a name, and whether it is new."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name)
    for version in client.search_model_versions(f"run_id = '{run.run_id}'"):
        if version.name == name and version.model_id == model.model_id and version.status == "READY":
            return int(version.version), False
    tags = {key: run.tags[key] for key in ("weights_digest", "config_hash", "dataset_digest") if key in run.tags}
    made = client.create_model_version(
        name, model.artifact_location, run_id=run.run_id, tags=tags, model_id=model.model_id
    )
    return int(made.version), True

"""A run's model, registered under a name in MLflow's registry, once it is shown to be what the run trained."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from trainyard.config.registry import load_plugins
from trainyard.errors import ConfigError, ModelError, TrackingError
from trainyard.runs.saved_models import load_model
from trainyard.system.environment import digest_weights
from trainyard.system.tensorflow_setup import import_tensorflow
from trainyard.tracking.model_registry import LoggedModel, download_logged_model, find_logged_model, register_model
from trainyard.tracking.runs import LoggedRun, find_run

SETTING = "promote"


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
    model = find_logged_model(uri, run_id)
    if model is None:
        raise ConfigError(
            f"{SETTING}: the run {run_id} logged no servable model, as with tracking.model=false. Take one that did"
        )
    _refuse_other_weights(uri, model, run)
    version, new = register_model(uri, name, alias, run, model)
    return Registered(name, version, new, alias)


def _refuse_other_weights(uri: str, model: LoggedModel, run: LoggedRun) -> None:
    expected = run.tags.get("weights_digest")
    if expected is None:
        raise ConfigError(f"{SETTING}: the run {run.run_id} does not tell the digest of its weights")
    with tempfile.TemporaryDirectory(prefix="trainyard-promote-") as place:
        file = download_logged_model(uri, model, Path(place))
        load_plugins()  # a layer of the user's own is known to Keras once its module was imported
        import_tensorflow()
        found = digest_weights(load_model(file, SETTING))
    if found != expected:
        raise ModelError(
            f"{SETTING}: the model that {run.run_id} logged is not what it trained: expected weights with the digest "
            f"{expected}, found {found}"
        )

"""Registering the model of a run in the MLflow Model Registry, after a check that it is the model the run trained."""

from __future__ import annotations

import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

from trainyard.config import load_plugins
from trainyard.errors import ConfigError, ModelError
from trainyard.runs import find_run, load_model
from trainyard.system import hash_weights, import_tensorflow
from trainyard.tracking import RunRecord, StoredModel, TrackingStore, names, register_model

COMMAND = "promote"
"""The name of the command, for messages."""


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version of a registered model, from 1; `new` is False if the run was registered under this name before."""

    name: str
    version: int
    new: bool
    alias: str | None

    @property
    def uri(self) -> str:
        """The model URI for MLflow's loaders and ``mlflow models serve``."""
        return f"models:/{self.name}@{self.alias}" if self.alias else f"models:/{self.name}/{self.version}"


def promote_run(run_id: str, name: str, alias: str | None, store: TrackingStore) -> RegisteredVersion:
    """Registers the model of a run as `name`. A run that is already registered under this name keeps its version.

    `run_id` may also be the folder of a run that is in the store. An earlier version loses the alias. None as `alias`
    sets no alias.

    Raises:
        ConfigError: If there is no such run, it is not FINISHED or logged no model, or the name or alias is invalid.
        ModelError: If the weights of the logged model are not those with which the run ended.
        TrackingError: If the store can't be reached.
    """
    if not name or re.search("[/:]", name):
        raise ConfigError(f"{COMMAND}: expected a name without / and :, got {name!r}")
    if alias is not None and (not re.fullmatch(r"[\w-]+", alias) or re.fullmatch(r"latest|v\d+", alias, re.IGNORECASE)):
        raise ConfigError(
            f"--alias: expected letters, digits, _ and -, and neither latest nor v1, v2 and so on, got {alias!r}"
        )
    run = find_run(run_id, store, COMMAND)
    if run.store is None:  # loaded from its folder
        if run.run_id is None:
            raise ConfigError(
                f"{COMMAND}: expected a run that is in a tracking store, got {run_id}, which is in none. Upload it: "
                f"trainyard sync {shlex.quote(run_id)}"
            )
        run = find_run(run.run_id, store, COMMAND)
    if run.status != "FINISHED":
        raise ConfigError(f"{COMMAND}: expected a run that is FINISHED, got {run_id}, which is {run.status}")
    model = store.find_model(run.run_id) if run.run_id else None
    if model is None:
        raise ConfigError(
            f"{COMMAND}: expected a run that logged a servable model, got {run_id}, which logged none, for example "
            "because of tracking.model=false. Choose a run with a logged model"
        )
    _check_weights(store, model, run)
    version, new = register_model(store, name, alias, run, model)
    return RegisteredVersion(name, version, new, alias)


def _check_weights(store: TrackingStore, model: StoredModel, run: RunRecord) -> None:
    """Raises a ModelError if the weights of the logged model differ from the digest that the run logged."""
    expected = run.tags.get(names.WEIGHTS_DIGEST)
    if expected is None:
        raise ConfigError(f"{COMMAND}: expected a run with the tag weights_digest, got {run.run_id}, which has none")
    with tempfile.TemporaryDirectory(prefix="trainyard-promote-") as folder:
        file = store.download_model(model, Path(folder))
        load_plugins()  # importing the module of a custom layer registers the layer in Keras
        import_tensorflow()
        digest = hash_weights(load_model(file, COMMAND))
    if digest != expected:
        raise ModelError(
            f"{COMMAND}: the model that {run.run_id} logged is not the model that it trained: "
            f"expected weights with the digest {expected}, got {digest}"
        )

"""Registers the models of runs in MLflow's model registry."""

from __future__ import annotations

from trainyard.errors import ConfigError
from trainyard.tracking import names
from trainyard.tracking.run_record import RunRecord
from trainyard.tracking.tracking_store import StoredModel, TrackingStore

_VERSION_TAGS = (names.WEIGHTS_DIGEST, names.CONFIG_HASH, names.DATASET_DIGEST)
"""Tags that are copied from the run to the model version."""


def register_model(
    store: TrackingStore, name: str, alias: str | None, run: RunRecord, model: StoredModel
) -> tuple[int, bool]:
    """Registers the model that a run logged, unless it is registered; returns its version and whether it is new.

    The registered model is created if it does not exist. None as `alias` sets no alias. Raises a ConfigError if
    MLflow rejects the name or the alias.
    """
    from mlflow.exceptions import MlflowException

    with store.translate_errors():
        try:
            try:
                store.client.get_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                store.client.create_registered_model(name)
            existing = [
                int(version.version)
                for version in store.client.search_model_versions(f"run_id = '{run.run_id}'")
                if version.name == name and version.source == model.location and version.status == "READY"
            ]
            if existing:
                number = max(existing)
            else:
                tags = {key: run.tags[key] for key in _VERSION_TAGS if key in run.tags}
                created = store.client.create_model_version(
                    name, model.location, run_id=run.run_id, tags=tags, model_id=model.model_id
                )
                number = int(created.version)
            if alias:
                store.client.set_registered_model_alias(name, alias, str(number))
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise ConfigError(f"{name}: {error.message}") from error
    return number, not existing

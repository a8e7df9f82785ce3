"""Uploads a run that is missing or incomplete in a store from its folder. Repeated uploads log nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from trainyard.tracking import names, operations
from trainyard.tracking.mlflow_model import ServableModel
from trainyard.tracking.operation_log import LoggedOperations, find_logged_files, record_stored
from trainyard.tracking.operations import OpenRun, TimedMetrics, truncate_tags
from trainyard.tracking.tracking_store import NO_LOGGED_MODELS, PROCESS_DIED, TrackingStore

OPEN_STATUSES = ("RUNNING", "SCHEDULED", "UNFINISHED")
"""MLflow's statuses of runs that have not ended."""


def upload_operations(
    logged: LoggedOperations,
    folder: Path,
    store: TrackingStore,
    build_model: Callable[[], ServableModel] | None,
    parent_run_id: str | None = None,
) -> str:
    """Uploads everything of a run that a store does not contain yet, and returns MLflow's id of the run.

    The run is found by its key, even if an earlier upload, or the creation of the run, was interrupted. If neither the
    operation log nor the store has a final status, the run is closed as KILLED. `build_model` returns the servable
    model; None logs no model. `parent_run_id` is the run's parent in this store; None keeps that in the operation log,
    if it is of this store. The upload is recorded in the operation log.

    Raises:
        TrackingError: If the store fails. The upload can be repeated.
    """
    status, tags = logged.status or "KILLED", {**logged.tags, names.RUN_KEY: logged.key}
    if names.FOLDER in tags:
        tags[names.FOLDER] = str(folder.absolute())  # it may have been moved
    if parent_run_id:
        tags[names.PARENT_RUN_ID] = parent_run_id
    elif store.name != logged.uri:
        tags.pop(names.PARENT_RUN_ID, None)  # the parent run is only in the store of the sweep
    experiment_id = store.open_experiment(logged.experiment, logged.notes)
    with store.translate_errors():
        entity = store.find_run_by_key(logged.key)
        if logged.status is None:
            if entity and entity.info.status not in OPEN_STATUSES:
                status = entity.info.status
            else:
                tags.setdefault(names.ERROR, PROCESS_DIED)
        if entity is None:
            entity = store.create_run(experiment_id, logged.name, truncate_tags(tags), logged.started)
        run = OpenRun(store, entity.info.experiment_id, entity.info.run_id, entity.info.run_name)
        operations.log_missing_params(run, logged.params)
        operations.set_tags(run, tags)
        operations.log_history(run, [entry for entry in logged.metrics if not _is_total_time(entry)])
        operations.log_inputs(run, logged.inputs)
        operations.log_files(run, find_logged_files(folder))
        if build_model and not store.has_logged_models:
            store.notices.append(NO_LOGGED_MODELS)
        if build_model and not operations.remove_partial_models(run):
            tests = [entry for entry in logged.metrics if entry[1] == 0 and not _is_total_time(entry)]
            test_split = operations.find_test_split(logged.inputs)
            operations.log_model(run, build_model(), tests, test_split)
        operations.log_history(run, [entry for entry in logged.metrics if _is_total_time(entry)])
        if logged.status and names.ERROR not in tags and names.ERROR in entity.data.tags:
            store.client.delete_tag(run.run_id, names.ERROR)  # the error was the failure of the store
        operations.end(run, status, logged.updated)
    record_stored(folder, store, run.run_id, run.name)
    return run.run_id


def upload_files(store: TrackingStore, run_id: str, folder: Path, files: Sequence[str]) -> None:
    """Uploads files in the folder of a run, by their paths in it. Raises a TrackingError if the store fails."""
    with store.translate_errors():
        operations.log_run_files(OpenRun(store, "", run_id, ""), run_id, folder, files)


def has_run(store: TrackingStore, run_id: str, logged: LoggedOperations, parent_run_id: str | None = None) -> bool:
    """Returns whether a store still contains a run that was uploaded completely before, below a parent run, if any."""
    store.open_experiment(logged.experiment, logged.notes)
    with store.translate_errors():
        entity = store.find_run_by_key(logged.key)
    if entity is None or entity.info.run_id != run_id or entity.info.status in OPEN_STATUSES:
        return False
    if logged.status and entity.info.status != logged.status:
        return False
    return parent_run_id is None or entity.data.tags.get(names.PARENT_RUN_ID) == parent_run_id


def _is_total_time(entry: TimedMetrics) -> bool:
    """Returns whether metrics are the times of the whole run, which a run logs after the model."""
    values, step, _ = entry
    return step == 0 and all(name.startswith("time/") for name in values)

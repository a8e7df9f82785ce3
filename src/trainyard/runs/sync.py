"""Uploads runs from their folders to a tracking store in which they are missing or incomplete."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from trainyard.data import PREPROCESSING_FILE as PREPROCESSING
from trainyard.data import load_preprocessing
from trainyard.errors import ConfigError, TrackingError
from trainyard.runs import artifacts
from trainyard.runs.lookup import MODEL_FILE, load_model
from trainyard.system import import_tensorflow
from trainyard.tracking import (
    LOCK,
    OPERATION_LOG_FILE,
    URI_VARIABLE,
    LoggedOperations,
    ServableModel,
    TrackingStore,
    has_run,
    load_operations,
    names,
    upload_operations,
)


class LiveRunError(TrackingError):
    """The run is still running and logs to the store itself, or another process is uploading it."""


@dataclass(frozen=True, slots=True)
class SyncResult:
    """A run that is complete in a store, unless it `has_gap`, because the disk was full. `uri` has no credentials."""

    uri: str
    run_id: str
    status: str
    uploaded: bool
    """False if the run was complete before."""
    has_gap: bool
    notices: tuple[str, ...]


def find_run_folders(path: Path) -> list[Path]:
    """Returns the run folders at or below a path. Raises a ConfigError if there is none."""
    folders = sorted(file.parent for file in path.rglob(OPERATION_LOG_FILE))
    if not folders:
        received = "contains no run" if path.is_dir() else "is not a folder"
        raise ConfigError(f"{path}: expected a run folder, or a folder that contains run folders, but it {received}")
    return folders


def sync_run(folder: Path, store: TrackingStore | None = None, parent_run_id: str | None = None) -> SyncResult:
    """Uploads everything of an ended run that a tracking store does not have yet. Nothing is logged twice.

    None as `store` uses the store that the run was configured for. If that needs a password, MLFLOW_TRACKING_URI must
    contain it. `parent_run_id` is the run of the sweep in this store, of which the run becomes a child; None leaves it
    where it is.

    Raises:
        ConfigError: If the folder contains no run, or the store needs a password that is not in the environment.
        LiveRunError: If the run is still running, or another process is uploading it.
        ModelError: If the model in the folder is damaged.
        TrackingError: If the store fails, or the folder is not writable. The upload can be repeated.
    """
    logged = load_operations(folder)
    try:
        with FileLock(folder / LOCK, timeout=0):
            logged = load_operations(folder)
            host = logged.tags.get(names.HOST)
            if logged.status is None and host != socket.gethostname():  # file locks may not work between hosts
                raise LiveRunError(
                    f"{folder}: the run was not uploaded: it has no final status, so it may still be running on host "
                    f"{host}. Run `trainyard sync` on {host}"
                )
            store = store or find_store(folder, logged)
            run_id = logged.stores.get(store.name)
            is_stored = run_id is not None and has_run(store, run_id, logged, parent_run_id)
            return SyncResult(
                uri=store.name,
                run_id=run_id if run_id and is_stored else upload_run(folder, store, parent_run_id),
                status=logged.status or "KILLED",
                uploaded=not is_stored,
                has_gap=logged.has_gap,
                notices=tuple(store.notices),
            )
    except Timeout as error:
        reason = (
            "another process is uploading it"
            if logged.status
            else f"it is still running, as process {logged.tags[names.PID]}"
        )
        raise LiveRunError(f"{folder}: the run was not uploaded: {reason}") from error
    except OSError as error:
        raise TrackingError(
            f"{folder}: the run can't be uploaded: {error}. Check that you can write to this folder"
        ) from error


def upload_run(folder: Path, store: TrackingStore, parent_run_id: str | None = None) -> str:
    """Uploads everything of a run that a store does not have yet, and returns MLflow's id; see `sync_run`."""
    logged = load_operations(folder)
    has_model = logged.model and logged.status == "FINISHED" and (folder / MODEL_FILE).is_file()
    build_model = (lambda: _build_servable_model(folder, str(logged.model))) if has_model else None
    run_id = upload_operations(logged, folder, store, build_model, parent_run_id)
    (folder / artifacts.SERVABLE_FILE).unlink(missing_ok=True)
    return run_id


def find_store(folder: Path, logged: LoggedOperations) -> TrackingStore:
    """Returns the store that a run was configured for. If tracking was off, returns the default of new runs."""
    if logged.uri is None:
        return TrackingStore.default()
    if "***" not in logged.uri:
        return TrackingStore(logged.uri)
    store = TrackingStore(os.environ.get(URI_VARIABLE, ""))
    if store.name != logged.uri:
        raise ConfigError(
            f"{folder}: the run's tracking store, {logged.uri}, needs a password, which is not saved with the run. "
            f"Set {URI_VARIABLE} to the complete URI, or choose another store: --to URI"
        )
    return store


def _build_servable_model(folder: Path, label: str) -> ServableModel:
    """Returns the model that accepts raw pixels. Builds its file again if the run was interrupted before saving it."""
    spec = load_preprocessing(folder / PREPROCESSING).spec
    file = folder / artifacts.SERVABLE_FILE
    if file.is_file():
        return ServableModel(file, label, spec.image_shape, spec.classes)
    import_tensorflow()
    return artifacts.save_servable_model(folder, load_model(folder / MODEL_FILE, "sync"), label, spec)

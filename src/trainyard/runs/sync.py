"""Uploads runs from their folders to a tracking store in which they are missing or incomplete."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from trainyard.data import PREPROCESSING_FILE as PREPROCESSING
from trainyard.data import load_preprocessing
from trainyard.errors import ConfigError, TrackingError
from trainyard.runs import artifacts
from trainyard.runs.saved_models import MODEL_FILE, load_model
from trainyard.system import import_tensorflow, redact_credentials
from trainyard.tracking import (
    LOCK,
    OPERATION_LOG_FILE,
    URI_VARIABLE,
    LocalStore,
    RunRecord,
    ServableModel,
    find_logged_files,
    has_run,
    load_run_record,
    names,
    record_stored,
    upload_record,
)


class LiveRunError(TrackingError):
    """The run is still running and logs to the store itself, or another process is uploading it."""


@dataclass(frozen=True, slots=True)
class SyncResult:
    """A run that is complete in a tracking store.

    Attributes:
        uri: The tracking URI, without credentials.
        run_id: MLflow's id of the run in that store.
        status: FINISHED, FAILED or KILLED.
        uploaded: Whether something was uploaded. False if the run was complete before.
        has_gap: Whether some data of the run is missing because the disk was full.
    """

    uri: str
    run_id: str
    status: str
    uploaded: bool
    has_gap: bool


def find_run_folders(path: Path) -> list[Path]:
    """Returns the run folders at or below a path.

    Raises:
        ConfigError: If there is none.
    """
    if (path / OPERATION_LOG_FILE).is_file():
        return [path]
    folders = sorted(file.parent for file in path.rglob(OPERATION_LOG_FILE))
    if not folders:
        received = "contains no run" if path.is_dir() else "is not a folder"
        raise ConfigError(f"{path}: expected a run folder, or a folder that contains run folders, but it {received}")
    return folders


def sync_run(folder: Path, to: str | None, environment: Mapping[str, str]) -> SyncResult:
    """Uploads everything of an ended run that a tracking store does not have yet. Nothing is logged twice.

    Args:
        folder: The run folder.
        to: The tracking URI. None uses the store that the run was configured for.
        environment: The environment variables. They may name the tracking URI and contain its password.

    Returns:
        The store and the id of the run in it.

    Raises:
        ConfigError: If the folder contains no run, or the store needs a password that is not in the environment.
        LiveRunError: If the run is still running, or another process is uploading it.
        ModelError: If the model in the folder is damaged.
        TrackingError: If the store fails, or the folder is not writable. The upload can be repeated.
    """
    record = load_run_record(folder)
    try:
        with FileLock(folder / LOCK, timeout=0):
            record = load_run_record(folder)
            _check_ended(folder, record)
            uri = to or _find_store_uri(folder, record, environment)
            run_id = record.stores.get(redact_credentials(uri))
            is_stored = run_id is not None and has_run(uri, run_id, record)
            return SyncResult(
                uri=redact_credentials(uri),
                run_id=run_id if run_id and is_stored else upload_run(folder, uri),
                status=record.status or "KILLED",
                uploaded=not is_stored,
                has_gap=record.has_gap,
            )
    except Timeout as error:
        reason = (
            "another process is uploading it"
            if record.status
            else f"it is still running, as process {record.tags[names.PID]}"
        )
        raise LiveRunError(f"{folder}: the run was not uploaded: {reason}") from error
    except OSError as error:
        raise TrackingError(
            f"{folder}: the run can't be uploaded: {error}. Check that you can write to this folder"
        ) from error


def upload_run(folder: Path, uri: str) -> str:
    """Uploads everything of a run that a store does not have yet, and records the upload in the run's operation log.

    Returns:
        MLflow's id of the run.

    Raises:
        ConfigError: If the folder contains no run, or its operation log is damaged.
        ModelError: If the model in the folder is damaged.
        TrackingError: If the store fails.
    """
    record = load_run_record(folder)
    has_model = record.model and record.status == "FINISHED" and (folder / MODEL_FILE).is_file()
    run_id = upload_record(
        record, find_logged_files(folder), uri, (lambda: _build_servable_model(folder)) if has_model else None
    )
    record_stored(folder, uri, run_id)
    (folder / artifacts.SERVABLE_FILE).unlink(missing_ok=True)
    return run_id


def _check_ended(folder: Path, record: RunRecord) -> None:
    """Raises LiveRunError if a run of another host may still be running. File locks may not work between hosts."""
    host = record.tags.get(names.HOST)
    if record.status is None and host != socket.gethostname():
        raise LiveRunError(
            f"{folder}: the run was not uploaded: it has no final status, so it may still be running on host {host}. "
            f"Run `trainyard sync` on {host}"
        )


def _find_store_uri(folder: Path, record: RunRecord, environment: Mapping[str, str]) -> str:
    """Returns the tracking URI that a run was configured for. If tracking was off, returns the default of new runs."""
    if record.uri is None:
        return LocalStore().resolve_uri(environment, Path.cwd())
    if "***" not in record.uri:
        return record.uri
    uri = environment.get(URI_VARIABLE, "")
    if redact_credentials(uri) != record.uri:
        raise ConfigError(
            f"{folder}: the run's tracking store, {record.uri}, needs a password, which is not saved with the run. "
            f"Set {URI_VARIABLE} to the complete URI, or choose another store: --to URI"
        )
    return uri


def _build_servable_model(folder: Path) -> ServableModel:
    """Returns the model that accepts raw pixels. Builds its file again if the run was interrupted before saving it."""
    spec = load_preprocessing(folder / PREPROCESSING).spec
    file = folder / artifacts.SERVABLE_FILE
    if not file.is_file():
        import_tensorflow()
        artifacts.save_servable_model(folder, load_model(folder / MODEL_FILE, "sync"), spec)
    return ServableModel(file, spec.image_shape, spec.classes)

"""Brings runs into a tracking store from their folders: those that it lost the middle of, and those never tracked."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from trainyard.data.preprocessing import FILE as PREPROCESSING
from trainyard.data.preprocessing import read_preprocessing
from trainyard.errors import ConfigError, TrackingError
from trainyard.runs import artifacts
from trainyard.runs.saved_models import MODEL, load_model
from trainyard.system.tensorflow_setup import import_tensorflow
from trainyard.system.uris import without_credentials
from trainyard.tracking import Account, ServableModel, has_run, logged_files, note_stored, read_account, upload
from trainyard.tracking.journal import JOURNAL, LOCK
from trainyard.tracking.stores import URI_VARIABLE, LocalStore


class LiveRunError(TrackingError):
    """The run still goes on, and tells the store itself."""


@dataclass(frozen=True, slots=True)
class Synced:
    """A run that a store has all of.

    Attributes:
        uri: The store, without a password.
        run_id: MLflow's id of the run there.
        status: FINISHED, FAILED or KILLED.
        uploaded: False if the store had all of it before.
        has_gap: Whether something of it is missing, as the disk was full.
    """

    uri: str
    run_id: str
    status: str
    uploaded: bool
    has_gap: bool


def find_runs(path: Path) -> list[Path]:
    """Returns the folders of runs at or below a path.

    Raises:
        ConfigError: If there is none.
    """
    if (path / JOURNAL).is_file():
        return [path]
    found = sorted(journal.parent for journal in path.rglob(JOURNAL))
    if not found:
        what = "holds no run" if path.is_dir() else "is no folder"
        raise ConfigError(f"{path}: expected the folder of a run, or one with such folders in it; it {what}")
    return found


def sync_run(folder: Path, to: str | None, environment: Mapping[str, str]) -> Synced:
    """Has a store hold all of a run that has ended. What it holds already is not logged a second time.

    Args:
        folder: Of the run.
        to: The tracking URI; None: that of the store which the run was meant for.
        environment: Which may name the store, and its password.

    Returns:
        Where the run is now.

    Raises:
        ConfigError: If the folder holds no run, or the store needs a password that is not given.
        LiveRunError: If the run still goes on, or is synced by another process.
        ModelError: If the model in the folder is damaged.
        TrackingError: If the store fails; it can be tried again.
    """
    account = read_account(folder)
    try:
        with FileLock(folder / LOCK, timeout=0):
            account = read_account(folder)
            _refuse_foreign(folder, account)
            uri = to or _store_of(folder, account, environment)
            run_id = account.stores.get(without_credentials(uri))
            there = run_id is not None and has_run(uri, run_id, account)
            return Synced(
                uri=without_credentials(uri),
                run_id=run_id if run_id and there else complete_in_store(folder, uri),
                status=account.status or "KILLED",
                uploaded=not there,
                has_gap=account.has_gap,
            )
    except Timeout as error:
        who = (
            "another process syncs it now" if account.status else f"it still goes on, as process {account.tags['pid']}"
        )
        raise LiveRunError(f"{folder}: the run is left alone, {who}") from error
    except OSError as error:
        raise TrackingError(f"{folder}: the run can't be synced: {error}. Work where you may write") from error


def complete_in_store(folder: Path, uri: str) -> str:
    """Tells a store all of a run, from its folder, and notes there that it did.

    Returns:
        MLflow's id of the run.

    Raises:
        ConfigError: If the folder holds no run, or its journal is damaged.
        ModelError: If the model in the folder is damaged.
        TrackingError: If the store fails.
    """
    account = read_account(folder)
    has_model = account.model and account.status == "FINISHED" and (folder / MODEL).is_file()
    run_id = upload(account, logged_files(folder), uri, (lambda: _servable(folder)) if has_model else None)
    note_stored(folder, uri, run_id)
    (folder / artifacts.SERVABLE).unlink(missing_ok=True)
    return run_id


def _refuse_foreign(folder: Path, account: Account) -> None:
    """Refuses a run of another host that may still be told by its own process, whose lock need not reach this one."""
    host = account.tags.get("host")
    if account.status is None and host != socket.gethostname():
        raise LiveRunError(
            f"{folder}: the run is left alone, it has not said how it ended, and its process on the host {host} can't "
            "be seen from here. Sync it there"
        )


def _store_of(folder: Path, account: Account, environment: Mapping[str, str]) -> str:
    """Returns the URI of the store that a run was meant for; if for none, of that which runs go to from here."""
    if account.uri is None:
        return LocalStore().resolve_uri(environment, Path.cwd())
    if "***" not in account.uri:
        return account.uri
    named = environment.get(URI_VARIABLE, "")
    if without_credentials(named) != account.uri:
        raise ConfigError(
            f"{folder}: the run's store, {account.uri}, wants the password that is not kept with the run. Set "
            f"{URI_VARIABLE} to its whole address, or name another store: --to URI"
        )
    return named


def _servable(folder: Path) -> ServableModel:
    """Returns the model that takes raw pixels; it is made again where the run did not come to keep it."""
    spec = read_preprocessing(folder / PREPROCESSING).spec
    file = folder / artifacts.SERVABLE
    if not file.is_file():
        import_tensorflow()
        artifacts.save_servable(folder, load_model(folder / MODEL, "sync"), spec)
    return ServableModel(file, spec.image_shape, spec.classes)

"""First contact with a tracking store: reach it, create the experiment, give it its view, all under a lock.

Several processes that meet on a store that does not exist yet can leave it broken, so only one at a time gets here; a
process that is killed while it makes one can too, so it is made beside its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from trainyard.errors import TrackingError, TrainyardError, in_one_line
from trainyard.system.environment import user_name
from trainyard.system.files import PARTIAL, whole_file
from trainyard.system.garbage import importing
from trainyard.system.uris import sqlite_path, sqlite_uri, without_credentials
from trainyard.tracking.ui_views import SHARE_KEY, experiment_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK_SECONDS = 120
"""How long first contact waits for another process; a new sqlite store takes a second or two."""

ANSWER_SECONDS = 4.0
"""How long a server may take to answer at all; it is asked twice."""

_UNAUTHENTICATED = "failed with error code 401"
"""In what MLflow says where a server does not know the user."""
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_HTTP_DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


def open_store(uri: str, experiment: str, notes: str) -> tuple[MlflowClient, str]:
    """Reaches the store and makes sure that the experiment is there.

    Args:
        uri: The tracking URI.
        experiment: The experiment's name.
        notes: What the experiment is about, for a reader who opens it; used when it is created.

    Returns:
        A client of the store, and the experiment's id.

    Raises:
        TrackingError: If the store can't be reached, or the experiment was deleted.
    """
    file = sqlite_path(uri)
    with _first_contact(uri), tracking_errors(uri):
        knock(uri)
        if file and (not file.exists() or file.stat().st_size == 0):
            _create_store(file)
        client = connect(uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            location = None if uri.startswith("http") else (artifact_folder(uri) / experiment).absolute().as_uri()
            return client, client.create_experiment(experiment, location, experiment_tags(experiment, notes))
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"{without_credentials(uri)}: the experiment {experiment!r} was deleted there. Restore it "
            f"(mlflow experiments restore --experiment-id {found.experiment_id}), or set tracking.experiment"
        )
    return client, found.experiment_id


def _create_store(file: Path) -> None:
    """Makes a sqlite store that is there with all its tables or not at all.

    MLflow makes them one after the other, and can't open a store again whose making was broken off.
    """
    for rest in ("", "-journal", "-wal", "-shm"):  # of a making that was
        file.with_name(f"{PARTIAL}{file.name}{rest}").unlink(missing_ok=True)
    with whole_file(file) as partial:
        connect(sqlite_uri(partial)).search_experiments(max_results=1)


def knock(uri: str) -> None:
    """Returns as soon as a server answers, whatever it says, or something listens where a database should be.

    Raises:
        Exception: What the network raises, within ten seconds. MLflow and drivers would try for minutes.
    """
    if uri.startswith("http"):
        import requests

        for last in (False, True):
            try:
                requests.head(f"{uri.rstrip('/')}/health", timeout=ANSWER_SECONDS, allow_redirects=False)
            except requests.exceptions.SSLError:
                return  # MLflow may have been told to trust its certificate
            except requests.exceptions.ReadTimeout:
                if last:
                    raise
            else:
                return
    elif sqlite_path(uri) is None:
        import sqlalchemy as sa

        address = sa.make_url(uri)
        if address.host:
            port = address.port or _PORTS[address.get_backend_name()]
            socket.create_connection((address.host, port), timeout=ANSWER_SECONDS).close()


def connect(uri: str) -> MlflowClient:
    """Returns a client of the store. A database that has no tables yet gets them now, so be alone with a fresh one.

    MLflow's and Alembic's lines are kept off the screen (what fails is raised too), MLflow's usage reports at home.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # with the password in it
    if uri.startswith("http"):
        for variable, value in _HTTP_DEFAULTS.items():
            os.environ.setdefault(variable, value)

    with importing("mlflow"):
        from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):  # only now: importing MLflow sets the level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return MlflowClient(uri)


def connect_to_existing(uri: str) -> MlflowClient:
    """Returns a client of a store that somebody wants to read; a sqlite file that is not there is not made.

    Raises:
        TrackingError: If there is no such file.
    """
    if (file := sqlite_path(uri)) and not file.exists():
        raise TrackingError(f"{file}: there are no runs here yet. Go to where they are, or name their store")
    return connect(uri)


@contextlib.contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
    """Turns whatever MLflow raises while it talks to the store into a TrackingError that shows no password."""
    try:
        yield
    except TrainyardError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever MLflow and drivers raise
        if _UNAUTHENTICATED in str(error):
            raise TrackingError(
                f"the tracking store {without_credentials(uri)} wants a user and a password, and refuses those it was "
                "given. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            ) from None
        whole = "".join(traceback.format_exception(error))
        raise TrackingError(
            f"the tracking store {without_credentials(uri)} can't be used: {in_one_line(error, without_credentials)}. "
            "Start it, name another (tracking.uri, MLFLOW_TRACKING_URI), or log nothing (tracking=off)"
        ) from (error if whole == without_credentials(whole) else None)


def training_view_url(address: str, experiment_id: str, key: str = SHARE_KEY) -> str:
    """Returns the link that opens an experiment with its runs as a table, in a view that Trainyard shares.

    Args:
        address: Where the MLflow UI answers, ``http://127.0.0.1:5000``.
        experiment_id: MLflow's id of the experiment.
        key: Of the view: the experiment's own, or that of a sweep, `view.sweep_view_key`.
    """
    view = f"workflowType=machine_learning&viewStateShareKey={key}"
    return f"{address.rstrip('/')}/#/experiments/{experiment_id}/runs?{view}"


@contextlib.contextmanager
def _first_contact(uri: str) -> Iterator[None]:
    file = sqlite_path(uri)
    name = hashlib.sha256(uri.encode()).hexdigest()[:16]
    lock = Path(f"{file}.lock") if file else Path(tempfile.gettempdir()) / f"trainyard-{user_name()}-{name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=LOCK_SECONDS):
            yield
    except Timeout as error:
        raise TrackingError(
            f"{lock}: another process has held the store's lock for {LOCK_SECONDS} seconds. "
            "If none is alive, remove the file"
        ) from error
    except OSError as error:
        raise TrackingError(
            f"{lock}: the store's lock can't be written: {error}. Use tracking.uri or a folder you may write"
        ) from error


def artifact_folder(uri: str) -> Path:
    """Returns where artifacts go when no server keeps them: beside the sqlite file, else in the working directory."""
    file = sqlite_path(uri)
    return (file.parent if file else Path.cwd()) / "mlartifacts"

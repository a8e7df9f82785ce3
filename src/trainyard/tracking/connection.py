"""Connects to tracking stores, and creates a store while holding a lock.

A store can be corrupted if several processes create it at the same time, so a lock lets in one at a time. It can also
be corrupted if the process is killed while it creates the store, so the file is created under another name and renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import sqlite3
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trainyard.errors import TrackingError, TrainyardError
from trainyard.system import (
    PARTIAL_PREFIX,
    atomic_write,
    build_sqlite_uri,
    describe_full_disk,
    find_user_name,
    gc_paused_import,
    get_sqlite_path,
    is_database_uri,
    redact_credentials,
)
from trainyard.tracking.failures import explain_failure, explain_full_disk
from trainyard.tracking.retrying_client import RETRY_SECONDS, RetryingClient
from trainyard.tracking.schema import ANSWER_SECONDS, upgrade_sqlite_file
from trainyard.tracking.stores import ARTIFACTS
from trainyard.tracking.ui_views import SHARE_KEY

LOCK_SECONDS = 120
"""Time limit for getting the lock of a store; creating a SQLite store takes one to two seconds."""

PAGE_SIZE = 1000
"""Number of runs or experiments that one request to MLflow returns at most."""

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the URL may contain a password
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # `RetryingClient` repeats requests
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "40",
}
"""Environment variables of MLflow, unless the user has set them."""

_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


@contextlib.contextmanager
def lock_store(uri: str) -> Iterator[str | None]:
    """Locks a store during the block, after a check that it is reachable; creates a SQLite file that does not exist.

    The lock file is next to the SQLite file, or in the temporary folder.

    Yields:
        A message if the SQLite file was written by an older MLflow and has been upgraded, else None.
    """
    file = get_sqlite_path(uri)
    uri_digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
    lock_name = f"trainyard-{find_user_name()}-{uri_digest}.lock"
    lock = Path(f"{file}.lock") if file else Path(tempfile.gettempdir(), lock_name)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=LOCK_SECONDS), tracking_errors(uri):
            check_reachable(uri)
            if file and (not file.exists() or file.stat().st_size == 0):
                _create_store(file)
            yield upgrade_sqlite_file(file) if file else None
    except Timeout as error:
        raise TrackingError(
            f"{lock}: expected the lock of the tracking store, but another process has been holding it for "
            f"{LOCK_SECONDS} seconds. If no such process is alive, delete the file"
        ) from error
    except OSError as error:
        if problem := describe_full_disk(error, lock):
            raise TrackingError(f"{problem}. Free some space, or set tracking.uri") from error
        raise TrackingError(
            f"{lock}: the lock file of the tracking store can't be written: {error}. Set tracking.uri, or work in a "
            "folder in which you have write permission"
        ) from error


def _create_store(file: Path) -> None:
    """Creates a SQLite store atomically: the file appears only when it has all tables.

    MLflow creates the tables one after the other, and can't open a store in which some of them are missing.
    """
    for suffix in ("", "-journal", "-wal", "-shm"):  # left over if an earlier creation was interrupted
        file.with_name(f"{PARTIAL_PREFIX}{file.name}{suffix}").unlink(missing_ok=True)
    with atomic_write(file) as partial, _syncing_disabled(partial):
        connect(build_sqlite_uri(partial)).search_experiments(max_results=1)


@contextlib.contextmanager
def _syncing_disabled(file: Path) -> Iterator[None]:
    """Lets the connections to a SQLite file that are opened in the block not wait for the disk after each change.

    MLflow creates its tables in a hundred transactions. Until they are complete, the file is worthless.
    """
    from sqlalchemy import Engine, event

    def disable_syncing(connection: Any, _record: object) -> None:  # noqa: ANN401 - of any database driver
        if isinstance(connection, sqlite3.Connection):
            _, _, opened = connection.execute("PRAGMA database_list").fetchone()
            if opened and Path(opened).name == file.name:
                connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", disable_syncing)
    try:
        yield
    finally:
        event.remove(Engine, "connect", disable_syncing)


def check_reachable(uri: str) -> None:
    """Raises if the server does not answer, or if no program listens on the host and port of the database.

    Any HTTP response counts as an answer. SQLite files and the services of MLflow plugins are not checked. The
    exception of the network library is raised within 12 seconds; MLflow and drivers would retry for minutes.
    """
    if uri.startswith("http"):
        import requests

        timeouts = (ANSWER_SECONDS, 2 * ANSWER_SECONDS)  # for the connection and for the answer
        with contextlib.suppress(requests.exceptions.SSLError):  # MLflow may be configured to trust the certificate
            requests.head(f"{uri.rstrip('/')}/health", timeout=timeouts, allow_redirects=False)
    elif is_database_uri(uri) and get_sqlite_path(uri) is None:
        import sqlalchemy as sa

        address = sa.make_url(uri)
        if address.host:
            port = address.port or _PORTS[address.get_backend_name()]
            socket.create_connection((address.host, port), timeout=ANSWER_SECONDS).close()


def connect(uri: str, retry_seconds: float = RETRY_SECONDS) -> RetryingClient:
    """Returns a client of the store. Use it in a block of `tracking_errors`, which contains MLflow's settings.

    The client creates missing tables in a database: for a new database, hold the lock (see `lock_store`).
    """
    from mlflow import MlflowClient

    if "%" in uri:  # for "sqlite:", MLflow would create a folder with the name that is in the URI, without decoding it
        uri = uri.replace("sqlite:///", "sqlite+pysqlite:///", 1)
    return RetryingClient(MlflowClient(uri), retry_seconds)


@contextlib.contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
    """Converts exceptions of MLflow and database drivers in the block to a TrackingError without passwords.

    In the block, MLflow does not log (errors are raised anyway), show progress, or repeat requests itself. At the end,
    the environment variables and the levels of the loggers are as before.
    """
    with _mlflow_settings():
        try:
            yield
        except TrainyardError:
            raise
        except Exception as error:  # noqa: BLE001 - MLflow and database drivers raise many types
            full_text = "".join(traceback.format_exception(error))
            cause = error if full_text == redact_credentials(full_text) else None
            file = get_sqlite_path(uri)
            reason = explain_full_disk(error, [file, file.parent / ARTIFACTS] if file else []) or explain_failure(error)
            raise TrackingError(f"the tracking store {redact_credentials(uri)} {reason}") from cause


@contextlib.contextmanager
def _mlflow_settings() -> Iterator[None]:
    """Sets MLflow's environment variables that the user has not set, and the levels of its loggers, for the block."""
    values = {name: os.environ.get(name) for name in _SETTINGS}
    os.environ.update({name: setting for name, setting in _SETTINGS.items() if values[name] is None})
    try:
        with gc_paused_import("mlflow"):
            import mlflow  # noqa: F401 - sets the level of its logger
        loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            with warnings.catch_warnings():
                if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS"):  # else each request would warn of the user's choice
                    warnings.filterwarnings("ignore", "Unverified HTTPS request")
                yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
    finally:
        for name, value in values.items():
            if value is None:
                os.environ.pop(name, None)


def build_training_view_url(address: str, experiment_id: str, key: str = SHARE_KEY) -> str:
    """Returns the link to an experiment in the MLflow UI, with the table of runs in one of Trainyard's shared views.

    `key` is the key of the view: that of the experiment, or that of a sweep (`ui_views.build_sweep_view_key`).
    """
    view = f"workflowType=machine_learning&viewStateShareKey={key}"
    return f"{address.rstrip('/')}/#/experiments/{experiment_id}/runs?{view}"


def iterate_pages(search: Callable[..., Any], *arguments: object, **settings: object) -> Iterator[Any]:
    """Yields all results of one of MLflow's search functions, requested page by page."""
    token: str | None = None
    while True:
        page = search(*arguments, max_results=PAGE_SIZE, page_token=token, **settings)
        yield from page
        token = page.token
        if not token:
            return

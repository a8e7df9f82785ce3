"""The schema of a tracking database: which version it has, and its upgrade after a backup.

MLflow upgrades the schema of a database with missing tables as soon as it opens it, without a backup or a message. Then
older versions of MLflow can't open it any more. This module reads the version without MLflow's client.
"""

from __future__ import annotations

import contextlib
import functools
import shlex
import sqlite3
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trainyard.errors import ConfigError, TrackingError
from trainyard.system import build_sqlite_uri, get_sqlite_path, redact_credentials
from trainyard.tracking.stores import URI_VARIABLE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

ANSWER_SECONDS = 4.0
"""Time limit in seconds for an answer of a database or server; the answer of an HTTP server may take twice as long."""

_LOCK_SECONDS = 20.0

SchemaState = Literal["empty", "current", "older", "newer"]
"""A database has no tables yet, or the schema of the installed MLflow, or that of an older or newer version."""


def open_database(uri: str, *, read_only: bool = False) -> Engine:
    """Returns an SQLAlchemy engine of a database, without a pool.

    A SQLite file is not created. It may be locked for some time, and an interrupted write is rolled back, unless it is
    opened with `read_only`.
    """
    import sqlalchemy as sa

    if file := get_sqlite_path(uri):
        creator = (
            functools.partial(connect_read_only, file) if read_only else functools.partial(_connect_existing, file)
        )
        return sa.create_engine("sqlite://", creator=creator, poolclass=sa.NullPool)
    return sa.create_engine(uri, poolclass=sa.NullPool)


def connect_read_only(file: Path) -> sqlite3.Connection:
    """Opens a SQLite file in read-only mode."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=ANSWER_SECONDS)


def _connect_existing(file: Path) -> sqlite3.Connection:
    """Opens a SQLite file that exists, and waits while it is locked as long as MLflow does."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=_LOCK_SECONDS)


def read_schema_state(connection: Connection) -> SchemaState:
    """Returns the state of the schema of a database."""
    import sqlalchemy as sa

    if not sa.inspect(connection).has_table("alembic_version"):
        return "empty"
    revision = connection.scalar(sa.select(sa.column("version_num")).select_from(sa.table("alembic_version")))
    known, latest = load_schema_revisions()
    if revision == latest:
        return "current"
    return "older" if revision is None or revision in known else "newer"


@functools.cache
def load_schema_revisions() -> tuple[frozenset[str], str | None]:
    """Returns the schema revisions of the installed MLflow, and the latest of them, which it requires."""
    import mlflow
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    return frozenset(entry.revision for entry in script.walk_revisions()), script.get_current_head()


def check_schema(uri: str) -> None:
    """Checks that a database does not have the schema of another version of MLflow, which would be changed or refused.

    Raises:
        ConfigError: If it has. Nothing was changed.
    """
    with contextlib.closing(open_database(uri).connect()) as connection:
        state = read_schema_state(connection)
    name, installed = redact_credentials(uri), version("mlflow")
    if state == "newer":
        raise ConfigError(
            f"{name}: expected a database of MLflow {installed} or older, got one of a newer version. Install the "
            "version of MLflow that wrote it"
        )
    if state == "older":
        raise ConfigError(
            f"{name}: expected a database of MLflow {installed}, got one of an older version. It was not changed, "
            f"because older versions can't open it after an upgrade. To upgrade it, {describe_upgrade(uri)}"
        )


def describe_upgrade(uri: str) -> str:
    """Returns the commands that back up a database and upgrade its schema, as they can be copied to a shell."""
    file = get_sqlite_path(uri)
    backup = f"cp {shlex.quote(str(file))} {shlex.quote(str(_find_backup_path(file)))} && " if file else ""
    address = f'"${URI_VARIABLE}"' if redact_credentials(uri) != uri else shlex.quote(uri)
    command = f"{backup}mlflow db upgrade {address}"
    return f"run: {command}" if file else f"make a backup, then run: {command}"


def upgrade_sqlite_file(file: Path) -> str | None:
    """Upgrades the schema of a SQLite file that an older MLflow wrote, after copying the file. Hold the store's lock.

    Returns:
        A message with the path of the copy; None if the schema is current.

    Raises:
        TrackingError: If the upgrade failed. The file is unchanged.
    """
    uri = build_sqlite_uri(file)
    with contextlib.closing(open_database(uri).connect()) as connection:
        if read_schema_state(connection) != "older":
            return None
    backup = _find_backup_path(file)
    with contextlib.closing(connect_read_only(file)) as source, contextlib.closing(sqlite3.connect(backup)) as copy:
        source.backup(copy)
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", uri]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        backup.replace(file)
        raise TrackingError(f"{file}: the schema can't be upgraded to MLflow {version('mlflow')}: {done.stderr[-500:]}")
    return (
        f"{file} was written by an older MLflow and has been upgraded to {version('mlflow')}. Older versions can't "
        f"open it any more; a copy of the old file is {backup}"
    )


def _find_backup_path(file: Path) -> Path:
    """Returns a new path for the copy of a SQLite file: ``mlflow.db.before-3.17.2``, with a number if it exists."""
    path, number = file.with_name(f"{file.name}.before-{version('mlflow')}"), 2
    while path.exists():
        path, number = file.with_name(f"{file.name}.before-{version('mlflow')}-{number}"), number + 1
    return path

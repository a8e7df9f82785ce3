"""Examines the state of a tracking store without changing it.

When MLflow opens a database with missing tables, it migrates the schema at once, without a backup or a message. This
module therefore reads databases directly, SQLite files in read-only mode; it uses MLflow's client only for servers.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trainyard.errors import TrackingError, summarize_error
from trainyard.system import redact_credentials
from trainyard.tracking.connection import check_reachable, iterate_pages
from trainyard.tracking.run_record import RunRecord, build_run_record
from trainyard.tracking.schema import ANSWER_SECONDS, connect_read_only, open_database, read_schema_state
from trainyard.tracking.tracking_store import TrackingStore

if TYPE_CHECKING:
    from sqlalchemy import Connection

CHECK_SECONDS = 2.0
"""Time limit in seconds of the search for damage in a SQLite file; a file of several gigabytes would take minutes."""

_PROGRESS_STEPS = 10_000
"""Number of SQLite instructions between two checks of the time limit."""

StoreState = Literal["sound", "empty", "older", "newer", "interrupted", "damaged"]


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """The state of a store that is reachable. The counts are filled in only if it is "sound"."""

    state: StoreState
    """Databases: "empty" (no tables yet), "older" or "newer" (schema of another version than the installed MLflow's).
    SQLite files: "interrupted" (an interrupted write must be rolled back), "damaged"."""
    damage: str = ""
    """SQLite's description of the damage."""
    searched: bool = True
    """False if the search for damage in a SQLite file ran out of time."""
    experiments: int = 0
    runs: int | None = None
    """None for a server, which would have to list all of them."""
    running: tuple[RunRecord, ...] = ()
    """The runs with status RUNNING, with their tags."""


def examine_store(store: TrackingStore) -> StoreHealth:
    """Returns the state of a store. A SQLite file must exist.

    Raises a TrackingError if the store does not answer: one line with the reason, without passwords. For a server, it
    also contains the URI and what to do.
    """
    if store.is_server:
        with store.translate_errors():
            return _examine_server(store)
    try:
        return _examine_database(store)
    except Exception as error:  # noqa: BLE001 - MLflow and database drivers raise many types
        cause = getattr(error, "orig", None) or error  # SQLAlchemy wraps the driver's exception
        raise TrackingError(summarize_error(cause, redact_credentials)) from None  # its text may contain a password


def _examine_server(store: TrackingStore) -> StoreHealth:
    """Returns the health of a store behind a tracking server, always "sound"; raises if the server fails."""
    check_reachable(store.uri)
    experiments = len(list(iterate_pages(store.client.search_experiments)))
    running = [build_run_record(run, "", store) for run in store.iterate_runs("attributes.status = 'RUNNING'")]
    return StoreHealth("sound", experiments=experiments, running=tuple(running))


def _examine_database(store: TrackingStore) -> StoreHealth:
    """Returns the health of a SQLite file or another database, read without MLflow.

    Only a SQLite file is searched for damage. Experiments and runs are counted only if the schema is up to date.
    """
    import sqlalchemy as sa

    searched = True
    if file := store.sqlite_file:
        try:
            damage, searched = _search_for_damage(file)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
            return StoreHealth("interrupted")
        if damage:
            return StoreHealth("damaged", damage=damage)
    else:
        check_reachable(store.uri)
    with contextlib.closing(open_database(store.uri, read_only=True).connect()) as connection:
        state = read_schema_state(connection)
        if state != "current":
            return StoreHealth(state)
        active = sa.select(sa.func.count()).where(sa.column("lifecycle_stage") == "active")
        experiments, runs = (connection.scalar(active.select_from(sa.table(name))) for name in ("experiments", "runs"))
        return StoreHealth("sound", "", searched, experiments or 0, runs, _find_running_runs(connection))


def roll_back_interrupted_write(file: Path) -> None:
    """Rolls back an interrupted write in a SQLite file, as the next writer would do."""
    with contextlib.closing(sqlite3.connect(file, timeout=ANSWER_SECONDS)) as connection:
        connection.execute("PRAGMA schema_version").fetchone()


def _search_for_damage(file: Path) -> tuple[str, bool]:
    """Returns a description of the damage in a SQLite file ("" if none was found), and whether the search completed."""
    deadline = time.monotonic() + CHECK_SECONDS
    with contextlib.closing(connect_read_only(file)) as connection:
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _PROGRESS_STEPS)
        try:
            (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                return "", False
            if error.sqlite_errorcode in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                return str(error), True
            raise
    return "" if result == "ok" else " ".join(result.split()), True


def _find_running_runs(connection: Connection) -> tuple[RunRecord, ...]:
    """Returns the RUNNING runs of a database, with their tags."""
    import sqlalchemy as sa

    runs = sa.table("runs", *map(sa.column, ("run_uuid", "status", "lifecycle_stage")))
    tags = sa.table("tags", *map(sa.column, ("run_uuid", "key", "value")))
    query = (
        sa.select(runs.c.run_uuid, tags.c.key, tags.c.value)
        .select_from(runs.outerjoin(tags, tags.c.run_uuid == runs.c.run_uuid))
        .where(runs.c.status == "RUNNING", runs.c.lifecycle_stage == "active")
    )
    tags_by_run: dict[str, dict[str, str]] = {}
    for run_id, key, value in connection.execute(query):
        tags_by_run.setdefault(run_id, {}).update({key: value} if key else {})
    return tuple(RunRecord(run_id=run_id, status="RUNNING", tags=run_tags) for run_id, run_tags in tags_by_run.items())

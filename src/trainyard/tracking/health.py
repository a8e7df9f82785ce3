"""What state a tracking store is in, asked without changing it.

MLflow brings a database that lacks a table up to date as soon as it opens it, without a copy and without a word. So
databases are read in its place here, a sqlite file in a way that can't write; only a server is asked through MLflow.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trainyard.errors import TrackingError, in_one_line
from trainyard.system.uris import sqlite_path, without_credentials
from trainyard.tracking.connection import ANSWER_SECONDS, connect, knock
from trainyard.tracking.runs import PAGE, LoggedRun, all_pages

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

CHECK_SECONDS = 2.0
"""How long a sqlite file is searched for damage; a file of some gigabytes would take minutes."""
ORIGIN_TAGS = ("trainyard.version", "host", "pid", "started")
"""The tags that tell that a run is one of Trainyard's, and which process it ran in."""

_STEPS = 10_000
"""After how many instructions sqlite asks whether to go on."""

State = Literal["sound", "empty", "older", "newer", "interrupted", "damaged"]


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """The state of a store that answers.

    Attributes:
        state: Of a database, "empty" where it has no tables yet, "older" or "newer" where the installed MLflow wants
            others; of a sqlite file, "interrupted" where a write was broken off that has yet to be taken back. Only
            what is "sound" has been counted.
        damage: What sqlite found to be wrong with a damaged file.
        searched: False of a sqlite file that took too long to search for damage.
        experiments: How many there are.
        runs: How many there are; None of a server, which would have to list them all.
        running: The runs that say RUNNING, with at least their `ORIGIN_TAGS`.
    """

    state: State
    damage: str = ""
    searched: bool = True
    experiments: int = 0
    runs: int | None = None
    running: tuple[LoggedRun, ...] = ()


def examine_store(uri: str) -> StoreHealth:
    """Returns the state of a store.

    Args:
        uri: The tracking URI. A sqlite file exists already.

    Raises:
        TrackingError: If it does not answer; says why in a line that shows no password.
    """
    try:
        return _examine_server(uri) if uri.startswith("http") else _examine_database(uri)
    except Exception as error:  # noqa: BLE001 - whatever MLflow and drivers raise
        cause = getattr(error, "orig", None) or error  # SQLAlchemy wraps what the driver raised
        raise TrackingError(in_one_line(cause, without_credentials)) from None  # whose text may hold a password


def _examine_server(uri: str) -> StoreHealth:
    knock(uri)
    client = connect(uri)
    experiments = [experiment.experiment_id for experiment in all_pages(client.search_experiments)]
    running: list[LoggedRun] = []
    for start in range(0, len(experiments), PAGE):
        some = experiments[start : start + PAGE]
        found = all_pages(client.search_runs, some, "attributes.status = 'RUNNING'")
        running += [LoggedRun(run.info.run_id, run.info.status, dict(run.data.tags)) for run in found]
    return StoreHealth("sound", experiments=len(experiments), running=tuple(running))


def _examine_database(uri: str) -> StoreHealth:
    import sqlalchemy as sa

    searched = True
    if file := sqlite_path(uri):
        try:
            damage, searched = _search_for_damage(file)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
            return StoreHealth("interrupted")
        if damage:
            return StoreHealth("damaged", damage=damage)
    with contextlib.closing(_engine(uri).connect()) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return StoreHealth("empty")
        revision = connection.scalar(sa.select(sa.column("version_num")).select_from(sa.table("alembic_version")))
        known, latest = _schema_revisions()
        if revision != latest:
            return StoreHealth("newer" if revision and revision not in known else "older")
        experiments, runs = (
            connection.scalar(
                sa.select(sa.func.count()).select_from(sa.table(name)).where(sa.column("lifecycle_stage") == "active")
            )
            for name in ("experiments", "runs")
        )
        return StoreHealth(
            "sound", searched=searched, experiments=experiments or 0, runs=runs, running=_running_in(connection)
        )


def take_back_interrupted_write(uri: str) -> None:
    """Has sqlite restore a file to the state before a write that was broken off, as whoever writes next would."""
    if file := sqlite_path(uri):
        with contextlib.closing(sqlite3.connect(file, timeout=ANSWER_SECONDS)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()


def _search_for_damage(file: Path) -> tuple[str, bool]:
    """Returns what is wrong with a sqlite file, or an empty text, and whether there was time for the whole of it."""
    deadline = time.monotonic() + CHECK_SECONDS
    with contextlib.closing(_read_only(file)) as connection:
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        try:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                return "", False
            if error.sqlite_errorcode in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                return str(error), True
            raise
    return "" if found == "ok" else " ".join(found.split()), True


def _read_only(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=ANSWER_SECONDS)


def _engine(uri: str) -> Engine:
    """Returns an engine that only reads, of a sqlite file; of another database where something listens."""
    import sqlalchemy as sa

    if file := sqlite_path(uri):
        return sa.create_engine("sqlite://", creator=lambda: _read_only(file), poolclass=sa.NullPool)
    knock(uri)
    return sa.create_engine(uri, poolclass=sa.NullPool)


def _schema_revisions() -> tuple[set[str], str]:
    """Returns the revisions of the schema that the installed MLflow knows, and the one that it wants.

    They are read from its migrations as text: to import these takes four seconds.
    """
    found = importlib.util.find_spec("mlflow")
    if found is None or not found.submodule_search_locations:
        raise TrackingError("MLflow is not installed")
    folder = Path(found.submodule_search_locations[0], "store", "db_migrations", "versions")
    migrations = "\n".join(path.read_text() for path in folder.glob("*.py"))
    known, replaced = (
        set(re.findall(rf"""^{name}\b.*?=\s*["'](\w+)["']""", migrations, re.MULTILINE))
        for name in ("revision", "down_revision")
    )
    (latest,) = known - replaced
    return known, latest


def _running_in(connection: Connection) -> tuple[LoggedRun, ...]:
    """Returns the runs of a database that say RUNNING, with those of their `ORIGIN_TAGS` that they have."""
    import sqlalchemy as sa

    runs = sa.table("runs", *map(sa.column, ("run_uuid", "status", "lifecycle_stage")))
    tags = sa.table("tags", *map(sa.column, ("run_uuid", "key", "value")))
    told = sa.and_(tags.c.run_uuid == runs.c.run_uuid, tags.c.key.in_(ORIGIN_TAGS))
    query = (
        sa.select(runs.c.run_uuid, tags.c.key, tags.c.value)
        .select_from(runs.outerjoin(tags, told))
        .where(runs.c.status == "RUNNING", runs.c.lifecycle_stage == "active")
    )
    found: dict[str, dict[str, str]] = {}
    for run_id, key, value in connection.execute(query):
        found.setdefault(run_id, {}).update({key: value} if key else {})
    return tuple(LoggedRun(run_id, "RUNNING", of_run) for run_id, of_run in found.items())

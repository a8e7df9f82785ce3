"""Checks the tracking store to which runs in the working directory are logged, and finds orphaned runs in it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from trainyard.doctor.finding import FIX_COMMAND, Finding, note, ok, wrong
from trainyard.errors import ConfigError, TrackingError
from trainyard.reporting import format_count
from trainyard.system import get_sqlite_path, redact_credentials
from trainyard.tracking import (
    PROCESS_TAGS,
    URI_VARIABLE,
    RunRecord,
    StoreHealth,
    TrackingStore,
    examine_store,
    roll_back_interrupted_write,
)

_MAX_LISTED_RUNS = 5


def check_store() -> Iterator[Finding]:
    """Checks the state of the store, and looks for orphaned runs in it. Does not create a missing store."""
    try:
        uri = TrackingStore.default().uri
    except ConfigError as error:
        yield wrong("store", str(error), f"set {URI_VARIABLE} to a valid URI, or unset it")
        return
    file = get_sqlite_path(uri)
    if file and not file.exists():
        yield ok("store", f"the first run will create {file}")
        return
    location = str(file or redact_credentials(uri))
    try:
        health = examine_store(uri)
    except TrackingError as error:
        remedy = (
            f"check your read permission, and which process uses the file: fuser -v {shlex.quote(str(file))}"
            if file
            else f"start the server, specify another store ({URI_VARIABLE}, tracking.uri), or disable it (tracking=off)"
        )
        yield wrong("store", f"{location} can't be used: {error}", remedy)
        return
    if health.state == "sound":
        yield _describe_sound_store(location, file, health)
        yield from _check_runs(uri, health.running)
    else:
        yield _describe_unusable_store(uri, location, health)


def _describe_sound_store(location: str, file: Path | None, health: StoreHealth) -> Finding:
    """Returns the finding for an undamaged store: its size, and whether its file is read-only or too large to check."""
    size = f", {file.stat().st_size / 1e6:,.1f} MB" if file else ""
    runs = f"{format_count(health.runs, 'run')} in " if health.runs is not None else ""
    message = f"{location}: {runs}{format_count(health.experiments, 'experiment')}{size}"
    if file and not os.access(file, os.W_OK):
        return wrong("store", f"{message}; the file is not writable", f"chmod u+w {shlex.quote(str(file))}")
    if file and not health.searched:
        check = f"sqlite3 {shlex.quote(str(file))} 'PRAGMA quick_check'"
        return note("store", f"{message}; the file is too large to search it for damage here", check)
    return ok("store", message)


def _describe_unusable_store(uri: str, location: str, health: StoreHealth) -> Finding:
    """Returns the finding for a store that is reachable, but not in the state "sound"."""
    file = get_sqlite_path(uri)
    path = shlex.quote(str(file))
    if health.state == "empty":
        return ok("store", f"{location} has no tables yet; the first run creates them")
    if health.state == "interrupted":
        message = f"{location}: a write was interrupted, and must be rolled back before the store can be checked"
        return note("store", message, f"{FIX_COMMAND} rolls it back", partial(_roll_back_write, uri))
    if health.state == "damaged":
        command = f"mv {path} {path}.damaged && sqlite3 {path}.damaged .recover | sqlite3 {path}"
        return wrong("store", f"{location} is damaged: {health.damage}", f"recover the readable data: {command}")
    if health.state == "newer":
        message = f"{location} was written by a newer MLflow than is installed"
        return wrong("store", message, "pip install --upgrade mlflow")
    copy = f"cp {path} {path}.bak && " if file else "make a backup, then "
    address = f'"${URI_VARIABLE}"' if redact_credentials(uri) != uri else shlex.quote(uri)
    return wrong("store", f"{location} was written by an older MLflow", f"{copy}mlflow db upgrade {address}")


def _check_runs(uri: str, running: Sequence[RunRecord]) -> Iterator[Finding]:
    """Groups the RUNNING runs by the state of their processes, and yields a finding for each group."""
    trainyard_runs = [run for run in running if run.tags.keys() >= set(PROCESS_TAGS)]
    orphans = [run for run in trainyard_runs if run.is_orphan]
    remote = [run for run in trainyard_runs if not run.is_on_this_host]
    alive = [run for run in trainyard_runs if run.is_on_this_host and not run.is_orphan]
    if orphans:
        message = f"{format_count(len(orphans), 'run')} RUNNING without a live process: {_format_runs(orphans, 'pid')}"
        yield wrong("runs", message, f"{FIX_COMMAND} marks such runs as KILLED", partial(_mark_killed, uri, orphans))
    if remote:
        message = f"{format_count(len(remote), 'run')} RUNNING on another host: {_format_runs(remote, 'host')}"
        yield note("runs", message, "to check their processes, run trainyard doctor on that host")
    if other_count := len(running) - len(trainyard_runs):
        message = f"{format_count(other_count, 'run')} RUNNING that Trainyard did not start"
        yield note("runs", message, "see trainyard ui")
    if alive:
        yield ok("runs", f"{format_count(len(alive), 'run')} in progress: {_format_runs(alive, 'pid')}")
    if not running:
        yield ok("runs", "no run has the status RUNNING")


def _format_runs(runs: Sequence[RunRecord], tag: str) -> str:
    """Returns the IDs of the first runs, each with the value of a tag, and the number of further runs."""
    suffix = f" and {len(runs) - _MAX_LISTED_RUNS} more" if len(runs) > _MAX_LISTED_RUNS else ""
    return ", ".join(f"{run.run_id} ({tag} {run.tags[tag]})" for run in runs[:_MAX_LISTED_RUNS]) + suffix


def _roll_back_write(uri: str) -> Iterator[str]:
    """Rolls back an interrupted write to the store, and yields a line about it."""
    roll_back_interrupted_write(uri)
    yield f"{redact_credentials(uri)}: the interrupted write was rolled back"


def _mark_killed(uri: str, orphans: Sequence[RunRecord]) -> Iterator[str]:
    """Marks orphaned runs as KILLED, and yields a line for each run that was marked."""
    store = TrackingStore(uri)
    for run in orphans:
        if run.run_id and store.load_run(run.run_id).is_orphan:  # the run may have ended in the meantime
            store.mark_killed(run.run_id)
            yield f"run {run.run_id} is KILLED now"

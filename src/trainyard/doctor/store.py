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
from trainyard.system import MIGRATE_FILES
from trainyard.tracking import (
    URI_VARIABLE,
    RunRecord,
    StoreHealth,
    TrackingStore,
    describe_upgrade,
    examine_store,
    names,
    roll_back_interrupted_write,
)

_MAX_LISTED_RUNS = 5
_PROCESS_TAGS = {names.VERSION, names.HOST, names.PID, names.STARTED}
"""Tags of a run that Trainyard started; they identify the process of the run."""


def check_store() -> Iterator[Finding]:
    """Checks the state of the store, and looks for orphaned runs in it. Does not create a missing store."""
    try:
        store = TrackingStore.default()
    except ConfigError as error:
        yield wrong("store", str(error), f"set {URI_VARIABLE} to a valid URI, or unset it")
        return
    file = store.sqlite_file
    if file and not file.exists():
        other_runs = store.find_file_store()
        finding = note("store", other_runs, MIGRATE_FILES) if other_runs else None
        yield finding or ok("store", f"the first run will create {file}")
        return
    location, path = str(file or store.name), shlex.quote(str(file))
    try:
        health = examine_store(store)
    except TrackingError as error:
        yield _describe_failure(store, location, error)
        return
    match health.state:
        case "sound":
            yield _describe_sound_store(location, file, health)
            yield from _check_runs(store, health.running)
        case "empty":
            yield ok("store", f"{location} has no tables yet; the first run creates them")
        case "interrupted":
            message = f"{location}: a write was interrupted, and must be rolled back before the store can be checked"
            yield note("store", message, f"{FIX_COMMAND} rolls it back", partial(_roll_back_write, store))
        case "damaged":
            command = f"mv {path} {path}.damaged && sqlite3 {path}.damaged .recover | sqlite3 {path}"
            yield wrong("store", f"{location} is damaged: {health.damage}", f"recover the readable data: {command}")
        case "newer":
            message = f"{location} was written by a newer MLflow than is installed"
            yield wrong("store", message, "pip install --upgrade mlflow")
        case "older":
            yield wrong("store", f"{location} was written by an older MLflow", describe_upgrade(store.uri))


def _describe_failure(store: TrackingStore, location: str, error: TrackingError) -> Finding:
    """Returns the finding for a store that can't be used. The error of a server contains its URI and what to do."""
    if store.is_server:
        return wrong("store", str(error), f"to log to a local file instead: unset {URI_VARIABLE}")
    if store.sqlite_file:
        path = shlex.quote(str(store.sqlite_file))
        remedy = f"check your read permission, and which process uses the file: fuser -v {path}"
    else:
        remedy = f"start the server, specify another store ({URI_VARIABLE}, tracking.uri), or disable it (tracking=off)"
    return wrong("store", f"{location} can't be used: {error}", remedy)


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


def _check_runs(store: TrackingStore, running: Sequence[RunRecord]) -> Iterator[Finding]:
    """Groups the RUNNING runs by the state of their processes, and yields a finding for each group."""
    trainyard_runs = [run for run in running if run.tags.keys() >= _PROCESS_TAGS]
    if orphans := [run for run in trainyard_runs if run.is_orphan]:
        message = _format_runs(orphans, "RUNNING without a live process", "pid")
        yield wrong("runs", message, f"{FIX_COMMAND} marks such runs as KILLED", partial(_mark_killed, store, orphans))
    if remote := [run for run in trainyard_runs if not run.is_on_this_host]:
        remedy = "to check their processes, run trainyard doctor on that host"
        yield note("runs", _format_runs(remote, "RUNNING on another host", "host"), remedy)
    if other_count := len(running) - len(trainyard_runs):
        message = f"{format_count(other_count, 'run')} RUNNING that Trainyard did not start"
        yield note("runs", message, "see trainyard ui")
    if alive := [run for run in trainyard_runs if run.is_alive]:
        yield ok("runs", _format_runs(alive, "in progress", "pid"))
    if not running:
        yield ok("runs", "no run has the status RUNNING")


def _format_runs(runs: Sequence[RunRecord], state: str, tag: str) -> str:
    """Returns the number of runs and their state, then the IDs of the first runs, each with the value of a tag."""
    suffix = f" and {len(runs) - _MAX_LISTED_RUNS} more" if len(runs) > _MAX_LISTED_RUNS else ""
    listed = ", ".join(f"{run.run_id} ({tag} {run.tags[tag]})" for run in runs[:_MAX_LISTED_RUNS])
    return f"{format_count(len(runs), 'run')} {state}: {listed}{suffix}"


def _roll_back_write(store: TrackingStore) -> Iterator[str]:
    """Rolls back an interrupted write to the store, and yields a line about it."""
    if store.sqlite_file:
        roll_back_interrupted_write(store.sqlite_file)
        yield f"{store.name}: the interrupted write was rolled back"


def _mark_killed(store: TrackingStore, orphans: Sequence[RunRecord]) -> Iterator[str]:
    """Marks orphaned runs as KILLED, and yields a line for each run that was marked."""
    for run in orphans:
        if run.run_id and store.load_run(run.run_id).is_orphan:  # the run may have ended in the meantime
            store.mark_killed(run.run_id)
            yield f"run {run.run_id} is KILLED now"

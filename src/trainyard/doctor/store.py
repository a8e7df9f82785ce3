"""The tracking store that runs from here go to, and the runs in it that nobody will ever close."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from trainyard.doctor.finding import FIX, Finding, count, note, ok, wrong
from trainyard.errors import ConfigError, TrackingError
from trainyard.runs.resume import close_orphan
from trainyard.system.uris import sqlite_path, without_credentials
from trainyard.tracking import LoggedRun
from trainyard.tracking.health import ORIGIN_TAGS, StoreHealth, examine_store, take_back_interrupted_write
from trainyard.tracking.runs import is_here, is_orphan
from trainyard.tracking.stores import URI_VARIABLE, LocalStore

_SHOWN = 5


def check_store() -> Iterator[Finding]:
    """Asks the store how it is, and looks for orphans among its runs. A store that is not there is not made."""
    try:
        uri = LocalStore().resolve_uri(os.environ, Path.cwd())
    except ConfigError as error:
        yield wrong("store", str(error), f"set {URI_VARIABLE} to one of these, or unset it")
        return
    file = sqlite_path(uri)
    if file and not file.exists():
        yield ok("store", f"{file} will be made with the first run")
        return
    shown = str(file or without_credentials(uri))
    try:
        health = examine_store(uri)
    except TrackingError as error:
        yield wrong("store", f"{shown} can't be used: {error}", _how_to_reach(file))
        return
    if health.state == "sound":
        yield _describe(shown, file, health)
        yield from _check_runs(uri, health.running)
    else:
        yield _unfit(uri, shown, health)


def _describe(shown: str, file: Path | None, health: StoreHealth) -> Finding:
    size = f", {file.stat().st_size / 1e6:,.1f} MB" if file else ""
    runs = f"{count(health.runs, 'run')} in " if health.runs is not None else ""
    found = f"{shown}: {runs}{count(health.experiments, 'experiment')}{size}"
    if file and not os.access(file, os.W_OK):
        return wrong("store", f"{found}; it can't be written", f"chmod u+w {shlex.quote(str(file))}")
    if file and not health.searched:
        check = f"sqlite3 {shlex.quote(str(file))} 'PRAGMA quick_check'"
        return note("store", f"{found}; too large to be searched for damage here", check)
    return ok("store", found)


def _unfit(uri: str, shown: str, health: StoreHealth) -> Finding:
    """Returns what is the matter with a store that answers and can't be used as it is."""
    file = sqlite_path(uri)
    path = shlex.quote(str(file))
    if health.state == "empty":
        return ok("store", f"{shown} has no tables yet; the first run makes them")
    if health.state == "interrupted":
        found = f"{shown}: a write was broken off, which the next write takes back; till then nothing can be said of it"
        return note("store", found, f"{FIX} takes it back", partial(_take_back, uri))
    if health.state == "damaged":
        save = f"mv {path} {path}.damaged && sqlite3 {path}.damaged .recover | sqlite3 {path}"
        return wrong("store", f"{shown} is damaged: {health.damage}", f"save what can be read: {save}")
    if health.state == "newer":
        return wrong(
            "store", f"{shown} was written by a newer MLflow than is installed", "pip install --upgrade mlflow"
        )
    copy = f"cp {path} {path}.bak && " if file else "make a copy, then "
    address = f'"${URI_VARIABLE}"' if without_credentials(uri) != uri else shlex.quote(uri)
    return wrong("store", f"{shown} was written by an older MLflow", f"{copy}mlflow db upgrade {address}")


def _how_to_reach(file: Path | None) -> str:
    if file:
        return f"see which process holds it, and whether you may read it: fuser -v {shlex.quote(str(file))}"
    return f"start it, or name another: {URI_VARIABLE}, tracking.uri. Without one: tracking=off"


def _check_runs(uri: str, running: Sequence[LoggedRun]) -> Iterator[Finding]:
    """Sorts the runs that say RUNNING by what is known of their processes."""
    known = [run for run in running if run.tags.keys() >= set(ORIGIN_TAGS)]
    orphans = [run for run in known if is_orphan(run)]
    elsewhere = [run for run in known if not is_here(run)]
    alive = [run for run in known if is_here(run) and not is_orphan(run)]
    if orphans:
        found = f"{count(len(orphans), 'run')} left RUNNING by a process that is gone: {_names(orphans, 'pid')}"
        yield wrong("runs", found, f"{FIX} marks as KILLED what is left so", partial(_close, uri, orphans))
    if elsewhere:
        found = f"{count(len(elsewhere), 'run')} RUNNING on another host: {_names(elsewhere, 'host')}"
        yield note("runs", found, "trainyard doctor tells there whether that is so")
    if strangers := len(running) - len(known):
        yield note("runs", f"{count(strangers, 'run')} RUNNING that Trainyard did not start", "look: trainyard ui")
    if alive:
        yield ok("runs", f"{count(len(alive), 'run')} going on: {_names(alive, 'pid')}")
    if not running:
        yield ok("runs", "none is left RUNNING")


def _names(runs: Sequence[LoggedRun], tag: str) -> str:
    more = f" and {len(runs) - _SHOWN} more" if len(runs) > _SHOWN else ""
    return ", ".join(f"{run.run_id} ({tag} {run.tags[tag]})" for run in runs[:_SHOWN]) + more


def _take_back(uri: str) -> Iterator[str]:
    take_back_interrupted_write(uri)
    yield f"{without_credentials(uri)}: the write that was broken off is taken back"


def _close(uri: str, orphans: Sequence[LoggedRun]) -> Iterator[str]:
    for run in orphans:
        if close_orphan(run.run_id, uri):  # looks once more: it may have ended by itself
            yield f"run {run.run_id} is KILLED now"

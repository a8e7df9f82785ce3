"""``trainyard sweep --status``: prints the status of sweeps, read from their ledgers, also while they run."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console

from trainyard.cli.sweep.tables import fits, print_failures, print_table, print_text
from trainyard.cli.sweep.trial_table import TrialTable, build_plain_columns
from trainyard.cli.terminal import print_error
from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation import Trial
from trainyard.reporting import format_metric
from trainyard.sweep import (
    NOT_DRAWN,
    SWEEPS,
    LatestEpoch,
    Ledger,
    Session,
    SweepFolder,
    SweepProgress,
    TrialState,
    TrialStatus,
    build_status,
    find_sweep,
    is_locked,
    list_sweeps,
    load_epochs,
)
from trainyard.system import is_process_alive

_MAX_TRIALS = 40
"""Maximum number of trials that a terminal shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStatus:
    """The status of a sweep in this folder.

    Attributes:
        name: Name of the sweep's folder.
        state: ``interrupted``, ``failed``, ``done``, or ``running (4711)`` with the id of the process.
        changed: Time of the last entry in the ledger.
        trials: Its trials, in the order of the plan; `started` is a time of `time.time`.
        progress: The progress of these trials.
    """

    name: str
    state: str
    changed: datetime
    trials: Sequence[TrialStatus]
    progress: SweepProgress


def show_status(name: str) -> None:
    """Prints a table of all sweeps in this folder, or the trials of one sweep.

    Args:
        name: The name or the folder of a sweep; empty prints all sweeps.

    Raises:
        ConfigError: If there is no such sweep.
    """
    if name:
        print_sweep_status(_load_status(find_sweep(name, "--status")))
        return
    folders = list_sweeps()
    if not folders:
        raise ConfigError(f"{SWEEPS}/: there are no sweeps here yet. Start one: trainyard sweep sweep=widths")
    sweeps = []
    for folder in folders:
        try:
            sweeps.append(_load_status(folder))
        except TrainyardError as error:  # print the other sweeps nevertheless
            print_error(error)
    print_sweep_list(sweeps)


def print_sweep_list(sweeps: Sequence[SweepStatus], *, console: Console | None = None) -> None:
    """Prints a table of sweeps, in the given order."""
    console = console or Console(highlight=False)
    progresses = [sweep.progress for sweep in sweeps]
    columns = {
        "sweep": [sweep.name for sweep in sweeps],
        "state": [sweep.state for sweep in sweeps],
        "done": [f"{len(progress.ranked):,}" for progress in progresses],
        "pruned": [f"{len(progress.pruned):,}" for progress in progresses],
        "failed": [f"{len(progress.failed):,}" for progress in progresses],
        "remaining": [f"{progress.total - progress.ended_count:,}" for progress in progresses],
        "last change": [f"{sweep.changed:%Y-%m-%d %H:%M}" for sweep in sweeps],
        "best": [_format_best(progress) for progress in progresses],
    }
    if not any(progress.pruned for progress in progresses):
        del columns["pruned"]
    if not fits(console, columns):
        del columns["last change"]
    print_table(console, columns)


def print_sweep_status(sweep: SweepStatus, *, console: Console | None = None) -> None:
    """Prints the trials of one sweep, and the reasons of failures."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        print_table(console, build_plain_columns(sweep.trials, sweep.progress))
        return
    print_text(console, f"sweep {sweep.name}: {sweep.state}", "bold")
    table = TrialTable([status.trial for status in sweep.trials], sweep.progress)
    console.print(table.draw(console.width, limit=_MAX_TRIALS))
    print_failures(console, [*sweep.progress.failed.values()], sweep.name)


def _format_best(progress: SweepProgress) -> str:
    """Returns the best value with its label and the objective; empty if there is none."""
    best, metric = progress.best, progress.shown_metric
    return f"{format_metric(metric, best.value)} {best.label} ({metric})" if best else ""


def _load_status(folder: SweepFolder) -> SweepStatus:
    """Loads the status of a sweep from its ledger."""
    ledger, objective = Ledger(folder.ledger), folder.read_header()["objective"]
    session = ledger.sessions[-1] if ledger.sessions else None
    running = session is not None and not session.status and _is_running(session, folder)
    epochs = load_epochs(folder.epochs) if running else {}
    complete = ledger.is_exhausted or ledger.is_complete  # then no more points are drawn
    trials = [
        _build_trial_status(trial, objective, ledger, folder, epochs.get(trial.number), running=running)
        for trial in folder.read_trials()
        if not (complete and trial.label == NOT_DRAWN)
    ]
    progress = SweepProgress(trials, objective, slots=session.slots if session else 1, clock=time.time)
    if running and session:
        state = f"running ({session.pid})"
    elif len(progress.ranked) + len(progress.pruned) == len(trials):
        state = "done"
    else:
        state = "failed" if session and session.status == "FAILED" else "interrupted"
    changed = datetime.fromisoformat(ledger.last_changed) if ledger.last_changed else datetime.now().astimezone()
    return SweepStatus(
        name=folder.path.name, state=state, changed=changed.astimezone(), trials=trials, progress=progress
    )


def _is_running(session: Session, folder: SweepFolder) -> bool:
    """Returns whether a session's process is alive; on another host, whether the sweep's folder is locked."""
    if session.host == socket.gethostname():
        return is_process_alive(session.pid, session.started)
    return is_locked(folder)


def _build_trial_status(
    trial: Trial,
    objective: str | None,
    ledger: Ledger,
    folder: SweepFolder,
    epoch: LatestEpoch | None,
    *,
    running: bool,
) -> TrialStatus:
    """Returns the status of a trial from the ledger. A started trial is STOPPED if the sweep is not `running`."""
    record = ledger.get_trial_record(trial.number)
    status = build_status(trial, objective, record.result, os.path.relpath(folder.get_log_file(trial.number)))
    status.attempt = record.attempts
    if record.state == "failed":
        status.state, status.reason = TrialState.FAILED, record.reason
    elif record.state == "pruned":
        status.state, status.reason = TrialState.PRUNED, record.reason
        if last := ledger.get_last_epoch(trial.number):
            status.epoch, status.value = last.epoch, last.value
    elif record.state == "running":
        status.state = TrialState.RUNNING if running else TrialState.STOPPED
        status.started = datetime.fromisoformat(record.began).timestamp()
        if epoch:
            status.epoch, status.epochs = epoch.epoch, epoch.epochs
            status.value = epoch.metrics.get(objective) if objective else None
    return status

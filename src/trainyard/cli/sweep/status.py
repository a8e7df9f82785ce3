"""``trainyard sweep --status``: how the sweeps of this folder stand, read from their ledgers while they go on."""

from __future__ import annotations

import os
import socket
from datetime import datetime

from trainyard.cli.screen import print_error
from trainyard.cli.sweep.tables import SweepStatus, print_status, print_sweep_status
from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation.trials import Trial
from trainyard.sweep.folder import SWEEPS, SweepFolder, find_sweep, is_held, sweep_folders
from trainyard.sweep.ledger import Ledger, Session
from trainyard.sweep.progress import Standing, State, TrialStatus, status_of
from trainyard.sweep.progress_file import Epoch, read_epochs
from trainyard.sweep.space import NOT_DRAWN
from trainyard.system.environment import is_alive


def show_status(name: str) -> None:
    """Prints all sweeps of this folder, or the trials of one.

    Args:
        name: Of a sweep, or its folder; empty: all.

    Raises:
        ConfigError: If there is no such sweep.
    """
    if not name:
        folders = sweep_folders()
        if not folders:
            raise ConfigError(f"{SWEEPS}/: there are no sweeps here yet. Start one: trainyard sweep sweep=widths")
        rows = []
        for folder in folders:
            try:
                rows.append(_read(folder)[0])
            except TrainyardError as error:  # the others are told all the same
                print_error(error)
        print_status(rows)
        return
    status, trials, places = _read(find_sweep(name, "--status"))
    print_sweep_status(status, trials, places)


def _read(folder: SweepFolder) -> tuple[SweepStatus, list[TrialStatus], int]:
    """Returns how a sweep stands, and each of its trials, and how many run at a time."""
    ledger, objective = Ledger(folder.ledger), folder.read_header()["objective"]
    session = ledger.sessions[-1] if ledger.sessions else None
    runs = session is not None and not session.status and _runs(session, folder)
    epochs = read_epochs(folder.epochs) if runs else {}
    closed = ledger.is_exhausted or ledger.is_closed  # then nothing more is drawn
    trials = [
        _status(trial, objective, ledger, folder, epochs.get(trial.number), runs=runs)
        for trial in folder.read_trials()
        if not (closed and trial.label == NOT_DRAWN)
    ]
    places = session.places if session else 1
    best = Standing(trials, objective, places=places).best
    counts = {state: sum(status.state == state for status in trials) for state in State}
    left = len(trials) - counts[State.DONE] - counts[State.PRUNED]
    changed = datetime.fromisoformat(ledger.changed) if ledger.changed else datetime.now().astimezone()
    status = SweepStatus(
        name=folder.path.name,
        state="running" if runs else _state(left, session),
        pid=int(session.pid) if runs and session else None,
        done=counts[State.DONE],
        pruned=counts[State.PRUNED],
        failed=counts[State.FAILED],
        todo=left - counts[State.FAILED],
        objective=objective,
        best=best.value if best else None,
        best_label=best.label if best else "",
        changed=changed.astimezone(),
    )
    return status, trials, places


def _runs(session: Session, folder: SweepFolder) -> bool:
    """Tells whether a process that took a sweep up still works on it; on another host, whether its folder is held."""
    if session.host == socket.gethostname():
        return is_alive(session.pid, session.started)
    return is_held(folder)


def _state(left: int, session: Session | None) -> str:
    """Returns what a sweep is that does not run."""
    if not left:
        return "done"
    return "failed" if session and session.status == "FAILED" else "interrupted"


def _status(
    trial: Trial, objective: str | None, ledger: Ledger, folder: SweepFolder, epoch: Epoch | None, *, runs: bool
) -> TrialStatus:
    account = ledger.account(trial.number)
    status = status_of(trial, objective, account.result, os.path.relpath(folder.log_file(trial.number)))
    status.attempt = account.attempts
    if account.state == "failed":
        status.state, status.reason = State.FAILED, account.reason
    elif account.state == "pruned":
        status.state, status.reason = State.PRUNED, account.reason
        if last := ledger.last_epoch(trial.number):
            status.epoch, status.value = last.epoch, last.value
    elif account.state == "running":
        status.state = State.RUNNING if runs else State.STOPPED
        status.began = datetime.fromisoformat(account.began).timestamp()
        if epoch:
            status.epoch, status.epochs = epoch.epoch, epoch.epochs
            status.value = epoch.metrics.get(objective) if objective else None
    return status

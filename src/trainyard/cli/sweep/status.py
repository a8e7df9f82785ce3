"""``trainyard sweep --status``: prints the status of sweeps, read from their ledgers, also while they run."""

from __future__ import annotations

import os
import socket
from datetime import datetime

from trainyard.cli.sweep.tables import SweepStatus, print_sweep_list, print_sweep_status
from trainyard.cli.terminal import print_error
from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation import Trial
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


def show_status(name: str) -> None:
    """Prints a table of all sweeps in this folder, or the trials of one sweep.

    Args:
        name: The name or the folder of a sweep; empty prints all sweeps.

    Raises:
        ConfigError: If there is no such sweep.
    """
    if not name:
        folders = list_sweeps()
        if not folders:
            raise ConfigError(f"{SWEEPS}/: there are no sweeps here yet. Start one: trainyard sweep sweep=widths")
        rows = []
        for folder in folders:
            try:
                rows.append(_load_status(folder)[0])
            except TrainyardError as error:  # print the other sweeps nevertheless
                print_error(error)
        print_sweep_list(rows)
        return
    status, trials, slots = _load_status(find_sweep(name, "--status"))
    print_sweep_status(status, trials, slots)


def _load_status(folder: SweepFolder) -> tuple[SweepStatus, list[TrialStatus], int]:
    """Returns the status of a sweep, the statuses of its trials, and the number of parallel trials."""
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
    slots = session.slots if session else 1
    best = SweepProgress(trials, objective, slots=slots).best
    counts = {state: sum(status.state == state for status in trials) for state in TrialState}
    remaining = len(trials) - counts[TrialState.DONE] - counts[TrialState.PRUNED]
    changed = datetime.fromisoformat(ledger.last_changed) if ledger.last_changed else datetime.now().astimezone()
    status = SweepStatus(
        name=folder.path.name,
        state="running" if running else _determine_stopped_state(remaining, session),
        pid=int(session.pid) if running and session else None,
        done=counts[TrialState.DONE],
        pruned=counts[TrialState.PRUNED],
        failed=counts[TrialState.FAILED],
        todo=remaining - counts[TrialState.FAILED],
        objective=objective,
        best=best.value if best else None,
        best_label=best.label if best else "",
        changed=changed.astimezone(),
    )
    return status, trials, slots


def _is_running(session: Session, folder: SweepFolder) -> bool:
    """Returns whether a session's process is alive; on another host, whether the sweep's folder is locked."""
    if session.host == socket.gethostname():
        return is_process_alive(session.pid, session.started)
    return is_locked(folder)


def _determine_stopped_state(remaining: int, session: Session | None) -> str:
    """Returns the state of a sweep that is not running: done, failed or interrupted."""
    if not remaining:
        return "done"
    return "failed" if session and session.status == "FAILED" else "interrupted"


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

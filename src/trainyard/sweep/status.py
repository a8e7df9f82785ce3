"""The status of a sweep in its folder, also while another process runs it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from trainyard.errors import ConfigError
from trainyard.evaluation import Trial
from trainyard.sweep.folder import SweepFolder, is_locked
from trainyard.sweep.ledger import Session, TrialState
from trainyard.sweep.progress import SweepProgress, TrialStatus, build_status
from trainyard.sweep.space import NOT_DRAWN
from trainyard.system import is_process_alive
from trainyard.tracking import load_run_record


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStatus:
    """The status of a sweep.

    Attributes:
        state: ``interrupted``, ``failed``, ``done``, or ``running (4711)`` with the id of the process.
        changed: Time of the last entry in the ledger.
        progress: The progress of its trials, on the clock `time.time`.
    """

    name: str
    state: str
    changed: datetime
    progress: SweepProgress


def load_sweep_status(folder: SweepFolder) -> SweepStatus:
    """Loads the status of a sweep from its ledger, also while it runs. Raises ConfigError if its files are damaged."""
    ledger, objective = folder.ledger, folder.read_header()["objective"]
    session = ledger.sessions[-1] if ledger.sessions else None
    running = session is not None and not session.status and _is_running(session, folder)
    complete = ledger.is_exhausted or ledger.is_complete  # then no more points are drawn
    trials = [
        _build_trial_status(trial, objective, folder, running=running)
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
    return SweepStatus(name=folder.path.name, state=state, changed=changed.astimezone(), progress=progress)


def _is_running(session: Session, folder: SweepFolder) -> bool:
    """Returns whether a session's process is alive; on another host, whether the sweep's folder is locked."""
    if session.host == socket.gethostname():
        return is_process_alive(session.pid, session.started)
    return is_locked(folder)


def _build_trial_status(trial: Trial, objective: str | None, folder: SweepFolder, *, running: bool) -> TrialStatus:
    """Returns the status of a trial from the ledger. A started trial is STOPPED if the sweep is not `running`."""
    record = folder.ledger.get_trial_record(trial.number)
    status = build_status(trial, objective, record.result, os.path.relpath(folder.get_log_file(trial.number)))
    status.state, status.reason, status.attempt = record.state, record.reason, record.attempts
    if record.state is TrialState.PRUNED and (last := record.last_epoch):
        status.epoch, status.value = last.epoch, last.value
    elif record.state is TrialState.RUNNING:
        status.state = TrialState.RUNNING if running else TrialState.STOPPED
        status.started = datetime.fromisoformat(record.began).timestamp()
        with contextlib.suppress(ConfigError):  # the run has not logged anything yet
            history = load_run_record(Path(record.folder)).load_history()
            status.epoch = max(history, default=0)
            status.value = history[status.epoch].get(objective) if status.epoch and objective else None
    return status

"""Runs in the process of a job: executes the work, sends reports to the parent, and ends when the parent ends."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cloudpickle

from trainyard.config import describe_error
from trainyard.errors import TrainyardError, describe_interrupt
from trainyard.system import explain_disk_full, hold_shared_lock, redact_credentials

GRACE_SECONDS = 15.0
"""The time between the request to end a job and killing it, in which it can close its run."""

_reports: list[Connection] = []
"""The pipe to the parent process; empty outside a job."""

_answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
"""The answers from the parent process that were not read yet."""

ANSWER_TIMEOUT_SECONDS = 60.0
"""Maximum time that a job waits for an answer before it continues without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStart:
    """Everything that the process of a job receives when it starts, besides its environment.

    Attributes:
        work: A function without arguments, pickled by cloudpickle.
        log: The file to which all output is appended.
        lock_file: A file on which the process holds a shared lock until it ends, if any.
        command: The command line of the parent, which becomes `sys.orig_argv`.
    """

    work: bytes
    log: Path
    lock_file: Path | None
    command: list[str] = field(default_factory=lambda: sys.orig_argv)
    folder: Path = field(default_factory=Path.cwd)

    def enter(self) -> None:
        """Sets the command line, the working directory and the output of this process."""
        sys.orig_argv[:] = self.command
        os.chdir(self.folder)
        _redirect_output(self.log)

    def perform_work(self) -> tuple[Any, str]:
        """Returns the value of the work and an empty string, or None and the error in one line."""
        try:
            return cloudpickle.loads(self.work)(), ""
        except Exception as error:  # noqa: BLE001 - every error is reported to the parent
            _write_to_log(redact_credentials(traceback.format_exc()))
            return None, describe_error(error)
        except SystemExit as error:
            if not isinstance(error.code, str):  # the exit code says everything
                raise
            _write_to_log(f"{error.code}\n")
            return None, f"its process exited with code 1: {error.code}"
        except KeyboardInterrupt as error:
            _write_to_log(f"{describe_interrupt(error)}\n")
            return None, f"{type(error).__name__}: {error}".rstrip(": ")


def report(content: Any) -> None:  # noqa: ANN401 - any message
    """Sends a message from a job to its parent process. Outside a job it does nothing."""
    for reports in _reports:
        reports.send(("message", content))


def request_answer(content: Any, key: Any) -> Any:  # noqa: ANN401 - any message, any answer
    """Sends a message to the parent process and returns its answer; None outside a job or after the timeout.

    A late answer to an earlier request has another key and is discarded.
    """
    if not _reports:
        return None
    report(content)
    deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
    with contextlib.suppress(queue.Empty):
        while True:
            answer_key, answer = _answers.get(timeout=max(deadline - time.monotonic(), 0))
            if answer_key == key:
                return answer
    return None


def do_work(start: JobStart, environment: Mapping[str, str], reports: Connection, lifeline: Connection) -> None:
    """Runs a job; it is the main function of the job's process.

    Messages and the result are written to `reports`. Answers are read from `lifeline`, which closes when the parent
    process ends.
    """
    from trainyard.sweep.launch.fork_server import restore_signal_handlers  # the fork server imported this module

    restore_signal_handlers()
    with contextlib.suppress(OSError):  # the process already leads a group
        os.setpgid(0, 0)  # Ctrl-C in the terminal must reach only the parent, which then ends its jobs
    os.environ.clear()
    os.environ.update(environment)
    try:
        with explain_disk_full(start.log):
            start.enter()
    except (OSError, TrainyardError) as error:
        reports.send(("end", (None, f"{type(error).__name__}: {error}")))
        return
    if start.lock_file:
        hold_shared_lock(start.lock_file)
        if lifeline.poll():  # the parent has ended: after the lock was free, no job of it may start
            os._exit(1)
    threading.Thread(target=_exit_with_parent, args=(lifeline,), daemon=True).start()
    _reports.append(reports)
    value, failure = start.perform_work()
    try:
        reports.send(("end", (value, failure)))
    except Exception as error:  # noqa: BLE001 - a result that cannot be pickled
        reports.send(("end", (None, f"its result cannot be sent: {error}")))
    with contextlib.suppress(OSError):  # the disk of the log is full
        sys.stdout.flush()
        sys.stderr.flush()


def _write_to_log(text: str) -> None:
    """Writes text to stderr, the log of this job, if its disk is not full."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text)


def _redirect_output(log: Path) -> None:
    """Appends all output of this process to a file, including the output of native libraries."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _exit_with_parent(lifeline: Connection) -> None:
    """Stores answers until the parent process ends; then ends this one: SIGTERM, and SIGKILL after `GRACE_SECONDS`."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            _answers.put(lifeline.recv())
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)

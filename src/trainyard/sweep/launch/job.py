"""What happens in a job's process: it does its work, tells its starter how it goes, and ends when that is gone."""

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
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from trainyard.system.uris import without_credentials

GRACE_SECONDS = 15.0
"""From asking a job to end until it is killed: time to close its run."""

_reports: list[Connection] = []
"""In a job's process, the pipe that it reports over."""

_answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
"""In a job's process, what its starter answered."""

ANSWER_SECONDS = 60.0
"""How long a job waits for an answer before it goes on without one."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a job's process begins with: the work, where its output goes, and what it shares with its starter."""

    command: list[str]
    work: bytes
    log: Path
    environment: Mapping[str, str]
    folder: Path
    held: Path | None


def report(content: Any) -> None:  # noqa: ANN401 - any message
    """Sends a message from a job to the process that started it; elsewhere nothing happens."""
    for reports in _reports:
        reports.send(("message", content))


def ask(content: Any, key: Any) -> Any:  # noqa: ANN401 - any message, any answer
    """Sends a message and returns what the starter answers; None where nobody does, or not in time.

    Args:
        content: The message.
        key: With which the answer comes, so that one that comes too late is not taken for the next.
    """
    if not _reports:
        return None
    report(content)
    deadline = time.monotonic() + ANSWER_SECONDS
    with contextlib.suppress(queue.Empty):
        while True:
            answered, answer = _answers.get(timeout=max(deadline - time.monotonic(), 0))
            if answered == key:
                return answer
    return None


def do_work(start: Start, reports: Connection, lifeline: Connection) -> None:
    """Does a job; the process ends with it."""
    import cloudpickle

    from trainyard.sweep.launch.fork_server import take_signals_back  # there since before the fork

    take_signals_back()
    with contextlib.suppress(OSError):  # it leads a group already
        os.setpgid(0, 0)  # a Ctrl-C in the terminal is for the process that started it, which then asks
    sys.orig_argv[:] = start.command  # what was typed, and not what the server was started with
    os.chdir(start.folder)
    os.environ.clear()
    os.environ.update(start.environment)
    write_to(start.log)
    if start.held:
        _hold(start.held, lifeline)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    _reports.append(reports)
    try:
        end = (True, cloudpickle.loads(start.work)(), "")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        sys.stderr.write(without_credentials(traceback.format_exc()))
        end = (False, error, f"{type(error).__name__}: {error}")
    except KeyboardInterrupt as error:
        end = (False, None, f"{type(error).__name__}: {error}".rstrip(": "))
    try:
        reports.send(("end", end))
    except Exception as error:  # noqa: BLE001 - an exception, or a result, that can't be pickled
        reports.send(("end", (end[0], None, end[2] or f"its result can't be sent: {error}")))
    sys.stdout.flush()
    sys.stderr.flush()


def write_to(log: Path) -> None:
    """Has all output of this process, that of libraries too, appended to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _hold(file: Path, lifeline: Connection) -> None:
    """Locks a file until this process is gone; ends it at once where the one that started it is gone already.

    Whoever then finds the lock free knows that no such process is left, and that none will begin.
    """
    import fcntl  # which Windows lacks

    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    if lifeline.poll():
        os._exit(1)


def _end_with(lifeline: Connection) -> None:
    """Ends this process when the one that started it is gone: as a signal would, so that what is open gets closed."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            _answers.put(lifeline.recv())
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)

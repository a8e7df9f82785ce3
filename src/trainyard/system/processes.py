"""Ends groups of processes, and marks files as used until a process ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def end_process_group(process: subprocess.Popen[Any], timeout_seconds: float = 10) -> None:
    """Ends a child that leads a process group, and all processes of the group: SIGTERM first, then SIGKILL.

    The child must have been started with ``start_new_session=True``. It has time to end after each signal.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        signal_process_group(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=timeout_seconds)


def signal_process_group(leader: int, number: int) -> bool:
    """Sends a signal to the group of a process with this ID. Returns False if no process of the group receives it."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


@contextlib.contextmanager
def open_shared_lock(file: Path | None) -> Iterator[list[int]]:
    """Locks a file, which is created if it does not exist, like `hold_shared_lock`, for the duration of the block.

    Yields a list with the descriptor of the lock. A process that inherits the descriptor holds the lock until it ends.
    The list is empty if there is no file, or on Windows, where no descriptors are inherited.
    """
    if file is None or os.name == "nt":
        yield []
        return
    import fcntl

    with file.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        yield [stream.fileno()]


def hold_shared_lock(file: Path, *, wait: bool = True) -> None:
    """Locks a file until this process ends. Several processes can hold this lock, but none an exclusive one meanwhile.

    The file is created if it does not exist. `wait` waits until an exclusive lock is released; otherwise that raises an
    OSError. Windows has no such locks: there, it raises an ImportError.
    """
    import fcntl

    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)  # never closed, which would release the lock
    fcntl.flock(descriptor, fcntl.LOCK_SH if wait else fcntl.LOCK_SH | fcntl.LOCK_NB)

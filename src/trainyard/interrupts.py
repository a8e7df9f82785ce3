"""Signals that ask a process to stop, made into exceptions so that what is open gets closed.

Before it: errors. After it: run and the command line.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from trainyard.errors import Terminated


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP end the block with `Terminated`, where signals can be handled: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, _frame: object) -> None:
        raise Terminated(number)

    before = {number: signal.signal(number, terminate) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

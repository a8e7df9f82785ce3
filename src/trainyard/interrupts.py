"""Signals that ask a process to stop, made into exceptions so that what is open gets closed.

Before it: errors. After it: run and the command line.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from trainyard.errors import Terminated

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """Makes SIGINT, SIGTERM and SIGHUP end the block: with `KeyboardInterrupt`, the others with `Terminated`.

    Only the first of them does. A second one, pressed out of impatience or sent by a supervisor, would otherwise
    break off the closing of what is open, and leave a run that says RUNNING for ever. A signal that the process was
    told to ignore (nohup) stays ignored. Outside the main thread, where Python delivers no signals, nothing changes.

    Within another such block, further signals stay unheard until that one ends: it has yet to tell what happened.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    stop = _Stop()
    heard = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        if not (stop.was_called and any(isinstance(handler, _Stop) for handler in before.values())):
            for number, handler in before.items():
                signal.signal(number, handler)


class _Stop:
    """A handler that ends a block at the first signal."""

    def __init__(self) -> None:
        self.was_called = False

    def __call__(self, number: int, _frame: object) -> None:
        self.was_called = True
        ignore_signals()
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


def ignore_signals() -> None:
    """Makes this process deaf to further signals, when it is about to end anyway."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)

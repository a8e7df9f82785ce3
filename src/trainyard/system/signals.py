"""Signals that ask a process to stop, made into exceptions so that what is open gets closed."""

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
    _Stop.blocks.append(stop)
    try:
        with stop_wins():
            yield
    finally:
        _Stop.blocks.remove(stop)
        if not (stop.number and any(isinstance(handler, _Stop) for handler in before.values())):
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def stop_wins() -> Iterator[None]:
    """Ends the block with the stop that a signal asked for, whatever error a library has made of it.

    A C extension whose initialisation it comes into says that it can't be imported, for one.
    """
    try:
        yield
    except Exception as error:
        try:
            raise_if_stopped()
        except KeyboardInterrupt as stop:
            raise stop from error
        raise


def raise_if_stopped() -> None:
    """Raises the stop that a signal asked for and that somebody has swallowed: what `__del__` raises goes nowhere.

    Raises:
        KeyboardInterrupt: If a signal came since the outermost `signals_raise` began.
    """
    for stop in _Stop.blocks:
        stop.raise_if_heard()


class _Stop:
    """A handler that ends a block at the first signal."""

    blocks: list[_Stop] = []  # noqa: RUF012 - of the process, as its signals are
    """The blocks that are being run, the outermost first."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __call__(self, number: int, _frame: object) -> None:
        self.number = number
        ignore_signals()
        self.raise_if_heard()

    def raise_if_heard(self) -> None:
        if self.number is not None:
            raise KeyboardInterrupt if self.number == signal.SIGINT else Terminated(self.number)


def ignore_signals() -> None:
    """Makes this process deaf to further signals, when it is about to end anyway."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)

"""Converts signals that stop the process into exceptions, so that open resources are closed."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from trainyard.errors import Terminated

INTERRUPT_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raises an exception in the block on the first SIGINT (`KeyboardInterrupt`), SIGTERM or SIGHUP (`Terminated`).

    Further signals are ignored. A second Ctrl-C, or a signal from a supervisor, would otherwise interrupt the cleanup,
    and the status of the MLflow run would stay RUNNING. Signals that the process ignores already (``nohup``) stay
    ignored. Outside the main thread, where Python does not deliver signals, this does nothing.

    Blocks can be nested. After a signal, further signals are ignored until the outermost block ends, because it still
    has to report the interruption.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    handler = _SignalHandler()
    handled = [number for number in INTERRUPT_SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    replaced = {number: signal.signal(number, handler) for number in handled}
    _SignalHandler.active.append(handler)
    try:
        with prefer_interrupt():
            yield
    finally:
        _SignalHandler.active.remove(handler)
        if not (handler.number and any(isinstance(previous, _SignalHandler) for previous in replaced.values())):
            for number, previous in replaced.items():
                signal.signal(number, previous)


@contextlib.contextmanager
def prefer_interrupt() -> Iterator[None]:
    """Raises the interrupt instead of an error that a library raised because of a signal.

    Example: a signal during the initialization of a C extension is reported as an ImportError.
    """
    try:
        yield
    except Exception as error:
        try:
            check_interrupted()
        except KeyboardInterrupt as interrupt:
            raise interrupt from error
        raise


def check_interrupted() -> None:
    """Raises an interrupt again that was suppressed since the outermost `raise_on_signals`, as in a ``__del__``."""
    for handler in _SignalHandler.active:
        handler.raise_if_received()


class _SignalHandler:
    """A signal handler that raises an exception on the first signal."""

    active: list[_SignalHandler] = []  # noqa: RUF012 - global like the signal handlers of the process
    """The handlers of the current blocks, the outermost first."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __call__(self, number: int, _frame: object) -> None:
        self.number = number
        ignore_signals()
        self.raise_if_received()

    def raise_if_received(self) -> None:
        """Raises KeyboardInterrupt after SIGINT, `Terminated` after another signal; does nothing without one."""
        if self.number is not None:
            raise KeyboardInterrupt if self.number == signal.SIGINT else Terminated(self.number)


def ignore_signals() -> None:
    """Ignores further signals. Called when the process is about to end."""
    for number in INTERRUPT_SIGNALS:
        signal.signal(number, signal.SIG_IGN)

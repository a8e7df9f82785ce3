"""Converts signals that stop the process into exceptions, so that open resources are closed."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

from trainyard.errors import Terminated

INTERRUPT_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

_REPEAT_SECONDS = 0.05
"""Time until an interrupt that Python ignored is raised again."""


@contextlib.contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raises an exception in the block on the first SIGINT (`KeyboardInterrupt`), SIGTERM or SIGHUP (`Terminated`).

    Further signals are ignored. A second Ctrl-C, or a signal from a supervisor, would otherwise interrupt the cleanup,
    and the status of the MLflow run would stay RUNNING. Signals that the process ignores already (``nohup``) stay
    ignored. Outside the main thread, where Python does not deliver signals, this does nothing.

    Blocks can be nested. After a signal, further signals are ignored until the outermost block ends, because it still
    has to report the interruption. In a command of Trainyard they are ignored until the process ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    handler = _SignalHandler()
    handled = [number for number in INTERRUPT_SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    replaced = {number: signal.signal(number, handler) for number in handled}
    unraisable_hook, sys.unraisablehook = sys.unraisablehook, handler.handle_unraisable
    _SignalHandler.active.append(handler)
    try:
        with prefer_interrupt():
            yield
    finally:
        _SignalHandler.active.remove(handler)
        sys.unraisablehook = unraisable_hook
        if not (handler.number and any(map(_is_of_trainyard, replaced.values()))):
            for number, previous in replaced.items():
                signal.signal(number, previous)


def _is_of_trainyard(handler: object) -> bool:
    """Returns whether a signal handler is that of an outer block, or the one of the command line."""
    return getattr(handler, "__module__", "").startswith("trainyard.")


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
        self._unraisable_hook = sys.unraisablehook

    def __call__(self, number: int, _frame: object) -> None:
        if self in self.active:
            self.number = number
            ignore_signals()
            self.raise_if_received()

    def handle_unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Raises an interrupt again later that was raised where Python ignores exceptions: in a destructor or callback.

        Importing a large library runs many callbacks. Other exceptions are printed as usual.
        """
        if self.number is None or not isinstance(unraisable.exc_value, KeyboardInterrupt):
            self._unraisable_hook(unraisable)
            return
        signal.signal(self.number, self)
        timer = threading.Timer(_REPEAT_SECONDS, self._repeat)
        timer.daemon = True
        timer.start()

    def _repeat(self) -> None:
        """Calls this handler again in the main thread, unless its block has ended. Runs in a thread."""
        if self.number is not None and self in self.active:
            if hasattr(signal, "pthread_kill"):  # a real signal also interrupts a system call that waits
                signal.pthread_kill(threading.main_thread().ident or 0, self.number)
            else:
                _thread.interrupt_main(signal.Signals(self.number))

    def raise_if_received(self) -> None:
        """Raises KeyboardInterrupt after SIGINT, `Terminated` after another signal; does nothing without one."""
        if self.number is not None:
            raise KeyboardInterrupt if self.number == signal.SIGINT else Terminated(self.number)


def ignore_signals() -> None:
    """Ignores further signals. Called when the process is about to end."""
    for number in INTERRUPT_SIGNALS:
        signal.signal(number, signal.SIG_IGN)

"""The command line: arguments, printed output and exit codes. Other packages do the work.

This module imports nothing that is slow, so that signals are handled from the start of the process.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """Runs the command line and exits.

    A signal ends the process immediately, except in `system.raise_on_signals`, where there is something to close.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, exit_on_signal)
    from trainyard.cli.commands import run_command_line

    run_command_line()


def exit_on_signal(number: int, _frame: FrameType | None) -> None:
    """Ends the process without an exception, which an import or a library could replace by another one or ignore."""
    os.write(2, b"error interrupted\n")
    os._exit(128 + number)

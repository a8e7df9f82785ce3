"""Makes the fork server ignore SIGTERM and SIGHUP. The fork server imports this module first.

`timeout` and a closing terminal send these signals to the whole process group. Without the fork server the exit status
of the jobs would be lost. The fork server ends when the main program ends. It starts with blocked signals, because
Ctrl-C would interrupt the import of this module.
"""

import os
import signal

_BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

os.setpgid(0, 0)
_handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _BLOCKED}  # discards a signal that is pending
signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)
signal.signal(signal.SIGINT, _handlers.pop(signal.SIGINT))  # multiprocessing replaces it

INHERITED_HANDLERS = _handlers
"""The signal handlers that the fork server inherited, which its jobs restore."""


def restore_signal_handlers() -> None:
    """Restores the inherited signal handlers in a job, which was forked from the fork server."""
    for number, handler in INHERITED_HANDLERS.items():
        signal.signal(number, handler)

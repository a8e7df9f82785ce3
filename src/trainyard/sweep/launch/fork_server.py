"""Makes the fork server ignore SIGTERM and SIGHUP. The fork server imports this module first.

`timeout` and a closing terminal send these signals to the whole process group. Without the fork server the exit status
of the jobs would be lost. The fork server ends when the main program ends.
"""

import os
import signal

INHERITED_HANDLERS = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGHUP)}
"""The signal handlers that the fork server inherited, which its jobs restore."""

os.setpgid(0, 0)


def restore_signal_handlers() -> None:
    """Restores the inherited signal handlers in a job, which was forked from the fork server."""
    for number, handler in INHERITED_HANDLERS.items():
        signal.signal(number, handler)

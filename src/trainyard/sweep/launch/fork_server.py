"""Makes the fork server ignore SIGTERM and SIGHUP. The fork server imports this module first.

`timeout` and a closing terminal send these signals to the whole process group. Without the fork server the exit status
of the jobs would be lost. The fork server ends when the main program ends.
"""

import os
import signal

_names = ("SIGTERM", "SIGHUP")
INHERITED_HANDLERS = {number: signal.getsignal(number) for number in (getattr(signal, name) for name in _names)}
"""The signal handlers that the fork server inherited, which its jobs restore."""

for _number in INHERITED_HANDLERS:
    signal.signal(_number, signal.SIG_IGN)
os.setpgid(0, 0)


def restore_signal_handlers() -> None:
    """Restores the inherited signal handlers in a job, which was forked from the fork server."""
    for number, handler in INHERITED_HANDLERS.items():
        signal.signal(number, handler)

"""Imported first by the server that jobs are forked from, so that it outlives the signals that end what started it.

A signal to the group of the program, as `timeout` and a closing terminal send it, would end the server too, and nobody
could tell any more how the jobs ended. It ends by itself when the program does.
"""

import os
import signal

_names = ("SIGTERM", "SIGHUP")
INHERITED = {number: signal.getsignal(number) for number in (getattr(signal, name) for name in _names)}
"""What the server was told to do at these signals, and what its jobs do."""

for _number in INHERITED:
    signal.signal(_number, signal.SIG_IGN)
os.setpgid(0, 0)


def take_signals_back() -> None:
    """Has this process, forked from the server, heed the signals that the server ignores."""
    for number, handler in INHERITED.items():
        signal.signal(number, handler)

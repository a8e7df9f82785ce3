"""What can go wrong, one class per kind of failure.

    Exception
    └── TrainyardError              exit code 1: the work failed
        ├── ConfigError             exit code 2: the command or the config is wrong; also a ValueError
        ├── DatasetError            the data is absent, damaged or not what it claims to be
        ├── ModelError              a saved model is damaged or not what is expected of it
        ├── TrainingError           the training could not start or broke down
        ├── TrialError              a job of a sweep did not come to its end
        ├── TrialPruned             a trial was not worth going on with
        └── TrackingError           the tracking store is out of reach or refused what was logged

    KeyboardInterrupt               exit code 130 (SIGINT)
    └── Terminated                  exit code 128 + n: another signal asked the process to stop (143 is SIGTERM)

A message says where (the dotted path or the file), what was expected, what was received and what to do.
"""

import signal
from collections.abc import Callable


class TrainyardError(Exception):
    """The base of every error that Trainyard raises on purpose."""

    exit_code = 1


class ConfigError(TrainyardError, ValueError):
    """A mistake in the config or the command, found before any work was done.

    Attributes:
        problems: One line per mistake, each opening with its dotted path.
    """

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DatasetError(TrainyardError):
    """The data is absent, damaged or not what it claims to be."""


class ModelError(TrainyardError):
    """A saved model is damaged or not what is expected of it."""


class TrainingError(TrainyardError):
    """The training could not start or broke down."""


class TrialError(TrainyardError):
    """A job of a sweep did not come to its end: it exited, was killed or took too long."""


class TrialPruned(TrainyardError):  # noqa: N818 - it is none
    """A trial of a sweep is ended before its time, as it is not worth going on with. Its run is KILLED, and says so."""


class TrackingError(TrainyardError):
    """The tracking store is out of reach or refused what was logged."""


class Terminated(KeyboardInterrupt):
    """A signal other than SIGINT asked the process to stop.

    It is a KeyboardInterrupt so that no ``except Exception`` on the way swallows it.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


def in_one_line(error: BaseException, hide: Callable[[str], str] = str) -> str:
    """Returns what an error says in at most one line, one of the network stack by its last cause.

    Args:
        error: Whatever was raised.
        hide: Takes out of the whole text what must not be shown.
    """
    text = hide(str(error)).partition("Stack trace for op definition")[0]
    if "Caused by" in text:
        text = text.rsplit("Caused by", 1)[1].strip().removesuffix(")")
    return " ".join(text.split())[:300] or type(error).__name__

"""The exception classes, one per kind of failure.

    Exception
    └── TrainyardError              exit code 1: the work failed
        ├── ConfigError             exit code 2: the command or the config is invalid; also a ValueError
        ├── DatasetError            the data is missing, damaged or invalid
        ├── ModelError              a saved model is damaged or invalid
        ├── TrainingError           training could not start or failed
        ├── TrialError              a trial of a sweep crashed, was killed or exceeded its time limit
        ├── TrialPruned             a trial was stopped early by the pruner
        └── TrackingError           the tracking store is unreachable or rejected a request

    KeyboardInterrupt               exit code 130 (SIGINT)
    └── Terminated                  exit code 128 + n: another signal stopped the process (143 is SIGTERM)

A message contains the dotted path or the file, what was expected, what was received, and what to do.
"""

import signal
from collections.abc import Callable


class TrainyardError(Exception):
    """The base class of all errors that Trainyard raises."""

    exit_code = 1


class ConfigError(TrainyardError, ValueError):
    """The config or the command is invalid. Raised before any work is done.

    Attributes:
        problems: One message per mistake. Each message begins with the dotted path of the setting.
    """

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DatasetError(TrainyardError):
    """The data is missing, damaged or invalid."""


class ModelError(TrainyardError):
    """A saved model is damaged or invalid."""


class TrainingError(TrainyardError):
    """Training could not start or failed."""


class TrialError(TrainyardError):
    """A trial of a sweep crashed, was killed or exceeded its time limit."""


class TrialPruned(TrainyardError):  # noqa: N818 - pruning is not an error
    """The pruner stopped a trial early because its results were poor. The status of its MLflow run is KILLED."""


class TrackingError(TrainyardError):
    """The tracking store is unreachable or rejected a request."""


class Terminated(KeyboardInterrupt):
    """A signal other than SIGINT requested that the process stop.

    Derived from KeyboardInterrupt so that ``except Exception`` does not catch it.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


def find_exit_code(error: BaseException) -> int:
    """Returns the exit code of a command that an exception ended."""
    if isinstance(error, TrainyardError | Terminated):
        return error.exit_code
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def describe_interrupt(interrupt: KeyboardInterrupt) -> str:
    """Returns the message for an interrupt, with its notes."""
    return ": ".join(["interrupted", *getattr(interrupt, "__notes__", ())])


def summarize_error(error: BaseException, redact: Callable[[str], str] = str) -> str:
    """Returns the message of an error on one line, at most 300 characters. Network errors are reduced to their cause.

    Args:
        error: The exception.
        redact: Removes secrets from the complete message before it is shortened. The default removes nothing.
    """
    text = redact(str(error)).partition("Stack trace for op definition")[0]
    if "Caused by" in text:
        text = text.rsplit("Caused by", 1)[1].strip().removesuffix(")")
    return " ".join(text.split())[:300] or type(error).__name__

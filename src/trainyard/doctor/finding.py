"""The result of a check: its severity, what was found, and how to fix it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial


class Severity(StrEnum):
    """The severity of a finding, most severe first."""

    WRONG = "wrong"
    NOTE = "note"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check: what was found, and what the user can do, if anything.

    `fix` fixes the problem and returns one line for each change. None means that `--fix` can't fix it.
    """

    severity: Severity
    check: str
    message: str
    remedy: str = ""
    fix: Callable[[], Iterable[str]] | None = None


GIB = 2**30
FIX_COMMAND = "trainyard doctor --fix"


ok = partial(Finding, Severity.OK)
"""Builds a finding without a problem."""
note = partial(Finding, Severity.NOTE)
"""Builds a finding that the user should know about, such as a setting that slows down training."""
wrong = partial(Finding, Severity.WRONG)
"""Builds a finding about something that does not work, or will stop working."""

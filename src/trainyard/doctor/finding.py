"""What a check found: a sign, what is the matter, how it is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Sign(StrEnum):
    """How a thing stands, the worst first."""

    WRONG = "wrong"
    NOTE = "note"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        sign: How it stands.
        check: What was looked at, in a word or two.
        found: What was found.
        remedy: What to do about it; empty where nothing is to be done.
        mend: Does it, where `--fix` can, and returns what was done, a line each.
    """

    sign: Sign
    check: str
    found: str
    remedy: str = ""
    mend: Callable[[], Iterable[str]] | None = None


GIB = 2**30
FIX = "trainyard doctor --fix"


def ok(check: str, found: str) -> Finding:
    """Returns a finding that all is well."""
    return Finding(Sign.OK, check, found)


def note(check: str, found: str, remedy: str = "", mend: Callable[[], Iterable[str]] | None = None) -> Finding:
    """Returns a finding that a user should know of."""
    return Finding(Sign.NOTE, check, found, remedy, mend)


def wrong(check: str, found: str, remedy: str, mend: Callable[[], Iterable[str]] | None = None) -> Finding:
    """Returns a finding that something does not work, or will not."""
    return Finding(Sign.WRONG, check, found, remedy, mend)


def count(number: int, noun: str) -> str:
    """Returns a number with its noun: ``'1 run'``, ``'2 runs'``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

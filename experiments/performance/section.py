"""What a part of the benchmark is shown as, and when what it measured proves nothing about a goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.performance.summary_statistics import Goal, Spread
from trainyard.reporting.markdown import Table

_TOLERANCE, _WIDEST = 0.05, 1.5
"""How far below the floor is an accident; by what factor the quartiles of a ratio may lie apart."""


@dataclass(frozen=True, slots=True)
class Section:
    """One part as it is shown.

    Attributes:
        name: The part.
        title: Its heading.
        how: What was measured, and how.
        tables: The figures.
        goals: What they are held against.
        notes: What else there is to say.
        about: Where and when it was measured.
        picture: The name of its picture, or empty.
    """

    name: str
    title: str
    how: str
    tables: list[Table]
    goals: list[Goal]
    notes: list[str]
    about: dict[str, Any]
    picture: str = ""


def not_judged(about: dict[str, Any]) -> str:
    """Returns why a measurement proves nothing about the goals, which are for real sizes on a CPU."""
    if about["quick"]:
        return "a smoke run of tiny sizes"
    return "the goals are for a CPU" if about["machine"]["gpus"] else ""


def disturbed(measured: Spread, floor: float = 0) -> str:
    """Returns why a ratio can't be believed, or nothing: its rounds differ too much, or it is below what can be."""
    if measured.median < floor * (1 - _TOLERANCE):
        return "the floor was slower than what stands on it, so other programs disturbed it"
    if measured.high > _WIDEST * measured.low:
        return "the rounds differ too much, so other programs disturbed them"
    return ""

"""Medians, quartiles and ratios of what was measured, and the goals they are held against."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values, with their quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        around = "" if self.low == self.high else f" ({self.low:.2f} to {self.high:.2f})"
        return f"{self.median:.2f}{around}"


def spread(values: Sequence[float]) -> Spread:
    """Returns the median and the quartiles of at least one value."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Returns the spread of the ratio round by round, in which what slows a whole round cancels out.

    Args:
        numerators: One per round.
        denominators: The same rounds.
    """
    return spread([above / below for above, below in zip(numerators, denominators, strict=True)])


def difference(values: Sequence[float], less: Sequence[float]) -> Spread:
    """Returns the spread of the difference round by round."""
    return spread([value - other for value, other in zip(values, less, strict=True)])


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that has to hold.

    Attributes:
        what: What was measured, in words.
        measured: It.
        bound: What the median is held against.
        at_least: Whether the bound is the least; else it is the most.
        unit: Of both.
        not_judged: Why this measurement proves nothing either way, or empty.
    """

    what: str
    measured: Spread
    bound: float
    at_least: bool = False
    unit: str = ""
    not_judged: str = ""

    @property
    def met(self) -> bool:
        """Whether the median keeps the bound."""
        median = self.measured.median
        return median >= self.bound if self.at_least else median <= self.bound

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, or why it is not judged."""
        if self.not_judged:
            return f"not judged: {self.not_judged}"
        return "met" if self.met else "missed"

    @property
    def wanted(self) -> str:
        """The bound in words, ``'at least 4.5'``."""
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}{self.unit}"

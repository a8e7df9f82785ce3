"""Medians, quartiles and ratios of the measurements, and the goals that they are compared with."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quartiles:
    """The median, the lower quartile (`low`) and the upper quartile (`high`) of some values."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        quartile_range = "" if self.low == self.high else f" ({self.low:.2f} to {self.high:.2f})"
        return f"{self.median:.2f}{quartile_range}"


def compute_quartiles(values: Sequence[float]) -> Quartiles:
    """Returns the median and the quartiles of one or more values."""
    if len(values) == 1:
        return Quartiles(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Quartiles(median, low, high)


def ratio_quartiles(numerators: Sequence[float], denominators: Sequence[float]) -> Quartiles:
    """Returns the quartiles of the ratios per round. A disturbance that slows a whole round cancels out.

    Args:
        numerators: One value per round.
        denominators: One value per round, in the same order.
    """
    return compute_quartiles(
        [numerator / denominator for numerator, denominator in zip(numerators, denominators, strict=True)]
    )


def difference_quartiles(values: Sequence[float], subtrahends: Sequence[float]) -> Quartiles:
    """Returns the quartiles of the differences per round."""
    return compute_quartiles([value - subtrahend for value, subtrahend in zip(values, subtrahends, strict=True)])


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for the median of a measurement.

    Attributes:
        description: The measured quantity.
        measured: The measurement.
        bound: The bound for its median.
        at_least: Whether `bound` is a lower bound; otherwise it is an upper bound.
        unit: Unit of the measurement and the bound.
        not_judged_reason: Why this measurement cannot be compared with the goal; empty if it can.
    """

    description: str
    measured: Quartiles
    bound: float
    at_least: bool = False
    unit: str = ""
    not_judged_reason: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the median satisfies the bound."""
        median = self.measured.median
        return median >= self.bound if self.at_least else median <= self.bound

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, or ``not judged`` with the reason."""
        if self.not_judged_reason:
            return f"not judged: {self.not_judged_reason}"
        return "met" if self.is_met else "missed"

    @property
    def requirement(self) -> str:
        """The bound as text, for example ``at least 4.5``."""
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}{self.unit}"

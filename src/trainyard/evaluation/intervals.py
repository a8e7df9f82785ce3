"""What a few seeds say of a mean, and of the difference of two: intervals by Student's t."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, or a difference of means, and how sure it is.

    Attributes:
        value: It.
        error: Its standard error.
        low: Where its confidence interval begins.
        high: Where it ends.
        chance: How likely so large a value is, either way, where the true one is 0.
    """

    value: float
    error: float
    low: float
    high: float
    chance: float


def estimate_mean(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Returns the mean of at least two values.

    Args:
        values: Of independent runs.
        confidence: The share of such intervals that hold the true mean.
    """
    error = statistics.stdev(values) / math.sqrt(len(values))
    return _estimate(statistics.mean(values), error, len(values) - 1, confidence)


def estimate_difference(ours: Sequence[float], theirs: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Returns the difference of two means (Welch's t, unequal variances).

    Args:
        ours: At least two values of independent runs.
        theirs: At least two others.
        confidence: The share of such intervals that hold the true difference.

    Returns:
        The difference ours - theirs.
    """
    parts = [statistics.variance(values) / len(values) for values in (ours, theirs)]
    error = math.sqrt(sum(parts))
    sizes = (len(ours) - 1, len(theirs) - 1)
    freedom = error**4 / sum(part**2 / size for part, size in zip(parts, sizes, strict=True)) if error else math.inf
    return _estimate(statistics.mean(ours) - statistics.mean(theirs), error, freedom, confidence)


def _estimate(value: float, error: float, freedom: float, confidence: float) -> Estimate:
    from scipy.stats import t

    if error == 0:
        return Estimate(value, 0.0, value, value, float(value == 0))
    half = float(t.ppf((1 + confidence) / 2, freedom)) * error
    return Estimate(value, error, value - half, value + half, 2 * float(t.sf(abs(value) / error, freedom)))

"""Confidence intervals of a mean, and of the difference of two means, with Student's t-distribution."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated mean, or difference of means, with its uncertainty.

    Attributes:
        value: The estimate.
        standard_error: The standard error of the estimate.
        low: Lower end of the confidence interval.
        high: Upper end of the confidence interval.
        p_value: Two-sided p-value of the null hypothesis that the true value is 0.
    """

    value: float
    standard_error: float
    low: float
    high: float
    p_value: float


def estimate_mean(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Returns the mean of at least two values, with its confidence interval.

    Args:
        values: Results of independent runs.
        confidence: Confidence level, 0 to 1.
    """
    standard_error = statistics.stdev(values) / math.sqrt(len(values))
    return _build_estimate(statistics.mean(values), standard_error, len(values) - 1, confidence)


def estimate_difference(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Returns the difference of two means (Welch's t-test, unequal variances).

    Args:
        first: At least two results of independent runs.
        second: At least two other results.
        confidence: Confidence level, 0 to 1.

    Returns:
        The mean of `first` minus the mean of `second`.
    """
    parts = [statistics.variance(values) / len(values) for values in (first, second)]
    standard_error = math.sqrt(sum(parts))
    sizes = (len(first) - 1, len(second) - 1)
    degrees_of_freedom = (
        standard_error**4 / sum(part**2 / size for part, size in zip(parts, sizes, strict=True))
        if standard_error
        else math.inf
    )
    return _build_estimate(
        statistics.mean(first) - statistics.mean(second), standard_error, degrees_of_freedom, confidence
    )


def _build_estimate(value: float, standard_error: float, degrees_of_freedom: float, confidence: float) -> Estimate:
    """Returns an estimate with confidence interval and p-value, both from Student's t-distribution."""
    from scipy.stats import t

    if standard_error == 0:
        return Estimate(value, 0.0, value, value, float(value == 0))
    half_width = float(t.ppf((1 + confidence) / 2, degrees_of_freedom)) * standard_error
    return Estimate(
        value,
        standard_error,
        value - half_width,
        value + half_width,
        2 * float(t.sf(abs(value) / standard_error, degrees_of_freedom)),
    )

"""Confidence intervals and significance tests of the results of several runs. All functions take plain numbers.

An accuracy is a count of images, so a few runs can have equal values by chance. Where a function has the argument
`step`, the smallest possible difference of two values, the variance of a value is assumed to be at least that of its
rounding error, ``step ** 2 / 12``.

Student's t-distribution is from `scipy.special`, because `scipy.stats` takes a second to import.
"""

from __future__ import annotations

import functools
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

SIGNIFICANCE_LEVEL = 0.05
"""Significance level of all two-sided tests."""
CONFIDENCE_LEVEL = 1 - SIGNIFICANCE_LEVEL
"""Confidence level of the intervals."""
_TOLERANCE = 1e-12
"""Smaller differences are floating-point errors."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated mean, or difference of means, with its standard error and the ends of its confidence interval.

    `p_value` is the two-sided p-value of the null hypothesis that the true value is 0. The standard error is infinite
    if there are too few values.
    """

    value: float
    standard_error: float
    low: float
    high: float
    p_value: float


def estimate_mean(values: Sequence[float], step: float = 0.0, confidence: float = CONFIDENCE_LEVEL) -> Estimate:
    """Returns the mean of at least two values of independent runs, with its confidence interval (Student's t)."""
    standard_error = compute_std(values, step) / math.sqrt(len(values))
    return _build_estimate(statistics.fmean(values), standard_error, len(values) - 1, confidence)


def estimate_difference(
    first: Sequence[float], second: Sequence[float], step: float = 0.0, confidence: float = CONFIDENCE_LEVEL
) -> Estimate:
    """Returns the mean of `first` minus the mean of `second` by Welch's t-test, which allows unequal variances.

    If one of them has a single value, the variance is unknown, and the p-value is 1.
    """
    difference = statistics.fmean(first) - statistics.fmean(second)
    if min(len(first), len(second)) < 2:  # noqa: PLR2004 - a variance needs two values
        return Estimate(difference, math.inf, -math.inf, math.inf, 1.0)
    parts = [(compute_std(values, step) ** 2 / len(values), len(values) - 1) for values in (first, second)]
    variance = sum(part for part, _ in parts)
    # Welch-Satterthwaite equation
    degrees_of_freedom = variance**2 / sum(part**2 / size for part, size in parts) if variance else math.inf
    return _build_estimate(difference, math.sqrt(variance), degrees_of_freedom, confidence)


def compute_std(values: Sequence[float], step: float = 0.0) -> float:
    """Returns the sample standard deviation of at least two values, at least that of rounding to `step`."""
    return math.sqrt(max(statistics.variance(values), step**2 / 12))


def compute_t_quantile(degrees_of_freedom: float, level: float = SIGNIFICANCE_LEVEL) -> float:
    """Returns the limit that the absolute value of Student's t exceeds with probability `level`."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, 1 - level / 2))


def compute_mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Returns the two-sided p-value of McNemar's exact test, or 1 if both counts are 0.

    The counts are the numbers of images that only the first, and only the second model classifies correctly. The null
    hypothesis is that such an image is equally likely to belong to either model.
    """
    from scipy.stats import binomtest

    count = only_first + only_second
    return float(binomtest(only_first, count).pvalue) if count else 1.0


def compute_range_p_value(t: float, count: int, degrees_of_freedom: float) -> float:
    """Returns the p-value of Tukey's range test for a difference of two of `count` means, in standard errors."""
    from scipy.stats import studentized_range

    return float(studentized_range.sf(math.sqrt(2) * abs(t), count, degrees_of_freedom))


@functools.cache
def compute_range_quantile(count: int, degrees_of_freedom: float, level: float = SIGNIFICANCE_LEVEL) -> float:
    """Returns the limit that the range of `count` equal means, in standard errors, exceeds with probability `level`."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - level, count, degrees_of_freedom)) / math.sqrt(2)


def find_step(values: Sequence[float]) -> float:
    """Returns the smallest difference between two distinct values, or 0 if all values are equal."""
    gaps = (upper - lower for lower, upper in itertools.pairwise(sorted(set(values))))
    return min((gap for gap in gaps if gap > _TOLERANCE), default=0.0)


def _build_estimate(value: float, standard_error: float, degrees_of_freedom: float, confidence: float) -> Estimate:
    """Returns an estimate with its confidence interval and p-value."""
    from scipy.special import stdtr

    if standard_error == 0:
        return Estimate(value, 0.0, value, value, float(abs(value) < _TOLERANCE))
    half_width = compute_t_quantile(degrees_of_freedom, 1 - confidence) * standard_error
    p_value = 2 * float(stdtr(degrees_of_freedom, -abs(value) / standard_error))
    return Estimate(value, standard_error, value - half_width, value + half_width, p_value)

"""Confidence intervals and significance tests of the results of several runs. All functions take plain numbers.

An accuracy is a count of images, so a few runs can have equal values by chance. Functions have an argument for the
smallest plausible variance of a value:

- that of the rounding error, ``step ** 2 / 12``, if `step` is the smallest possible difference of two values;
- for an accuracy, `compute_min_accuracy_variance`. It is larger if only a few images are misclassified.

Student's t-distribution is from `scipy.special`, because `scipy.stats` takes a second to import.
"""

from __future__ import annotations

import dataclasses
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
_MIN_NORMAL_COUNT = 10
"""With fewer misclassified images, or fewer correctly classified ones, an accuracy is not approximately normal."""
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


def estimate_mean(values: Sequence[float], min_variance: float = 0.0, confidence: float = CONFIDENCE_LEVEL) -> Estimate:
    """Returns the mean of at least two values of independent runs, with its confidence interval (Student's t)."""
    standard_error = compute_std(values, min_variance) / math.sqrt(len(values))
    return _build_estimate(statistics.fmean(values), standard_error, len(values) - 1, confidence)


def estimate_difference(
    first: Sequence[float],
    second: Sequence[float],
    min_variances: tuple[float, float] = (0.0, 0.0),
    confidence: float = CONFIDENCE_LEVEL,
) -> Estimate:
    """Returns the mean of `first` minus the mean of `second` by Welch's t-test, which allows unequal variances.

    If one of them has a single value, the variance is unknown, and the p-value is 1.
    """
    difference = statistics.fmean(first) - statistics.fmean(second)
    if min(len(first), len(second)) < 2:  # noqa: PLR2004 - a variance needs two values
        return Estimate(difference, math.inf, -math.inf, math.inf, 1.0)
    samples = zip((first, second), min_variances, strict=True)
    parts = [(compute_std(values, least) ** 2 / len(values), len(values) - 1) for values, least in samples]
    variance = sum(part for part, _ in parts)
    # Welch-Satterthwaite equation
    degrees_of_freedom = variance**2 / sum(part**2 / size for part, size in parts) if variance else math.inf
    return _build_estimate(difference, math.sqrt(variance), degrees_of_freedom, confidence)


def estimate_accuracy(accuracies: Sequence[float], images: int, confidence: float = CONFIDENCE_LEVEL) -> Estimate:
    """Returns the mean accuracy of at least two independent runs, each 0..1, with its confidence interval.

    If fewer than ten images per run are misclassified, or classified correctly, accuracies are not approximately
    normal, and the interval of Korn and Graubard is used instead of Student's t (E. L. Korn, B. I. Graubard, Confidence
    intervals for proportions with small expected number of positive counts estimated from survey data, Survey
    Methodology 24, 1998). `images` is the number of test images of each run.
    """
    least = compute_min_accuracy_variance(statistics.fmean(accuracies), len(accuracies), images)
    estimate = estimate_mean(accuracies, least, confidence)
    if has_few_errors(estimate.value, images):
        low, high = _compute_korn_graubard_interval(accuracies, images, 1 - confidence)
    else:
        low, high = max(estimate.low, 0.0), min(estimate.high, 1.0)
    return dataclasses.replace(estimate, low=low, high=high)


def compute_proportion_interval(
    successes: float, failures: float, level: float = SIGNIFICANCE_LEVEL
) -> tuple[float, float]:
    """Returns the confidence interval of Clopper and Pearson of a proportion, 0 to 1, with the confidence 1 - `level`.

    For the accuracy of one trained model, the counts are those of the test images that it classifies correctly and
    wrongly, and the interval is for other images of the same kind.
    """
    from scipy.special import betaincinv

    low = float(betaincinv(successes, failures + 1, level / 2)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - level / 2)) if failures > 0 else 1.0
    return low, high


def estimate_accuracy_difference(first: Sequence[float], second: Sequence[float], images: tuple[int, int]) -> Estimate:
    """Returns the mean of `first` minus the mean of `second`, which are accuracies, by Welch's t-test.

    `images` are the numbers of test images of each run of the first, and of the second.
    """
    least, other_least = (
        compute_min_accuracy_variance(statistics.fmean(accuracies), len(accuracies), count)
        for accuracies, count in zip((first, second), images, strict=True)
    )
    return estimate_difference(first, second, (least, other_least))


def compute_min_accuracy_variance(mean: float, runs: int, images: int) -> float:
    """Returns the smallest plausible variance of an accuracy, given its mean over runs on `images` images each.

    It is that of rounding to whole images. If fewer than ten images per run are misclassified, or classified correctly,
    several runs often give equal counts, so it is the binomial variance. Two correct and two wrong predictions are
    added, so that the variance is not 0 if all predictions are correct (A. Agresti, B. A. Coull, 1998).
    """
    if not has_few_errors(mean, images):
        return compute_rounding_variance(1 / images)
    count = runs * images
    adjusted = (mean * count + 2) / (count + 4)
    return adjusted * (1 - adjusted) / images


def has_few_errors(accuracy: float, images: int) -> bool:
    """Returns whether so few images per run are misclassified, or classified correctly, that counts are not normal."""
    return images * min(accuracy, 1 - accuracy) < _MIN_NORMAL_COUNT - _TOLERANCE * images


def compute_rounding_variance(step: float) -> float:
    """Returns the variance of the error of rounding to multiples of `step`."""
    return step**2 / 12


def compute_std(values: Sequence[float], min_variance: float = 0.0) -> float:
    """Returns the sample standard deviation of at least two values, at least the root of `min_variance`."""
    return math.sqrt(max(statistics.variance(values), min_variance))


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


def _compute_korn_graubard_interval(accuracies: Sequence[float], images: int, level: float) -> tuple[float, float]:
    """Returns the interval of Clopper and Pearson for an effective number of predictions.

    This number is smaller than that of all predictions if the accuracies vary more than independent predictions would,
    and because a few runs do not measure the variance precisely.
    """
    from scipy.special import ndtri

    mean, runs = statistics.fmean(accuracies), len(accuracies)
    binomial_variance = mean * (1 - mean) / images
    excess = max(statistics.variance(accuracies) / binomial_variance, 1.0) if binomial_variance else 1.0
    shrinkage = ndtri(1 - level / 2) / compute_t_quantile(runs - 1, level)
    count = runs * images / excess * shrinkage**2
    return compute_proportion_interval(count * mean, count * (1 - mean), level)


def _build_estimate(value: float, standard_error: float, degrees_of_freedom: float, confidence: float) -> Estimate:
    """Returns an estimate with its confidence interval and p-value."""
    from scipy.special import stdtr

    if standard_error == 0:
        return Estimate(value, 0.0, value, value, float(abs(value) < _TOLERANCE))
    half_width = compute_t_quantile(degrees_of_freedom, 1 - confidence) * standard_error
    p_value = 2 * float(stdtr(degrees_of_freedom, -abs(value) / standard_error))
    return Estimate(value, standard_error, value - half_width, value + half_width, p_value)

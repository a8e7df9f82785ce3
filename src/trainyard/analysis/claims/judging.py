"""Judges whether published values agree with the results of several seeds.

A published value is compared with the prediction interval of one more run. ``docs/claims.md`` defines the criterion,
the significance levels and the verdicts, and lists the error rates.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainyard.evaluation import (
    SIGNIFICANCE_LEVEL,
    compute_min_accuracy_variance,
    compute_t_quantile,
    has_few_errors,
)

MIN_SEEDS = 10
"""With fewer seeds no metric is supported."""
MAX_ACCURACY_HALF_WIDTH, MAX_METRIC_HALF_WIDTH = 0.02, 0.07
"""A metric whose prediction interval has a larger half-width than this is undecided."""

SIMULATIONS = 20_000
"""Number of simulated experiments for the power of the test."""


class Verdict(StrEnum):
    """The verdict on a metric or on a whole claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedMetric:
    """A metric with its published value and the values measured with several seeds.

    Attributes:
        name: ``accuracy``, or a row and a column of the classification report: ``3 f1``.
        decimals: Number of decimals of the published value.
        values: The measured values, one per seed.
        images: Number of test images of the metric: all images, or those of its class.
        is_primary: Whether the metric has its own significance level.
    """

    name: str
    published: float
    decimals: int
    values: tuple[float, ...]
    images: int
    is_primary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement(ClaimedMetric):
    """A metric with its verdict, and the numbers that the verdict is based on.

    Attributes:
        low: Lower end of the prediction interval of one more run, at least 0.
        high: Upper end of the prediction interval of one more run, at most 1.
        rounding_low: Smallest value that rounds to the published value.
        rounding_high: Largest value that rounds to the published value.
        share: Fraction of the seeds whose value rounds to the published value.
    """

    mean: float
    std: float
    low: float
    high: float
    rounding_low: float
    rounding_high: float
    share: float
    verdict: Verdict

    @property
    def published_text(self) -> str:
        """The published value with as many decimals as were published."""
        return f"{self.published:.{self.decimals}f}"

    @property
    def range_text(self) -> str:
        """The smallest and the largest measured value: ``0.9760 to 0.9785``."""
        return f"{min(self.values):.4f} to {max(self.values):.4f}"

    @property
    def interval_text(self) -> str:
        """The prediction interval of one more run: ``0.9750 to 0.9790``."""
        return f"{self.low:.4f} to {self.high:.4f}"


def judge(metrics: Sequence[ClaimedMetric]) -> list[Judgement]:
    """Judges all metrics of a claim, each with at least two measured values. Those not primary share one level."""
    secondary_count = sum(not metric.is_primary for metric in metrics)
    return [
        _judge_metric(metric, SIGNIFICANCE_LEVEL if metric.is_primary else SIGNIFICANCE_LEVEL / secondary_count)
        for metric in metrics
    ]


def compute_prediction_interval(
    values: ArrayLike, level: float, images: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the ends of the interval that contains one more value with probability 1 - level.

    The values are approximately normally distributed. If they are fractions of so few misclassified images that they
    are not, their variance is at least the binomial one, and half an image is added at both ends, because only whole
    images can be counted (continuity correction).

    Args:
        values: float64 (..., values), with at least two independent values along the last axis.
        level: Significance level.
        images: Number of images on which each value was measured. None: the values are not counts of images.
    """
    measured = np.asarray(values)
    count, mean = measured.shape[-1], measured.mean(axis=-1)
    variance, correction = measured.var(axis=-1, ddof=1), 0.0
    if images is not None:
        variance = np.maximum(variance, np.vectorize(compute_min_accuracy_variance, [float])(mean, count, images))
        correction = np.vectorize(has_few_errors, [bool])(mean, images) * 0.5 / images
    half = compute_t_quantile(count - 1, level) * np.sqrt(variance * (1 + 1 / count)) + correction
    return mean - half, mean + half


def compute_contradiction_rate(
    values: NDArray[np.float64],
    published: NDArray[np.float64] | float,
    decimals: int = 2,
    images: int | None = None,
) -> float:
    """Returns the fraction of simulated experiments that contradict a published accuracy.

    Args:
        values: Simulated accuracies, float64 (experiments, seeds), with at least two seeds.
        published: The published value of each experiment, float64 (experiments,), or one value for all experiments.
        decimals: Number of decimals of the published value.
        images: Number of test images, see `compute_prediction_interval`.
    """
    low, high = compute_prediction_interval(values, SIGNIFICANCE_LEVEL, images)
    half = _compute_rounding_error(decimals)
    return float(np.mean((low > published + half) | (high < published - half)))


def _compute_rounding_error(decimals: int) -> float:
    """Returns the largest rounding error. A value with this error may be rounded up or down, so it is included.

    The tolerance for floating-point errors includes both ends of the interval.
    """
    return 0.5 * 10.0**-decimals + 1e-12


def _judge_metric(metric: ClaimedMetric, level: float) -> Judgement:
    """Judges one metric, with two or more values, at the given significance level.

    The interval in the judgement is limited to 0..1.
    """
    low, high = map(float, compute_prediction_interval(metric.values, level, metric.images))
    error = _compute_rounding_error(metric.decimals)
    max_half_width = MAX_ACCURACY_HALF_WIDTH if metric.is_primary else MAX_METRIC_HALF_WIDTH
    if low > metric.published + error or high < metric.published - error:
        verdict = Verdict.CONTRADICTED
    elif len(metric.values) < MIN_SEEDS or (high - low) / 2 > max_half_width:
        verdict = Verdict.UNDECIDED
    else:
        verdict = Verdict.SUPPORTED
    return Judgement(
        **asdict(metric),
        mean=statistics.fmean(metric.values),
        std=statistics.stdev(metric.values),
        low=max(low, 0.0),  # scores are between 0 and 1, although the normal distribution has no limits
        high=min(high, 1.0),
        rounding_low=metric.published - 0.5 * 10**-metric.decimals,
        rounding_high=metric.published + 0.5 * 10**-metric.decimals,
        share=statistics.fmean(abs(value - metric.published) <= error for value in metric.values),
        verdict=verdict,
    )

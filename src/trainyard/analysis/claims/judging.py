"""Judges whether published values agree with the results of several seeds.

A published value is compared with the prediction interval of one more run. ``docs/claims.md`` defines the criterion,
the significance levels and the verdicts, and lists the error rates.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainyard.evaluation import SIGNIFICANCE_LEVEL, compute_t_quantile

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
        step: Smallest possible change of the metric, 1 / number of images. If all seeds give the same value, its
            variance is assumed to be that of rounding to this step, ``step ** 2 / 12``.
        is_primary: Whether the metric has its own significance level.
    """

    name: str
    published: float
    decimals: int
    values: tuple[float, ...]
    step: float
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
    values: ArrayLike, level: float, step: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the ends of the interval that contains one more normally distributed value with probability 1 - level.

    `values`, float64 (..., values), has at least two independent values along the last axis. `step` is their smallest
    possible change, see `ClaimedMetric`.
    """
    measured = np.asarray(values)
    count = measured.shape[-1]
    std = np.maximum(measured.std(axis=-1, ddof=1), step / math.sqrt(12))
    half = compute_t_quantile(count - 1, level) * std * math.sqrt(1 + 1 / count)
    mean = measured.mean(axis=-1)
    return mean - half, mean + half


def compute_contradiction_rate(
    values: NDArray[np.float64], published: NDArray[np.float64] | float, decimals: int = 2, step: float = 0.0
) -> float:
    """Returns the fraction of simulated experiments that contradict a published accuracy.

    Args:
        values: Simulated accuracies, float64 (experiments, seeds), with at least two seeds.
        published: The published value of each experiment, float64 (experiments,), or one value for all experiments.
        decimals: Number of decimals of the published value.
        step: Smallest possible change of the accuracy, see `ClaimedMetric`.
    """
    low, high = compute_prediction_interval(values, SIGNIFICANCE_LEVEL, step)
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
    low, high = map(float, compute_prediction_interval(metric.values, level, metric.step))
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

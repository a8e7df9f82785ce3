"""Tests which points of a ranking differ significantly from the best, by Tukey's range test.

The best point is the best of several results, so its lead is partly due to chance. The range test takes this into
account: its critical value is that of the largest difference between n equal points (J. W. Tukey, The problem of
multiple comparisons, 1953; distribution: `scipy.stats.studentized_range`).

The seed determines the split, the weights and the order of the images, so points with the same seed have the same
random influences. The model is a two-way layout: a value is the sum of an effect of its point, an effect of its seed,
and a residual. Failed trials make the layout incomplete, so the effects are estimated by least squares.

A few values per point do not measure a variance precisely. The variance of the residuals is therefore pooled over the
points from the best to the tested one: points of similar quality have similar variances, whereas those at the bottom of
a sweep often vary much more. If the tested point and the best vary more than that, their own variance is used.

Points are tested from the top to the first that differs significantly. All points below it have a worse mean.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.evaluation.statistics import (
    SIGNIFICANCE_LEVEL,
    compute_range_p_value,
    compute_range_quantile,
    compute_rounding_variance,
)

Values = Mapping[int, float]
"""The results of a point, by seed."""

_MIN_DEGREES_OF_FREEDOM = 8
"""More points are pooled until the variance has as many degrees of freedom, or all points are pooled."""
_MIN_VALUES = 2
"""A variance needs two values."""
_TOLERANCE = 1e-9
"""Smaller relative values of the matrix of seed effects are floating-point errors."""


class Difference(NamedTuple):
    """The difference of two points, the first minus the second, after subtraction of the effects of the seeds.

    The standard error has the degrees of freedom of the pooled variance.
    """

    value: float
    standard_error: float
    degrees_of_freedom: int

    @property
    def t(self) -> float:
        """The difference in standard errors; infinite if a difference has the standard error 0."""
        if self.standard_error:
            return self.value / self.standard_error
        return math.copysign(math.inf, self.value) if self.value else 0.0


class RangeTestResult(StrEnum):
    """What the range test states about a point. Each point of a ranking has exactly one result."""

    BEST = "best"
    TIED = "not significantly worse than the best"
    WORSE = "significantly worse than the best"
    BELOW = "not tested: below a point that is significantly worse"
    TOO_FEW_SEEDS = "not tested: too few seeds"
    PRUNED = "not tested: pruned"
    NOT_COMPARED = "not tested: there is no objective"


def compare_with_best(points: Sequence[Values], step: float = 0.0) -> list[RangeTestResult]:
    """Returns the result of each point, from the first to the first that is significantly worse; then `BELOW`.

    A point has too few seeds if the variance of its difference from the best is unknown.

    Args:
        points: The values of each point, higher is better, in the order of their means, the best first.
        step: The smallest possible difference of two values; 0 if it is unknown.
    """
    layout = TwoWayLayout(points, step)
    results = [RangeTestResult.BEST]
    for position in range(1, len(points)):
        difference = layout.compare_with_first(position)
        if difference is None:
            results.append(RangeTestResult.TOO_FEW_SEEDS)
        elif difference.t < compute_range_quantile(len(points), math.inf):  # saves time: it is the smallest limit
            results.append(RangeTestResult.TIED)
        elif compute_range_p_value(difference.t, len(points), difference.degrees_of_freedom) < SIGNIFICANCE_LEVEL:
            below = len(points) - position - 1
            return [*results, RangeTestResult.WORSE, *[RangeTestResult.BELOW] * below]
        else:
            results.append(RangeTestResult.TIED)
    return results


class TwoWayLayout:
    """The values of points by seed. Each value is the sum of an effect of its point, one of its seed, and a residual.

    Subtracting the mean of each point leaves a linear system in the effects of the seeds, which is extended point by
    point: `matrix` times the effects is `right_side`.
    """

    def __init__(self, points: Sequence[Values], step: float) -> None:
        seeds = sorted({seed for values in points for seed in values})
        self._points = points
        self._rows = {seed: row for row, seed in enumerate(seeds)}
        self._min_variance = compute_rounding_variance(step)
        self._pooled = 0
        self._count = 0
        self._sum_of_squares = 0.0
        self._matrix = np.zeros((len(seeds), len(seeds)))
        self._right_side = np.zeros(len(seeds))

    def compare_with_first(self, position: int) -> Difference | None:
        """Returns the first point minus the point at a position, or None if the variance is unknown.

        The variance is pooled over the points up to this position. Call it for ascending positions.
        """
        while self._pooled <= position:
            self._pool_next()
        inverse, rank = _invert(self._matrix)
        while self._compute_freedom(rank) < _MIN_DEGREES_OF_FREEDOM and self._pooled < len(self._points):
            self._pool_next()
            inverse, rank = _invert(self._matrix)
        first, other = self._points[0], self._points[position]
        value = statistics.fmean(first.values()) - statistics.fmean(other.values())
        factor = 1 / len(first) + 1 / len(other)
        weights = self._build_weights(first) - self._build_weights(other)
        is_connected = np.allclose(self._matrix @ inverse @ weights, weights, atol=_TOLERANCE)
        if is_connected and (freedom := self._compute_freedom(rank)) > 0:
            effects = inverse @ self._right_side
            variance = (self._sum_of_squares - float(self._right_side @ effects)) / freedom
            value -= float(weights @ effects)
            factor += float(weights @ inverse @ weights)
        elif min(len(first), len(other)) >= _MIN_VALUES:  # too few shared seeds to estimate their effects
            freedom = self._compute_freedom(0)
            variance = self._sum_of_squares / freedom
        else:
            return None
        variance = max(variance, _compute_pair_variance(first, other), self._min_variance)
        return Difference(value, math.sqrt(variance * factor), freedom)

    def _pool_next(self) -> None:
        """Adds the next point to the linear system and to the sum of squares."""
        values = self._points[self._pooled]
        rows, mean = [self._rows[seed] for seed in values], statistics.fmean(values.values())
        deviations = np.array([value - mean for value in values.values()])
        self._matrix[rows, rows] += 1
        self._matrix[np.ix_(rows, rows)] -= 1 / len(rows)
        self._right_side[rows] += deviations
        self._sum_of_squares += float(deviations @ deviations)
        self._count += len(rows)
        self._pooled += 1

    def _compute_freedom(self, rank: int) -> int:
        """Returns the degrees of freedom of the residuals. `rank` is the number of independent effects of seeds."""
        return self._count - self._pooled - rank

    def _build_weights(self, values: Values) -> NDArray[np.float64]:
        """Returns the weight of each seed in the mean of a point."""
        weights = np.zeros(len(self._rows))
        weights[[self._rows[seed] for seed in values]] = 1 / len(values)
        return weights


def _invert(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Returns the pseudoinverse and the rank of a symmetric matrix."""
    eigenvalues, vectors = np.linalg.eigh(matrix)
    kept = eigenvalues > _TOLERANCE * max(eigenvalues[-1], 1.0)
    inverse = (vectors[:, kept] / eigenvalues[kept]) @ vectors[:, kept].T
    return inverse, int(kept.sum())


def _compute_pair_variance(first: Values, other: Values) -> float:
    """Returns the variance of a value, estimated only from two points; 0 if they have too few values.

    Over shared seeds it is half the variance of the differences, otherwise the mean of the variances of both points.
    """
    shared = [first[seed] - other[seed] for seed in first.keys() & other.keys()]
    if len(shared) >= _MIN_VALUES:
        return statistics.variance(shared) / 2
    if min(len(first), len(other)) < _MIN_VALUES:
        return 0.0
    parts = [(statistics.variance(values.values()), 1 / len(values)) for values in (first, other)]
    return sum(variance * weight for variance, weight in parts) / sum(weight for _, weight in parts)

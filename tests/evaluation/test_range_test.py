"""Tests of the range test in a two-way layout of points and seeds: against a least-squares fit and Student's t."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from trainyard.evaluation.range_test import RangeTestResult, TwoWayLayout, compare_with_best

BEST, TIED, WORSE, TOO_FEW_SEEDS = (
    RangeTestResult.BEST, RangeTestResult.TIED, RangeTestResult.WORSE, RangeTestResult.TOO_FEW_SEEDS,
)  # fmt: skip


def build_points(values):
    """Returns the values of each point by seed, without NaNs."""
    return [{seed: float(value) for seed, value in enumerate(row) if not np.isnan(value)} for row in values]


def fit_by_least_squares(points):
    """Returns the first point minus the last, its standard error and degrees of freedom, from a full linear model."""
    seeds = sorted({seed for values in points for seed in values})
    rows = [(number, seeds.index(seed), value) for number, row in enumerate(points) for seed, value in row.items()]
    design = np.zeros((len(rows), len(points) + len(seeds)))
    for row, (number, seed, _) in enumerate(rows):
        design[row, [number, len(points) + seed]] = 1
    values, contrast = np.array([value for *_, value in rows]), np.zeros(design.shape[1])
    contrast[[0, len(points) - 1]] = 1, -1
    effects, _, rank, _ = np.linalg.lstsq(design, values)
    freedom = len(rows) - rank
    variance = ((values - design @ effects) ** 2).sum() / freedom
    return contrast @ effects, math.sqrt(variance * contrast @ np.linalg.pinv(design.T @ design) @ contrast), freedom


@pytest.mark.parametrize("missing", [0.0, 0.2, 0.35])
def test_differences_agree_with_a_least_squares_fit(missing):
    """The first and the last point differ by almost the same value for each seed, so the pooled variance is larger."""
    generator = np.random.default_rng(3)
    values = 0.9 + 0.02 * generator.normal(size=5) + 0.01 * generator.normal(size=(7, 5))
    values[6] = values[0] - 0.01 + 1e-4 * generator.normal(size=5)
    values[generator.random((7, 5)) < missing] = np.nan
    points = build_points(values)
    assert TwoWayLayout(points, 0.0).compare_with_first(6) == pytest.approx(fit_by_least_squares(points))


def test_variance_is_pooled_from_the_best_to_the_tested_point():
    """Points 1 to 3 give eight degrees of freedom. Point 4, which varies more, is pooled only when it is tested."""
    generator = np.random.default_rng(0)
    values = np.array([0.5, 0.4, 0.3, 0.2])[:, None] + 0.01 * generator.normal(size=(4, 5))
    values[1] = values[0] - 0.1 + 1e-3 * generator.normal(size=5)
    values[3] += 0.1 * generator.normal(size=5)
    layout = TwoWayLayout(build_points(values), 0.0)
    second, fourth = layout.compare_with_first(1), layout.compare_with_first(3)
    three = values[[0, 2, 1]]
    assert second == pytest.approx(fit_by_least_squares(build_points(three)))
    assert (second.degrees_of_freedom, fourth.degrees_of_freedom) == (8, 12)
    assert fourth.t < second.t


def test_points_that_vary_more_than_the_others_have_their_own_variance():
    generator = np.random.default_rng(1)
    values = 0.9 + 0.001 * generator.normal(size=(6, 5))
    values[5] = [0.5, 0.9, 0.8, 0.4, 0.6]
    difference = TwoWayLayout(build_points(values), 0.0).compare_with_first(5)
    paired = stats.ttest_rel(values[0], values[5])
    assert difference.t == pytest.approx(paired.statistic)
    assert difference.degrees_of_freedom == 20


def test_points_with_separate_seeds_and_unequal_variances_have_the_error_of_welchs_test():
    first, other = [0.91, 0.95, 0.96], [0.90, 0.80]
    points = [dict(enumerate(first)), dict(enumerate(other, 3))]
    expected = stats.ttest_ind(first, other, equal_var=False)
    pooled = stats.ttest_ind(first, other)
    assert TwoWayLayout(points, 0.0).compare_with_first(1).t == pytest.approx(min(expected.statistic, pooled.statistic))


def test_equal_values_have_the_variance_of_rounding():
    """Two seeds of 29 and of 28 of 30 images: the difference of one image is not significant."""
    points = [{0: 29 / 30, 1: 29 / 30}, {0: 28 / 30, 1: 28 / 30}]
    difference = TwoWayLayout(points, 1 / 30).compare_with_first(1)
    assert difference.standard_error == pytest.approx(1 / 30 / math.sqrt(12))  # two rounded values, two seeds
    assert compare_with_best(points, 1 / 30) == [BEST, TIED]
    assert compare_with_best(points) == [BEST, WORSE]


def test_points_that_share_one_seed_are_compared_without_effects_of_seeds():
    points = [{0: 0.9, 1: 0.92}, {1: 0.7, 2: 0.75}]
    difference = TwoWayLayout(points, 0.0).compare_with_first(1)
    expected = stats.ttest_ind([0.9, 0.92], [0.7, 0.75])
    assert (difference.t, difference.degrees_of_freedom) == (pytest.approx(expected.statistic), 2)


def test_point_with_one_value_is_tested_with_the_variance_of_the_others():
    generator = np.random.default_rng(0)
    points = build_points(np.array([0.9, 0.898, 0.896])[:, None] + 0.01 * generator.normal(size=(3, 5)))
    points.append({2: 0.5})
    assert compare_with_best(points) == [BEST, TIED, TIED, WORSE]
    assert compare_with_best([{0: 0.9, 1: 0.91}, {0: 0.1}]) == [BEST, TOO_FEW_SEEDS]


@pytest.mark.parametrize("values", [[{0: 0.9}], [{0: 0.9}, {0: 0.1}, {0: 0.2}], [{0: 0.9, 1: 0.8}, {2: 0.1}]])
def test_points_with_unknown_variances_are_not_tested(values):
    assert compare_with_best(values) == [BEST, *[TOO_FEW_SEEDS] * (len(values) - 1)]

"""Tests of the intervals and significance tests: against scipy, against formulas, and with equal values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from trainyard.evaluation.statistics import (
    Estimate,
    compute_mcnemar_p_value,
    compute_min_accuracy_variance,
    compute_proportion_interval,
    compute_range_p_value,
    compute_range_quantile,
    compute_rounding_variance,
    compute_std,
    compute_t_quantile,
    estimate_accuracy,
    estimate_accuracy_difference,
    estimate_difference,
    estimate_mean,
    find_step,
)

FIRST, SECOND = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9], [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8]
SAMPLES = [(FIRST, SECOND), (SECOND, FIRST), ([0.98, 0.981], [0.97, 0.975, 0.99]), ([1.0, 2.0, 3.0], [7.0, 7.1])]


@pytest.mark.parametrize(("first", "second"), SAMPLES)
@pytest.mark.parametrize("confidence", [0.95, 0.9])
def test_difference_of_means_agrees_with_scipys_welch_test(first, second, confidence):
    estimate = estimate_difference(first, second, confidence=confidence)
    test = stats.ttest_ind(first, second, equal_var=False)
    interval = test.confidence_interval(confidence)
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high))
    assert (estimate.value, estimate.p_value) == pytest.approx((np.mean(first) - np.mean(second), test.pvalue))
    assert estimate.value / estimate.standard_error == pytest.approx(test.statistic)


@pytest.mark.parametrize("values", [FIRST, SECOND, [0.981, 0.979]])
def test_mean_agrees_with_scipys_t_interval(values):
    estimate = estimate_mean(values)
    interval = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx(interval)
    assert estimate.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


@pytest.mark.parametrize(("degrees_of_freedom", "level"), [(1, 0.05), (9, 0.05), (9, 0.05 / 36), (30.5, 0.1)])
def test_quantile_agrees_with_scipy(degrees_of_freedom, level):
    assert compute_t_quantile(degrees_of_freedom, level) == pytest.approx(stats.t.isf(level / 2, degrees_of_freedom))


def test_equal_values_have_the_variance_of_rounding():
    """Simulates the rounding error of counts of 30 images, and computes both tests from it by hand."""
    step, first, second = 1 / 30, [29 / 30] * 2, [28 / 30] * 2
    rounding_errors = np.random.default_rng(0).uniform(-step / 2, step / 2, 1_000_000)
    least = compute_rounding_variance(step)
    assert compute_std(first, least) == pytest.approx(rounding_errors.std(), rel=1e-3)
    welch = estimate_difference(first, second, (least, least))
    error = math.sqrt(2 * step**2 / 12 / 2)  # two rounded values, two seeds
    assert welch.standard_error == pytest.approx(error)
    assert welch.p_value == pytest.approx(2 * stats.t.sf(step / error, 2)) == pytest.approx(0.074, abs=1e-3)
    half_width = stats.t.isf(0.025, 1) * step / math.sqrt(12) / math.sqrt(2)
    mean = estimate_mean(first, least)
    assert (mean.low, mean.high) == pytest.approx((29 / 30 - half_width, 29 / 30 + half_width))


def test_minimum_variance_changes_nothing_if_the_values_vary_more():
    assert estimate_difference(FIRST, SECOND, (1.0, 1.0)) == estimate_difference(FIRST, SECOND)
    assert estimate_mean(FIRST, 1.0) == estimate_mean(FIRST)


def test_equal_values_without_a_minimum_variance_give_an_interval_of_width_zero():
    assert estimate_difference([1.0, 1.0], [1.0, 1.0]) == Estimate(0, 0, 0, 0, 1)
    assert estimate_difference([2.0, 2.0], [1.0, 1.0]) == Estimate(1, 0, 1, 1, 0)
    assert estimate_mean([0.5, 0.5]) == Estimate(0.5, 0, 0.5, 0.5, 0)


@pytest.mark.parametrize(
    ("accuracies", "images", "variance"),
    [
        ([29 / 30] * 2, 30, 60 / 64 * 4 / 64 / 30),
        ([1.0] * 5, 100, 502 / 504 * 2 / 504 / 100),
        ([0.01, 0.03], 100, 6 / 204 * 198 / 204 / 100),
        ([0.9, 0.9], 100, 0.01**2 / 12),
        ([0.98] * 10, 10_000, 0.0001**2 / 12),
    ],
)
def test_accuracy_of_a_small_test_set_has_at_least_the_binomial_variance(accuracies, images, variance):
    assert compute_min_accuracy_variance(np.mean(accuracies), len(accuracies), images) == pytest.approx(variance)


def test_interval_of_an_accuracy_with_many_errors_is_students_interval():
    accuracies = [0.979, 0.981, 0.976, 0.978]
    estimate = estimate_accuracy(accuracies, 10_000)
    interval = stats.ttest_1samp(accuracies, 0).confidence_interval()
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("accuracies", [[0.97, 0.99, 1.0], [1.0, 1.0, 0.93, 0.98], [0.02, 0.0, 0.05]])
def test_interval_of_an_accuracy_with_few_errors_is_that_of_korn_and_graubard(accuracies):
    """The effective number of images is fractional; the interval inverts the tails of the beta distribution."""
    runs, images, mean = len(accuracies), 100, np.mean(accuracies)
    excess = max(np.var(accuracies, ddof=1) / (mean * (1 - mean) / images), 1)
    count = runs * images / excess * (stats.norm.isf(0.025) / stats.t.isf(0.025, runs - 1)) ** 2
    estimate = estimate_accuracy(accuracies, images)
    assert estimate.low == pytest.approx(stats.beta.ppf(0.025, count * mean, count * (1 - mean) + 1))
    assert estimate.high == pytest.approx(stats.beta.ppf(0.975, count * mean + 1, count * (1 - mean)))


def test_interval_of_a_perfect_accuracy_has_a_width():
    """With an effective number of m images, all correct, the lower end is the 2.5 % quantile of their number."""
    estimate = estimate_accuracy([1.0] * 5, 200)
    count = 1000 * (stats.norm.isf(0.025) / stats.t.isf(0.025, 4)) ** 2
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low == pytest.approx(0.025 ** (1 / count))
    wrong = estimate_accuracy([0.0] * 5, 200)
    assert (wrong.low, wrong.high) == (0, pytest.approx(1 - estimate.low))


def test_difference_of_accuracies_with_few_errors_has_the_binomial_error():
    """Two seeds of 29 and of 28 of 30 images."""
    estimate = estimate_accuracy_difference([29 / 30] * 2, [28 / 30] * 2, (30, 30))
    variances = [successes / 64 * (64 - successes) / 64 / 30 for successes in (60, 58)]
    error = math.sqrt(sum(variances) / 2)
    freedom = sum(variances) ** 2 / sum(variance**2 for variance in variances)
    assert estimate.standard_error == pytest.approx(error)
    assert estimate.p_value == pytest.approx(2 * stats.t.sf(1 / 30 / error, freedom))
    assert estimate.p_value > 0.4


def test_single_value_has_an_unknown_variance():
    assert estimate_difference([0.9, 0.91], [0.5]) == Estimate(pytest.approx(0.405), math.inf, -math.inf, math.inf, 1)


def test_step_is_the_smallest_difference_of_distinct_values():
    assert find_step([0.5, 0.53, 0.5, 0.52, 0.52 + 1e-15]) == pytest.approx(0.01)
    assert find_step([0.5, 0.5]) == find_step([]) == 0.0


@pytest.mark.parametrize(("only_first", "only_second"), [(6, 3), (3, 6), (0, 5), (40, 12), (4, 4)])
def test_mcnemar_is_the_exact_binomial_test(only_first, only_second):
    count = only_first + only_second
    tail = sum(math.comb(count, k) for k in range(min(only_first, only_second) + 1)) / 2**count
    assert compute_mcnemar_p_value(only_first, only_second) == pytest.approx(min(2 * tail, 1.0))


def test_mcnemar_without_differences_is_not_significant():
    assert compute_mcnemar_p_value(0, 0) == 1.0


@pytest.mark.parametrize(
    ("count", "degrees_of_freedom", "quantile"), [(3, 10, 3.877), (10, 20, 5.008), (20, 120, 5.126), (2, 4, 3.927)]
)
def test_range_test_agrees_with_published_tables(count, degrees_of_freedom, quantile):
    """The 5 % points of the studentized range (H. L. Harter, 1960). The table's unit is the error of one mean."""
    t = quantile / math.sqrt(2)
    assert compute_range_quantile(count, degrees_of_freedom) == pytest.approx(t, rel=2e-4)
    assert compute_range_p_value(t, count, degrees_of_freedom) == pytest.approx(0.05, abs=1e-4)


def test_range_test_of_two_means_is_students_t_test():
    assert compute_range_p_value(-2.5, 2, 7) == pytest.approx(2 * stats.t.sf(2.5, 7))


@pytest.mark.parametrize(("correct", "images"), [(352, 360), (0, 5), (5, 5), (9_800, 10_000)])
def test_interval_of_a_proportion_is_that_of_clopper_and_pearson(correct, images):
    expected = stats.binomtest(correct, images).proportion_ci(0.95, "exact")
    assert compute_proportion_interval(correct, images - correct) == pytest.approx(expected)

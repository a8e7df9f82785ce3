"""Tests of the simulated error rates, with fewer repeats than on the page in `experiments/error_rates`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from experiments.error_rates.accuracies import Recipe, draw_counts, simulate_coverage, simulate_false_differences
from experiments.error_rates.claims import simulate_true_claims
from experiments.error_rates.ranking import build_equal_sweep, build_sweeps, simulate_sweep
from trainyard.analysis.claims.judging import compute_contradiction_rate


def compute_limit(rate, repeats):
    """Returns the largest plausible fraction of wrong results, if each is wrong with a given probability."""
    return rate + 3 * math.sqrt(rate * (1 - rate) / repeats)


@pytest.mark.parametrize(("points", "seeds"), [(2, 2), (4, 3), (16, 5), (30, 5)])
def test_equal_points_are_rarely_reported_as_worse(points, seeds):
    rates = simulate_sweep(build_equal_sweep(points, seeds), repeats=200)
    assert rates.any_wrong <= compute_limit(0.05, 200)
    assert rates.tied > 0.95 * points


def test_few_points_are_tied_with_the_best_if_the_others_are_worse():
    """Pairwise paired t-tests with Holm's correction leave 14 of the 30 points."""
    (sweep,) = [sweep for sweep in build_sweeps() if sweep.title.startswith("30 points") and sweep.seeds == 5]
    rates = simulate_sweep(sweep, repeats=100)
    assert rates.any_wrong <= compute_limit(0.05, 100)
    assert 4 < rates.tied < 7


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize(("images", "accuracy"), [(30, 0.97), (100, 0.99), (360, 0.98), (1000, 0.999), (10_000, 0.98)])
def test_intervals_contain_the_true_accuracy_and_equal_recipes_rarely_differ(images, accuracy, seeds):
    for spread in (0.0, 1.0):
        recipe = Recipe(images, accuracy, seeds, spread)
        assert 1 - simulate_coverage(recipe, repeats=400) <= compute_limit(0.05, 400)
        assert simulate_false_differences(recipe, repeats=400) <= compute_limit(0.05, 400)


@pytest.mark.parametrize("decimals", [2, 4])
@pytest.mark.parametrize(
    ("images", "accuracy"),
    [(30, 0.98), (30, 0.99), (100, 0.99), (100, 0.995), (360, 0.999), (1000, 0.999), (1000, 0.9)],
)
def test_true_claims_are_rarely_contradicted(images, accuracy, decimals):
    for seeds, spread in ((5, 0.0), (10, 1.0), (20, 0.5)):
        rate = simulate_true_claims(Recipe(images, accuracy, seeds, spread), decimals, repeats=4000)
        assert rate <= compute_limit(0.05, 4000)


def test_wrong_claims_on_small_test_sets_are_contradicted():
    """Ten seeds of 0.98 on 100 images are compared with published accuracies of 0.92 and of 0.90."""
    counts = draw_counts(Recipe(100, 0.98, 10, 0.0), np.random.default_rng(0), 2000)
    rates = [compute_contradiction_rate(counts / 100, published, 2, 100) for published in (0.92, 0.9)]
    assert rates[0] > 0.7
    assert rates[1] > 0.95

"""Simulates accuracies: how often intervals contain the true mean, and how often equal recipes differ significantly."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.evaluation import SIGNIFICANCE_LEVEL, estimate_accuracy, estimate_accuracy_difference
from trainyard.reporting.markdown import Table

REPEATS = 2000
SEEDS = (2, 3, 5, 10)
IMAGES = (30, 100, 360, 1000, 10_000)
ACCURACIES = (0.8, 0.9, 0.97, 0.99, 0.999)
SPREADS = (0.0, 0.5, 1.0)
"""Standard deviations of the true accuracies of the seeds, relative to the standard deviation of one measurement."""


class Recipe(NamedTuple):
    """A recipe: the number of its test images, its true accuracy, its number of seeds, and their relative spread."""

    images: int
    accuracy: float
    seeds: int
    spread: float


def draw_counts(recipe: Recipe, generator: np.random.Generator, repeats: int) -> NDArray[np.int64]:
    """Returns numbers of correctly classified images, int64 (repeats, seeds).

    The true accuracies of the seeds have a beta distribution.
    """
    accuracies: NDArray[np.float64] | float = recipe.accuracy
    if recipe.spread:
        total = recipe.images / recipe.spread**2 - 1
        shape = (repeats, recipe.seeds)
        accuracies = generator.beta(recipe.accuracy * total, (1 - recipe.accuracy) * total, shape)
    return generator.binomial(recipe.images, accuracies, (repeats, recipe.seeds))


def simulate_coverage(recipe: Recipe, repeats: int = REPEATS) -> float:
    """Returns how often the interval of the mean accuracy contains the true accuracy."""

    @functools.cache
    def is_covered(counts: tuple[int, ...]) -> bool:
        estimate = estimate_accuracy([count / recipe.images for count in counts], recipe.images)
        return estimate.low - 1e-12 <= recipe.accuracy <= estimate.high + 1e-12

    counts = np.sort(draw_counts(recipe, np.random.default_rng(0), repeats))
    return float(np.mean([is_covered(tuple(row)) for row in counts.tolist()]))


def simulate_false_differences(recipe: Recipe, repeats: int = REPEATS) -> float:
    """Returns how often the mean accuracies of two equal recipes differ significantly."""

    @functools.cache
    def is_significant(counts: tuple[int, ...], other_counts: tuple[int, ...]) -> bool:
        first, second = ([count / recipe.images for count in row] for row in (counts, other_counts))
        images = (recipe.images, recipe.images)
        return estimate_accuracy_difference(first, second, images).p_value < SIGNIFICANCE_LEVEL

    generator = np.random.default_rng(0)
    first, second = (np.sort(draw_counts(recipe, generator, repeats)).tolist() for _ in range(2))
    rows = zip(first, second, strict=True)
    return float(np.mean([is_significant(tuple(counts), tuple(other_counts)) for counts, other_counts in rows]))


def build_coverage_table() -> Table:
    """Returns the smallest coverage over all spreads, in percent, by images, accuracy and seeds."""
    return _build_table(simulate_coverage, min)


def build_false_difference_table() -> Table:
    """Returns the largest fraction of false differences over all spreads, in percent, by images, accuracy and seeds."""
    return _build_table(simulate_false_differences, max)


def _build_table(simulate: Callable[[Recipe], float], select: Callable[[list[float]], float]) -> Table:
    rows = []
    for images, accuracy in itertools.product(IMAGES, ACCURACIES):
        rates = [select([simulate(Recipe(images, accuracy, seeds, spread)) for spread in SPREADS]) for seeds in SEEDS]
        rows.append([f"{images:,}", f"{accuracy:g}", *(f"{100 * rate:.1f}" for rate in rates)])
    return Table(["images", "true accuracy", *(f"{seeds} seeds" for seeds in SEEDS)], rows)

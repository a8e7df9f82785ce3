"""Simulates claims: how often a true published accuracy is contradicted."""

from __future__ import annotations

import itertools

import numpy as np

from experiments.error_rates.accuracies import ACCURACIES, IMAGES, SPREADS, Recipe, draw_counts
from trainyard.analysis.claims.judging import compute_contradiction_rate
from trainyard.reporting.markdown import Table

REPEATS = 10_000
SEEDS = (5, 10, 20)
DECIMALS = (2, 4)


def simulate_true_claims(recipe: Recipe, decimals: int, repeats: int = REPEATS) -> float:
    """Returns how often the rounded accuracy of one more run is contradicted by the seeds of a recipe."""
    generator = np.random.default_rng(0)
    counts = draw_counts(recipe._replace(seeds=recipe.seeds + 1), generator, repeats)
    measured = counts / recipe.images
    published = measured[:, 0].round(decimals)
    return compute_contradiction_rate(measured[:, 1:], published, decimals, recipe.images)


def build_contradiction_table() -> Table:
    """Returns the largest rate over all spreads, in percent, by images, accuracy, decimals and seeds."""
    rows = []
    for images, accuracy in itertools.product(IMAGES, ACCURACIES):
        rates = [
            max(simulate_true_claims(Recipe(images, accuracy, seeds, spread), decimals) for spread in SPREADS)
            for decimals, seeds in itertools.product(DECIMALS, SEEDS)
        ]
        rows.append([f"{images:,}", f"{accuracy:g}", *(f"{100 * rate:.1f}" for rate in rates)])
    titles = [f"{decimals} decimals, {seeds} seeds" for decimals, seeds in itertools.product(DECIMALS, SEEDS)]
    return Table(["images", "true accuracy", *titles], rows)

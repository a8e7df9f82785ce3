"""The power of the criterion: simulates how often it contradicts a published value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trainyard.analysis.claims.judging import compute_rounding_interval
from trainyard.evaluation import SIGNIFICANCE_LEVEL, compute_t_quantile

SIMULATIONS = 20_000

SampleFunction = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
"""Draws results of runs with further seeds, as an array of the given shape."""


def build_normal_sampler(mean: float, std: float) -> SampleFunction:
    """Returns a function that draws normally distributed results."""
    return lambda generator, shape: generator.normal(mean, std, shape)


def simulate_contradiction_rate(
    draw: SampleFunction,
    seeds: int,
    *,
    published: float | None = None,
    decimals: int = 2,
    step: float = 0.0,
    level: float = SIGNIFICANCE_LEVEL,
) -> float:
    """Returns the fraction of the simulations in which a published value is contradicted.

    Args:
        draw: Draws results of runs.
        seeds: Number of seeds in each simulation, at least two.
        published: The published value. If None, each simulation draws it as one more run and rounds it, so that the
            claim is true.
        decimals: Number of decimals of the published value.
        step: Smallest possible change of the metric, see `ClaimedMetric`.
        level: Significance level of the metric.
    """
    generator = np.random.default_rng(0)
    values = draw(generator, (SIMULATIONS, seeds))
    claimed = (
        np.full(SIMULATIONS, published)
        if published is not None
        else np.round(draw(generator, (SIMULATIONS,)), decimals)
    )
    std = np.maximum(values.std(axis=1, ddof=1), step / 12**0.5)
    half = compute_t_quantile(seeds - 1, level) * std * np.sqrt(1 + 1 / seeds)
    mean = values.mean(axis=1)
    rounding = compute_rounding_interval(0.0, decimals)[1]
    return float(np.mean((mean - half > claimed + rounding) | (mean + half < claimed - rounding)))

"""What the criterion can see: how often it contradicts a figure, by simulation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trainyard.analysis.claims.judging import LEVEL, rounding_interval

REPEATS = 20_000

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
"""Draws values of the shape that it is given: what runs with further seeds come to."""


def normal(mean: float, std: float) -> Draw:
    """Returns what draws normal values."""
    return lambda generator, shape: generator.normal(mean, std, shape)


def share_contradicted(
    draw: Draw, seeds: int, *, published: float | None = None, decimals: int = 2, level: float = LEVEL
) -> float:
    """Returns how often a figure is contradicted by so many seeds.

    Args:
        draw: What runs come to.
        seeds: How many there are each time, at least two.
        published: The figure; None: it is true, a further run of the same kind, rounded.
        decimals: To how many it is rounded.
        level: Of its cell.
    """
    from scipy.special import stdtrit

    generator = np.random.default_rng(0)
    values = draw(generator, (REPEATS, seeds))
    told = np.full(REPEATS, published) if published is not None else np.round(draw(generator, (REPEATS,)), decimals)
    half = stdtrit(seeds - 1, 1 - level / 2) * values.std(axis=1, ddof=1) * np.sqrt(1 + 1 / seeds)
    mean = values.mean(axis=1)
    rounding = rounding_interval(0.0, decimals)[1]
    return float(np.mean((mean - half > told + rounding) | (mean + half < told - rounding)))

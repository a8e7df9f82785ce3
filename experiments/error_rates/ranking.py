"""Simulates rankings: how often a point that is as good as the best is reported as significantly worse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainyard.evaluation import RangeTestResult, compare_with_best
from trainyard.reporting.markdown import Table

REPEATS = 2000
SEED_EFFECT = 1.0
"""Standard deviation of the effects of the seeds, which all points share."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep: the true means of its points, and the standard deviation of the residuals of each point."""

    title: str
    seeds: int
    means: NDArray[np.float64]
    stds: NDArray[np.float64]

    @property
    def n_best(self) -> int:
        """Number of points whose true mean is the highest. They are the first ones."""
        return int((self.means == self.means.max()).sum())


@dataclass(frozen=True, slots=True)
class RankingRates:
    """What happened in the simulated sweeps.

    Attributes:
        any_wrong: Fraction of the sweeps in which at least one of the best points is reported as worse.
        point_wrong: Fraction of the best points that are reported as worse.
        tied: Mean number of points that do not differ significantly from the best.
    """

    any_wrong: float
    point_wrong: float
    tied: float


def simulate_sweep(sweep: Sweep, repeats: int = REPEATS) -> RankingRates:
    """Simulates a sweep with normally distributed results many times."""
    generator = np.random.default_rng(0)
    wrong, tied = np.zeros(repeats, int), np.zeros(repeats, int)
    for repeat in range(repeats):
        residuals = sweep.stds[:, None] * generator.normal(size=(len(sweep.means), sweep.seeds))
        values = sweep.means[:, None] + SEED_EFFECT * generator.normal(size=sweep.seeds) + residuals
        order = np.argsort(-values.mean(axis=1), kind="stable")
        results = compare_with_best([dict(enumerate(values[point].tolist())) for point in order])
        tied[repeat] = sum(result in {RangeTestResult.BEST, RangeTestResult.TIED} for result in results)
        wrong[repeat] = (order[tied[repeat] :] < sweep.n_best).sum()
    return RankingRates(float((wrong > 0).mean()), float(wrong.mean() / sweep.n_best), float(tied.mean()))


def build_equal_sweep(points: int, seeds: int) -> Sweep:
    """Returns a sweep of equal points with the same spread."""
    return Sweep(f"{points} equal points", seeds, np.zeros(points), np.ones(points))


def build_sweeps() -> list[Sweep]:
    """Returns all simulated sweeps."""
    equal, four_best = np.zeros(16), np.repeat([0.0, -5.0], [4, 12])
    two_spreads, one_wide = np.tile([1.0, 3.0], 8), np.repeat([1.0, 5.0], [15, 1])
    worse_vary, best_vary = np.repeat([1.0, 4.0], [4, 12]), np.repeat([3.0, 1.0], [4, 12])
    means = np.linspace(0.923, 0.6, 30) / 0.012
    spreads = np.interp(means * 0.012, [0.6, 0.85, 0.923], [0.113, 0.03, 0.012]) / 0.012
    return [
        *(build_equal_sweep(points, seeds) for points in (2, 4, 16, 30) for seeds in (2, 3, 5, 10)),
        Sweep("16 equal points, half of them with three times the spread", 5, equal, two_spreads),
        Sweep("16 equal points, one of them with five times the spread", 5, equal, one_wide),
        Sweep("4 equal points above 12 others, which vary four times as much", 5, four_best, worse_vary),
        Sweep("4 equal points above 12 others, which vary a third as much", 5, four_best, best_vary),
        *(Sweep("30 points from 0.923 ± 0.012 to 0.600 ± 0.113", seeds, means, spreads) for seeds in (3, 5, 10)),
    ]


def simulate_rankings() -> Table:
    """Returns the table of the simulated sweeps."""
    columns = ["sweep", "seeds", "a given best point is reported as worse, %", "any best point, %", "points marked ≈"]
    rows = []
    for sweep in build_sweeps():
        rates = simulate_sweep(sweep)
        shares = [f"{100 * rates.point_wrong:.1f}", f"{100 * rates.any_wrong:.1f}"]
        rows.append([sweep.title, str(sweep.seeds), *shares, f"{rates.tied:.1f}"])
    return Table(columns, rows)

"""Whether published figures hold, given what a recipe came to with several seeds. The criterion, and how sure it is.

A published figure is an interval: all that rounds to it. It came from one run with a seed that nobody knows. Against
it stands the prediction interval of one more run, from ours by Student's t: ``mean ± t * s * sqrt(1 + 1/n)``, which
holds the next value with the stated probability if the values are normal and independent. The accuracy is the primary
cell and has the level 0.05 for itself; all other cells share another 0.05 (Bonferroni). The number of images of a class
is compared exactly.

*Contradicted*: the two intervals have nothing in common. *Undecided*: fewer than ten seeds, or an interval so wide that
it would contradict nothing. Else *supported*: which says that one run of this recipe may well come to the figure, and
not that the figure is the recipe's mean.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

LEVEL = 0.05
"""How often, at most, a true accuracy is contradicted; and how often, at most, any true cell of all others is."""
LEAST_SEEDS = 10
WIDEST_ACCURACY, WIDEST_CELL = 0.02, 0.07
"""Half-widths of prediction intervals beyond which nothing is decided."""


class Verdict(StrEnum):
    """What is to be said of a figure, or of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A published figure that differs from seed to seed, and what ours were.

    Attributes:
        name: ``accuracy``, or a row and a column of the report: ``3 f1``.
        published: As it was printed.
        decimals: To how many it was rounded.
        values: One per seed.
        step: The least that the figure can change by, as it counts images: 1 / n. A figure that happened to be the same
            for all seeds is taken to vary by the rounding to that, ``step ** 2 / 12``.
        is_primary: Whether it has its level for itself.
    """

    name: str
    published: float
    decimals: int
    values: tuple[float, ...]
    step: float
    is_primary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A cell, judged.

    Attributes:
        cell: It.
        mean: Of the values.
        std: Their standard deviation.
        low: Where the prediction interval of one more run begins.
        high: Where it ends.
        rounding_low: The least that rounds to the published figure.
        rounding_high: The most that does.
        share: Of the seeds that round to it.
        verdict: What is to be said of it.
    """

    cell: Cell
    mean: float
    std: float
    low: float
    high: float
    rounding_low: float
    rounding_high: float
    share: float
    verdict: Verdict


def judge(cells: Sequence[Cell]) -> list[Judgement]:
    """Judges all cells of a claim together, as those that are not primary share a level.

    Args:
        cells: Each with at least two values.
    """
    others = sum(not cell.is_primary for cell in cells)
    return [_judge(cell, LEVEL if cell.is_primary else LEVEL / others) for cell in cells]


def conclude(judgements: Sequence[Judgement], *, same_counts: bool) -> Verdict:
    """Returns what is to be said of a whole claim.

    Args:
        judgements: Of its cells.
        same_counts: Whether the numbers of images are those that were published.
    """
    found = {judgement.verdict for judgement in judgements}
    if not same_counts or Verdict.CONTRADICTED in found:
        return Verdict.CONTRADICTED
    return Verdict.UNDECIDED if Verdict.UNDECIDED in found else Verdict.SUPPORTED


def rounding_interval(published: float, decimals: int) -> tuple[float, float]:
    """Returns the ends of what rounds to a figure, either end counted in: how halves were rounded nobody knows."""
    half = 0.5 * 10**-decimals
    return published - half, published + half


def prediction_interval(values: Sequence[float], level: float, step: float = 0.0) -> tuple[float, float]:
    """Returns where one more value lies, with the probability 1 - level, given at least two normal ones.

    Args:
        values: Independent, of one distribution.
        level: The probability that the next one lies outside.
        step: See `Cell`.
    """
    from scipy.special import stdtrit

    count = len(values)
    std = math.sqrt(max(statistics.variance(values), step**2 / 12))
    half = float(stdtrit(count - 1, 1 - level / 2)) * std * math.sqrt(1 + 1 / count)
    mean = statistics.fmean(values)
    return mean - half, mean + half


def _judge(cell: Cell, level: float) -> Judgement:
    low, high = prediction_interval(cell.values, level, cell.step)
    rounds_low, rounds_high = rounding_interval(cell.published, cell.decimals)
    slack = 1e-12  # of floating point: the ends of both count as within
    if low > rounds_high + slack or high < rounds_low - slack:
        verdict = Verdict.CONTRADICTED
    elif len(cell.values) < LEAST_SEEDS or (high - low) / 2 > (WIDEST_ACCURACY if cell.is_primary else WIDEST_CELL):
        verdict = Verdict.UNDECIDED
    else:
        verdict = Verdict.SUPPORTED
    within = [rounds_low - slack <= value <= rounds_high + slack for value in cell.values]
    return Judgement(
        cell=cell,
        mean=statistics.fmean(cell.values),
        std=statistics.stdev(cell.values),
        low=max(low, 0.0),  # figures lie between 0 and 1, whatever a normal distribution would allow
        high=min(high, 1.0),
        rounding_low=rounds_low,
        rounding_high=rounds_high,
        share=sum(within) / len(within),
        verdict=verdict,
    )

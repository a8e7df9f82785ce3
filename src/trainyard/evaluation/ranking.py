"""Which points of a sweep are best, and which of them can't be told from the best.

A sweep that repeats its points with several seeds says more than an order: how sure the order is. Seeds draw the
split, the weights and the order of the images, so that two points under one seed share its luck; they are compared seed
by seed, by the paired t-test. Where they share fewer than two seeds, as when trials failed, it is Welch's t-test, which
asks for no equal variances. The best is compared with every other point, and among many comparisons some would
look clear by chance, so their p-values are corrected by Holm's step-down procedure (S. Holm, A simple sequentially
rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979).

What that promises: a point that is as good as any other is set apart from the best in fewer than 5 of 100 sweeps. It
would have to lose clearly against one of k - 1 others, each of which may, by its luck, be the one that came first. It
does not promise that no such point at all is set apart: of 16 equal points with 5 seeds one or another is, in about 13
of 100 sweeps. Those that can't be told from the best are the ones to keep; the first may be first among them by luck.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trainyard.evaluation.trials import Trial, TrialResult

LEVEL = 0.05
"""How often, at most, a point may be set apart from the best though it is as good as any; two-sided."""
CONFIDENCE = 0.95
"""The share of intervals that hold the true mean."""
TEST_METRICS = ("accuracy/test", "loss/test", "f1_macro/test")
_LESS_IS_BETTER = {"loss", "error", "errors", "ece", "mae", "mse", "rmse", "nll", "perplexity", "time", "seconds"}
_SHARES = ("accuracy", "f1", "precision", "recall", "roc_auc", "balanced_accuracy")
SHOWN_TIED = 3
"""So many of the places that can't be told apart are named in the verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One point in the ranking: all its trials that came to their end.

    Attributes:
        point: Its number in the plan.
        label: What distinguishes it from other points; the seed is left out.
        varied: The swept settings with its values, without the seed.
        trials: Its trials and what they came to, in the order of the plan.
        values: The objective of each; none where nothing is compared.
        mean: Of the values; None where there are none.
        std: Their standard deviation; None for fewer than two.
        low: Where the 95 % interval of the mean begins (Student's t); None for fewer than two.
        high: Where it ends.
        parameters: The size of the model.
        metrics: The means of the test metrics.
        seconds: The mean time of a trial.
        tied: Whether it can't be told from the best, which the best itself can't.
    """

    point: int
    label: str
    varied: Mapping[str, Any]
    trials: tuple[tuple[Trial, TrialResult], ...] = field(repr=False)
    values: tuple[float, ...]
    mean: float | None
    std: float | None
    low: float | None
    high: float | None
    parameters: int
    metrics: Mapping[str, float]
    seconds: float
    tied: bool = False

    @property
    def n(self) -> int:
        """How many trials came to their end."""
        return len(self.trials)

    @property
    def by_seed(self) -> dict[int, float]:
        """The objective under each seed."""
        return {trial.seed: value for (trial, _), value in zip(self.trials, self.values, strict=False)}

    def describe(self) -> str:
        """Returns the mean, and the standard deviation where there is one: ``0.9812 ± 0.0007``."""
        if self.mean is None:
            return ""
        digits = decimals(self.mean)
        return f"{self.mean:.{digits}f}" + ("" if self.std is None else f" ± {self.std:.{digits}f}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The points of a sweep, the best first; in the order of the plan where nothing is compared.

    Attributes:
        objective: What is compared, or None.
        places: One per point with a trial that came to its end.
        tied: How many of the first places can't be told from the best, itself included; 0 where nothing is compared. A
            place further down may be `tied` as well, where it varies much or has one seed.
    """

    objective: str | None
    places: list[Place]
    tied: int

    @property
    def repeated(self) -> bool:
        """Whether any point was tried with several seeds, so that there is something to tell by."""
        return any(place.n > 1 for place in self.places)

    def verdict(self, advice: str = "Add sweep.seeds=5 to tell.") -> str:
        """Returns what the ranking comes to, in a few plain sentences.

        Args:
            advice: What to do where one seed each tells nothing.
        """
        count = len(self.places)
        if not count:
            return "No trial came to its end."
        if self.objective is None:
            return f"Nothing is compared, as sweep.objective is off; {_points(count)} in the order of the plan."
        best = self.places[0]
        figure = f"{self.objective} {best.describe()} (n {best.n})"
        if count == 1:
            return f"{best.label} is the only point: {figure}."
        if not self.repeated:
            return (
                f"{best.label} comes first: {self.objective} {best.describe()}. "
                f"One seed each: differences of this size may be chance. {advice}"
            )
        further = [number for number, place in enumerate(self.places, 1) if place.tied and number > self.tied]
        if self.tied == 1:
            first = f"{best.label} is {'first' if further else 'best'}: {figure}."
        else:
            which = f"All {count:,}" if self.tied == count else f"The first {self.tied:,}"
            named = [f"{place.label} ({place.describe()})" for place in self.places[1 : min(self.tied, SHOWN_TIED)]]
            named.insert(0, f"{best.label} ({self.objective} {best.describe()})")
            more = f" and {self.tied - SHOWN_TIED:,} more" if self.tied > SHOWN_TIED else ""
            first = f"{which} can't be told apart at {100 * LEVEL:g} %: {', '.join(named)}{more}."
        if not further:
            return first
        which = f"Place {further[0]}" if len(further) == 1 else f"{len(further):,} places further down"
        return f"{first} {which} can't be told from the best either, with few seeds or values far apart."


def rank(trials: Sequence[tuple[Trial, TrialResult]], objective: str | None) -> Ranking:
    """Ranks the points of a sweep by the mean of the objective over their seeds.

    Args:
        trials: Those that came to their end, with what they came to; in any order.
        objective: What is compared; `higher_is_better` says which way. None: nothing is.

    Raises:
        ValueError: If there is an objective and a trial has no value of it.
    """
    points: dict[int, list[tuple[Trial, TrialResult]]] = {}
    for pair in sorted(trials, key=lambda pair: pair[0].number):
        points.setdefault(pair[0].point, []).append(pair)
    places = [_make_place(pairs, objective) for _, pairs in sorted(points.items())]
    if objective is None or not places:
        return Ranking(objective=objective, places=places, tied=0)
    sign = -1 if higher_is_better(objective) else 1
    best, *others = sorted(places, key=lambda place: sign * statistics.fmean(place.values))
    step = _resolution([value for place in places for value in place.values])
    found = [compare(place, best, step) for place in others]
    chances = adjust_by_holm([comparison.chance for comparison in found])
    ranked = [dataclasses.replace(best, tied=True)]
    for place, comparison, chance in zip(others, found, chances, strict=True):
        set_apart = chance < LEVEL and sign * comparison.difference > 0
        ranked.append(dataclasses.replace(place, tied=not set_apart))
    tied = sum(1 for _ in itertools.takewhile(lambda place: place.tied, ranked))
    return Ranking(objective=objective, places=ranked, tied=tied)


def higher_is_better(metric: str) -> bool:
    """Returns whether more of it is better: of an accuracy or an F1, not of a loss, an error or a time, by its name."""
    return not _LESS_IS_BETTER & set(re.split(r"[^a-z]+", metric.lower()))


def is_share(metric: str) -> bool:
    """Returns whether it is a share, from 0 to 1, by its name: an accuracy, an F1, a precision, a recall."""
    return metric.startswith(_SHARES)


def decimals(value: float) -> int:
    """Returns how many digits after the point show a value: four, and more where it is small."""
    return 4 if value == 0 or abs(value) >= 0.1 else min(3 - math.floor(math.log10(abs(value))), 10)  # noqa: PLR2004


def _points(count: int) -> str:
    return "the only point stands" if count == 1 else f"the {count:,} points stand"


def _make_place(pairs: Sequence[tuple[Trial, TrialResult]], objective: str | None) -> Place:
    """Returns a point without its standing."""
    trials, results = zip(*pairs, strict=True)
    values = [result.objective for result in results] if objective is not None else []
    known = tuple(value for value in values if value is not None)
    if len(known) < len(values):
        missing = ", ".join(str(trial.number) for trial, value in zip(trials, values, strict=True) if value is None)
        raise ValueError(f"expected a value of {objective} from every trial, and there is none from {missing}")
    mean, std, low, high = _spread(known)
    if low is not None and high is not None:
        # few seeds give wide intervals, but there is no accuracy above 1, and no loss below 0
        low = max(low, 0.0) if min(known) >= 0 else low
        high = min(high, 1.0) if objective and is_share(objective) and max(known) <= 1 else high
    return Place(
        point=trials[0].point,
        label=_common_label(trials),
        varied={path: value for path, value in trials[0].varied.items() if path != "seed"},
        trials=tuple(pairs),
        values=known,
        mean=mean,
        std=std,
        low=low,
        high=high,
        parameters=results[0].parameters,
        metrics={
            name: statistics.fmean(result.metrics[name] for result in results)
            for name in TEST_METRICS
            if all(name in result.metrics for result in results)
        },
        seconds=statistics.fmean(result.seconds for result in results),
    )


def _common_label(trials: Sequence[Trial]) -> str:
    """Returns the words that the labels of a point's trials share; its number where nothing but the seed varies."""
    labels = [trial.label.split() for trial in trials]
    seeds = {f"seed{between}{trials[0].seed}" for between in ("", "=")}
    words = [word for word in labels[0] if word not in seeds and all(word in label for label in labels)]
    return " ".join(words) or f"point {trials[0].point}"


# ------------------------------------------------------------------------------------------------------------
# Statistics


def _spread(values: Sequence[float]) -> tuple[float | None, float | None, float | None, float | None]:
    """Returns the mean, the standard deviation and the ends of the mean's interval, as far as they are known."""
    if len(values) < 2:  # noqa: PLR2004 - one value tells nothing of a spread
        return (values[0] if values else None), None, None, None
    from scipy.special import stdtrit

    mean, std = statistics.fmean(values), statistics.stdev(values)
    half = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * std / math.sqrt(len(values))
    return mean, std, mean - half, mean + half


class Comparison(NamedTuple):
    """The difference of two means, and its two-sided p-value: how likely so large a one is where there is none."""

    difference: float
    chance: float


def compare(one: Place, other: Place, step: float = 0.0) -> Comparison:
    """Returns the difference of two points, one - other, and its p-value.

    The paired t-test over the seeds that they share, at least two; else Welch's, over all.

    Args:
        one: A point.
        other: Another.
        step: The smallest difference that the objective can show. Accuracies are counts of images, and few of them may
            agree by chance as if they never varied; so a value is taken to have at least the variance of its rounding,
            ``step ** 2 / 12``.

    Returns:
        The difference of what was compared; the p-value is 1 where neither test can be made.
    """
    rounding = step**2 / 12
    shared = one.by_seed.keys() & other.by_seed.keys()
    if len(shared) > 1:
        differences = [one.by_seed[seed] - other.by_seed[seed] for seed in shared]
        error = math.sqrt(max(statistics.variance(differences), 2 * rounding) / len(differences))
        return _two_sided(statistics.fmean(differences), error, len(differences) - 1)
    difference = statistics.fmean(one.values) - statistics.fmean(other.values)
    if min(one.n, other.n) < 2:  # noqa: PLR2004 - one value tells nothing of a spread
        return Comparison(difference, 1.0)
    parts = [max(statistics.variance(place.values), rounding) / place.n for place in (one, other)]
    if sum(parts) == 0:  # all values of both are one
        return Comparison(difference, 1.0)
    freedom = sum(parts) ** 2 / sum(part**2 / (place.n - 1) for part, place in zip(parts, (one, other), strict=True))
    return _two_sided(difference, math.sqrt(sum(parts)), freedom)


def lead(ranking: Ranking) -> Comparison:
    """Returns the comparison of the first two places of a ranking with an objective; see `compare`."""
    values = [value for place in ranking.places for value in place.values]
    return compare(ranking.places[0], ranking.places[1], _resolution(values))


def _two_sided(difference: float, error: float, freedom: float) -> Comparison:
    """Returns a difference with its p-value, from its standard error."""
    from scipy.special import stdtr

    if error == 0:
        return Comparison(difference, float(difference == 0))
    return Comparison(difference, 2 * float(stdtr(freedom, -abs(difference) / error)))


def adjust_by_holm(chances: Sequence[float]) -> list[float]:
    """Returns p-values corrected for their number (Holm, 1979): the smallest times n, the next times n - 1, and so on.

    None comes out smaller than one that was smaller before, and none larger than 1.
    """
    adjusted, largest = [0.0] * len(chances), 0.0
    for place, index in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        largest = max(largest, min((len(chances) - place) * chances[index], 1.0))
        adjusted[index] = largest
    return adjusted


def _resolution(values: Sequence[float]) -> float:
    """Returns the smallest difference between two of the values; 0 where all are one."""
    gaps = (upper - lower for lower, upper in itertools.pairwise(sorted(set(values))))
    return min((gap for gap in gaps if gap > 1e-12), default=0.0)  # noqa: PLR2004 - less is an error of rounding

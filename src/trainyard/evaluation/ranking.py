"""Ranks the points of a sweep and determines which of them do not differ significantly from the best.

With several seeds per point a sweep shows not only an order but also how certain it is. The seed determines the split,
the weights and the order of the images, so two points with the same seed have the same random influences and are
compared by a paired t-test. Points that share fewer than two seeds, for example because trials failed, are compared by
Welch's t-test, which does not assume equal variances. The best point is compared with every other point. Some of these
comparisons would be significant by chance, so the p-values are corrected by Holm's step-down procedure (S. Holm, A
simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979).

What this guarantees: a point that is as good as any other is reported as significantly worse in fewer than 5 of 100
sweeps. It does not guarantee that no such point is reported: among 16 equal points with 5 seeds, at least one is, in
about 13 of 100 sweeps, because the best is selected among all of them. Keep all points that do not differ significantly
from the best; their order may be due to chance.
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

SIGNIFICANCE_LEVEL = 0.05
"""Significance level of the two-sided tests."""
CONFIDENCE_LEVEL = 0.95
"""Confidence level of the intervals of the means."""
TEST_METRICS = ("accuracy/test", "loss/test", "f1_macro/test")
_LOWER_IS_BETTER = {"loss", "error", "errors", "ece", "mae", "mse", "rmse", "nll", "perplexity", "time", "seconds"}
_PROPORTIONS = ("accuracy", "f1", "precision", "recall", "roc_auc", "balanced_accuracy")
MAX_NAMED_TIED = 3
"""Maximum number of tied points that the verdict names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedPoint:
    """A point in the ranking, with all its finished trials.

    Attributes:
        point: Number of the point in the plan.
        label: Label of the point, without the seed.
        varied: Values of the swept settings, without the seed.
        trials: Finished trials with their results, in plan order.
        values: Objective of each trial. Empty if nothing is compared.
        mean: Mean of the values, or None if there are none.
        std: Sample standard deviation of the values, or None for fewer than two.
        low: Lower end of the 95 % confidence interval of the mean (Student's t), or None for fewer than two values.
        high: Upper end of the interval.
        parameters: Number of model parameters.
        metrics: Means of the test metrics.
        seconds: Mean duration of a trial.
        tied: Whether the point does not differ significantly from the best. True for the best itself.
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
        """Number of finished trials."""
        return len(self.trials)

    @property
    def by_seed(self) -> dict[int, float]:
        """Objective by seed."""
        return {trial.seed: value for (trial, _), value in zip(self.trials, self.values, strict=False)}

    def describe(self) -> str:
        """Returns the mean and, if known, the standard deviation: ``0.9812 ± 0.0007``."""
        if self.mean is None:
            return ""
        digits = count_decimals(self.mean)
        return f"{self.mean:.{digits}f}" + ("" if self.std is None else f" ± {self.std:.{digits}f}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The points of a sweep, best first, or in plan order if nothing is compared.

    Attributes:
        objective: Metric that is compared, or None.
        points: The points that have a finished trial.
        n_tied: Number of points at the top that do not differ significantly from the best, including the best; 0 if
            nothing is compared. A lower point can be `tied` as well, if it has a large spread or only one seed.
    """

    objective: str | None
    points: list[RankedPoint]
    n_tied: int

    @property
    def has_repeats(self) -> bool:
        """Whether any point has several finished trials, so that differences can be tested."""
        return any(point.n > 1 for point in self.points)

    def format_verdict(self, advice: str = "Add sweep.seeds=5 to test them.") -> str:
        """Returns a summary of the ranking in a few sentences.

        Args:
            advice: What the user should do if every point has only one seed.
        """
        count = len(self.points)
        if not count:
            return "No trial finished."
        if self.objective is None:
            return f"sweep.objective is off, so nothing is compared; {_format_listed_points(count)} in plan order."
        best = self.points[0]
        result = f"{self.objective} {best.describe()} (n {best.n})"
        if count == 1:
            return f"{best.label} is the only point: {result}."
        if not self.has_repeats:
            return (
                f"{best.label} ranks first: {self.objective} {best.describe()}. "
                f"Each point has one seed, so the differences may be due to chance. {advice}"
            )
        lower = [number for number, point in enumerate(self.points, 1) if point.tied and number > self.n_tied]
        if self.n_tied == 1:
            top = f"{best.label} is {'first' if lower else 'best'}: {result}."
        else:
            subject = f"All {count:,}" if self.n_tied == count else f"The first {self.n_tied:,}"
            named = [
                f"{point.label} ({point.describe()})" for point in self.points[1 : min(self.n_tied, MAX_NAMED_TIED)]
            ]
            named.insert(0, f"{best.label} ({self.objective} {best.describe()})")
            suffix = f" and {self.n_tied - MAX_NAMED_TIED:,} more" if self.n_tied > MAX_NAMED_TIED else ""
            top = (
                f"{subject} do not differ significantly ({100 * SIGNIFICANCE_LEVEL:g} % level): "
                f"{', '.join(named)}{suffix}."
            )
        if not lower:
            return top
        subject = f"Rank {lower[0]} does" if len(lower) == 1 else f"{len(lower):,} lower ranks do"
        return f"{top} {subject} not differ significantly from the best either, due to few seeds or a large spread."


def rank(trials: Sequence[tuple[Trial, TrialResult]], objective: str | None) -> Ranking:
    """Ranks the points of a sweep by the mean of the objective over their seeds.

    Args:
        trials: Finished trials with their results, in any order.
        objective: Metric that is compared in the direction of `higher_is_better`, or None to compare nothing.

    Raises:
        ValueError: If there is an objective and a trial has no value for it.
    """
    by_point: dict[int, list[tuple[Trial, TrialResult]]] = {}
    for pair in sorted(trials, key=lambda pair: pair[0].number):
        by_point.setdefault(pair[0].point, []).append(pair)
    points = [_build_point(pairs, objective) for _, pairs in sorted(by_point.items())]
    if objective is None or not points:
        return Ranking(objective=objective, points=points, n_tied=0)
    sign = -1 if higher_is_better(objective) else 1
    best, *other_points = sorted(points, key=lambda point: sign * statistics.fmean(point.values))
    step = _find_resolution([value for point in points for value in point.values])
    comparisons = [compare_points(point, best, step) for point in other_points]
    p_values = adjust_by_holm([comparison.p_value for comparison in comparisons])
    ranked = [dataclasses.replace(best, tied=True)]
    for point, comparison, p_value in zip(other_points, comparisons, p_values, strict=True):
        significantly_worse = p_value < SIGNIFICANCE_LEVEL and sign * comparison.difference > 0
        ranked.append(dataclasses.replace(point, tied=not significantly_worse))
    n_tied = sum(1 for _ in itertools.takewhile(lambda point: point.tied, ranked))
    return Ranking(objective=objective, points=ranked, n_tied=n_tied)


def higher_is_better(metric: str) -> bool:
    """Returns whether higher values of a metric are better, judged by its name. False for losses, errors and times."""
    return not _LOWER_IS_BETTER & set(re.split(r"[^a-z]+", metric.lower()))


def is_proportion(metric: str) -> bool:
    """Returns whether a metric is a proportion between 0 and 1, judged by its name: accuracy, F1, precision, recall."""
    return metric.startswith(_PROPORTIONS)


def count_decimals(value: float) -> int:
    """Returns the number of decimals to show for a value: four, or more if the value is small."""
    return 4 if value == 0 or abs(value) >= 0.1 else min(3 - math.floor(math.log10(abs(value))), 10)  # noqa: PLR2004


def _format_listed_points(count: int) -> str:
    """Returns the number of listed points as a clause: ``the 12 points are listed``."""
    return "the only point is listed" if count == 1 else f"the {count:,} points are listed"


def _build_point(pairs: Sequence[tuple[Trial, TrialResult]], objective: str | None) -> RankedPoint:
    """Returns a point with its statistics. `tied` is not set yet."""
    trials, results = zip(*pairs, strict=True)
    values = [result.objective for result in results] if objective is not None else []
    valid = tuple(value for value in values if value is not None)
    if len(valid) < len(values):
        missing = ", ".join(str(trial.number) for trial, value in zip(trials, values, strict=True) if value is None)
        raise ValueError(f"expected a value of {objective} for every trial, but these trials have none: {missing}")
    mean, std, low, high = _compute_statistics(valid)
    if low is not None and high is not None:
        # few seeds give wide intervals, but no accuracy is above 1 and no loss is below 0
        low = max(low, 0.0) if min(valid) >= 0 else low
        high = min(high, 1.0) if objective and is_proportion(objective) and max(valid) <= 1 else high
    return RankedPoint(
        point=trials[0].point,
        label=_find_common_label(trials),
        varied={path: value for path, value in trials[0].varied.items() if path != "seed"},
        trials=tuple(pairs),
        values=valid,
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


def _find_common_label(trials: Sequence[Trial]) -> str:
    """Returns the words that all labels of a point's trials share, or the number of the point if there are none."""
    labels = [trial.label.split() for trial in trials]
    seeds = {f"seed{between}{trials[0].seed}" for between in ("", "=")}
    words = [word for word in labels[0] if word not in seeds and all(word in label for label in labels)]
    return " ".join(words) or f"point {trials[0].point}"


# ------------------------------------------------------------------------------------------------------------
# Statistics


def _compute_statistics(values: Sequence[float]) -> tuple[float | None, float | None, float | None, float | None]:
    """Returns mean, standard deviation, and lower and upper end of the mean's interval; None for unknown ones."""
    if len(values) < 2:  # noqa: PLR2004 - a spread needs two values
        return (values[0] if values else None), None, None, None
    from scipy.special import stdtrit

    mean, std = statistics.fmean(values), statistics.stdev(values)
    margin = float(stdtrit(len(values) - 1, (1 + CONFIDENCE_LEVEL) / 2)) * std / math.sqrt(len(values))
    return mean, std, mean - margin, mean + margin


class PointComparison(NamedTuple):
    """The difference of two means, and its two-sided p-value."""

    difference: float
    p_value: float


def compare_points(first: RankedPoint, second: RankedPoint, step: float = 0.0) -> PointComparison:
    """Returns the difference of two points, first - second, and its p-value.

    Uses the paired t-test over the shared seeds if there are at least two, else Welch's t-test over all seeds.

    Args:
        first: A point.
        second: Another point.
        step: Resolution of the objective, its smallest possible difference. An accuracy is a count of images, so a few
            values can be equal by chance. The variance of a value is therefore assumed to be at least the variance of
            its rounding error, ``step ** 2 / 12``.

    Returns:
        The difference and its p-value. The p-value is 1 if neither test can be computed.
    """
    rounding = step**2 / 12
    shared = first.by_seed.keys() & second.by_seed.keys()
    if len(shared) > 1:
        differences = [first.by_seed[seed] - second.by_seed[seed] for seed in shared]
        error = math.sqrt(max(statistics.variance(differences), 2 * rounding) / len(differences))
        return _compute_two_sided_test(statistics.fmean(differences), error, len(differences) - 1)
    difference = statistics.fmean(first.values) - statistics.fmean(second.values)
    if min(first.n, second.n) < 2:  # noqa: PLR2004 - a spread needs two values
        return PointComparison(difference, 1.0)
    variances = [max(statistics.variance(point.values), rounding) / point.n for point in (first, second)]
    if sum(variances) == 0:  # all values are equal
        return PointComparison(difference, 1.0)
    degrees_of_freedom = sum(variances) ** 2 / sum(  # Welch-Satterthwaite equation
        variance**2 / (point.n - 1) for variance, point in zip(variances, (first, second), strict=True)
    )
    return _compute_two_sided_test(difference, math.sqrt(sum(variances)), degrees_of_freedom)


def compare_first_two(ranking: Ranking) -> PointComparison:
    """Compares the first two points of a ranking that has an objective; see `compare_points`."""
    values = [value for point in ranking.points for value in point.values]
    return compare_points(ranking.points[0], ranking.points[1], _find_resolution(values))


def _compute_two_sided_test(difference: float, error: float, degrees_of_freedom: float) -> PointComparison:
    """Returns a difference with its p-value, computed from its standard error."""
    from scipy.special import stdtr

    if error == 0:
        return PointComparison(difference, float(difference == 0))
    return PointComparison(difference, 2 * float(stdtr(degrees_of_freedom, -abs(difference) / error)))


def adjust_by_holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values with Holm's correction (1979): the smallest times n, the next times n - 1, and so on.

    The correction keeps the order of the p-values, and no corrected value exceeds 1.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for position, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min((len(p_values) - position) * p_values[index], 1.0))
        adjusted[index] = largest
    return adjusted


def _find_resolution(values: Sequence[float]) -> float:
    """Returns the smallest difference between two distinct values, or 0 if all values are equal."""
    gaps = (upper - lower for lower, upper in itertools.pairwise(sorted(set(values))))
    return min((gap for gap in gaps if gap > 1e-12), default=0.0)  # noqa: PLR2004 - smaller gaps are rounding errors

"""Ranks the points of a sweep and determines which of them do not differ significantly from the best.

With several seeds per point a sweep shows not only an order but also how certain it is: `range_test` compares the best
point with those below it, down to the first that is significantly worse. Keep all points above it; their order may be
due to chance. ``docs/sweeps.md`` lists simulated error rates.
"""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainyard.evaluation.range_test import TwoWayLayout, Values, count_tied
from trainyard.evaluation.statistics import (
    SIGNIFICANCE_LEVEL,
    compute_range_p_value,
    compute_rounding_variance,
    estimate_accuracy,
    estimate_mean,
    find_step,
)

TEST_METRICS = ("accuracy/test", "loss/test", "f1_macro/test")
_LOWER_IS_BETTER = {"loss", "error", "errors", "ece", "mae", "mse", "rmse", "nll", "perplexity", "time", "seconds"}
_PROPORTIONS = ("accuracy", "f1", "precision", "recall", "roc_auc", "balanced_accuracy")
MAX_NAMED_TIED = 3
"""Maximum number of tied points that the verdict names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedRun:
    """A finished run that is ranked: a trial of a sweep, or a run of a comparison.

    Attributes:
        number: Number of the run. Runs are listed in this order.
        point: Number of the point. Runs that differ only in the seed share it.
        label: Label of the point, without the seed. If it is empty, the point is called by its number.
        varied: Values of the varied settings by path. The seed is ignored.
        value: Metric by which the points are ranked, or None if nothing is compared.
        history: Metrics of each epoch. Empty if no learning curve is drawn.
        run_id: MLflow run ID, or None if tracking is off.
    """

    number: int
    point: int
    label: str
    varied: Mapping[str, Any]
    seed: int
    value: float | None
    metrics: Mapping[str, float]
    history: Sequence[Mapping[str, float]] = ()
    seconds: float
    run_id: str | None
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedPoint:
    """A point in the ranking, with all its finished runs.

    Attributes:
        varied: Values of the varied settings by path, without the seed.
        values: Objective of each run. Empty if nothing is compared.
        mean: Mean of the values, or None if there are none.
        std: Sample standard deviation of the values, or None for fewer than two.
        low: Lower end of the 95 % confidence interval of the mean. `high` is the upper end. Both are None for fewer
            than two values, and if all runs of the ranking have the same value.
        metrics: Means of the test metrics.
        is_pruned: Whether the sweep stopped the point before all its seeds had finished.
        tied: Whether the point does not differ significantly from the best. True for the best itself. False for points
            below the first that is significantly worse and pruned points below the best, which are not tested.
    """

    point: int
    label: str
    varied: Mapping[str, Any]
    runs: Sequence[RankedRun] = field(repr=False)
    values: tuple[float, ...]
    mean: float | None
    std: float | None
    low: float | None
    high: float | None
    parameters: int
    metrics: Mapping[str, float]
    seconds: float
    is_pruned: bool = False
    tied: bool = False

    @property
    def n(self) -> int:
        """Number of finished runs."""
        return len(self.runs)

    @property
    def by_seed(self) -> dict[int, float]:
        """Objective by seed."""
        return {run.seed: value for run, value in zip(self.runs, self.values, strict=False)}

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
        points: The points that have a finished run. Pruned points are below all others.
        n_tied: Number of points at the top that do not differ significantly from the best, including the best; 0 if
            nothing is compared.
    """

    objective: str | None
    points: list[RankedPoint]
    n_tied: int

    @property
    def has_repeats(self) -> bool:
        """Whether any point has several finished runs, so that differences can be tested."""
        return any(point.n > 1 for point in self.points)

    def format_verdict(self, advice: str = "Add sweep.seeds=5 to test them.") -> str:
        """Returns a summary in a few sentences. `advice` is what to do if every point has only one seed."""
        complete = [point for point in self.points if not point.is_pruned]
        pruned = len(self.points) - len(complete)
        if not pruned or not complete:
            return self._format_tests(advice)
        subject = "1 point was" if pruned == 1 else f"{pruned:,} points were"
        verdict = dataclasses.replace(self, points=complete).format_verdict(advice)
        if len(complete) == 1:
            verdict = f"{complete[0].label} is best: {self.objective} {complete[0].describe()} (n {complete[0].n})."
        return f"{verdict} {subject} pruned and ranked last, by the seeds that finished."

    def _format_tests(self, advice: str) -> str:
        """Returns which points differ significantly; see `format_verdict`."""
        count = len(self.points)
        if not count:
            return "No trial finished."
        if self.objective is None:
            listed = "the only point is listed" if count == 1 else f"the {count:,} points are listed"
            return f"sweep.objective is off, so nothing is compared; {listed} in plan order."
        best = self.points[0]
        result = f"{self.objective} {best.describe()} (n {best.n})"
        if count == 1:
            return f"{best.label} is the only point: {result}."
        if not self.has_repeats:
            return (
                f"{best.label} ranks first: {self.objective} {best.describe()}. "
                f"With one seed each, the differences may be due to chance. {advice}"
            )
        if self.n_tied == 1:
            return f"{best.label} is best: {result}."
        subject = f"All {count:,}" if self.n_tied == count else f"The first {self.n_tied:,}"
        others = self.points[1 : min(self.n_tied, MAX_NAMED_TIED)]
        named = [f"{best.label} ({self.objective} {best.describe()})"]
        named += [f"{point.label} ({point.describe()})" for point in others]
        suffix = f" and {self.n_tied - MAX_NAMED_TIED:,} more" if self.n_tied > MAX_NAMED_TIED else ""
        level = f"{100 * SIGNIFICANCE_LEVEL:g} % level"
        return f"{subject} do not differ significantly ({level}): {', '.join(named)}{suffix}."


def rank(runs: Sequence[RankedRun], objective: str | None, pruned: Collection[int] = ()) -> Ranking:
    """Ranks the points of finished runs by the mean of the objective over their seeds; None compares nothing.

    The points with the numbers in `pruned` are below all others, also if their mean is better: the seeds that finished
    before the point was pruned are its better ones.

    Raises:
        ValueError: If there is an objective and a run has no value for it.
    """
    by_point: dict[int, list[RankedRun]] = {}
    for run in sorted(runs, key=lambda run: run.number):
        by_point.setdefault(run.point, []).append(run)
    step = find_step([run.value for run in runs if run.value is not None])
    points = [
        dataclasses.replace(_build_point(by_point[number], objective, step), is_pruned=number in pruned)
        for number in sorted(by_point)
    ]
    if objective is None or not points:
        return Ranking(objective=objective, points=points, n_tied=0)
    sign = -1 if higher_is_better(objective) else 1
    points.sort(key=lambda point: (point.is_pruned, sign * statistics.fmean(point.values)))
    n_tied = count_tied(_orient_values(points, objective), step)
    points = [dataclasses.replace(point, tied=position < n_tied) for position, point in enumerate(points)]
    return Ranking(objective=objective, points=points, n_tied=n_tied)


def compute_lead_p_value(ranking: Ranking) -> float | None:
    """Returns the p-value of the range test for the first two points, or None if it does not test them.

    They are not tested if the variance is unknown, or if only the second point was pruned.
    """
    tested = _orient_values(ranking.points, ranking.objective or "")
    step = find_step([value for point in ranking.points for value in point.values])
    difference = TwoWayLayout(tested, step).compare_with_first(1) if len(tested) > 1 else None
    if difference is None:
        return None
    return compute_range_p_value(difference.t, len(tested), difference.degrees_of_freedom)


def _orient_values(points: Sequence[RankedPoint], objective: str) -> list[Values]:
    """Returns the values of the points that are tested against the first one, such that higher values are better.

    Pruned points below a point that was not pruned are left out.
    """
    sign = 1 if higher_is_better(objective) else -1
    return [
        {seed: sign * value for seed, value in point.by_seed.items()}
        for point in points
        if point.is_pruned == points[0].is_pruned
    ]


def higher_is_better(metric: str) -> bool:
    """Returns whether higher values of a metric are better, judged by its name. False for losses, errors and times."""
    return not _LOWER_IS_BETTER & set(re.split(r"[^a-z]+", metric.lower()))


def is_proportion(metric: str) -> bool:
    """Returns whether a metric is a proportion between 0 and 1, judged by its name: accuracy, F1, precision, recall."""
    return metric.startswith(_PROPORTIONS)


def count_decimals(value: float) -> int:
    """Returns the number of decimals to show for a value: four, or more if the value is small."""
    return 4 if value == 0 or abs(value) >= 0.1 else min(3 - math.floor(math.log10(abs(value))), 10)  # noqa: PLR2004


def _build_point(runs: Sequence[RankedRun], objective: str | None, step: float) -> RankedPoint:
    """Returns a point with its statistics. `tied` is not set yet."""
    values = tuple(run.value for run in runs if run.value is not None) if objective is not None else ()
    if objective is not None and len(values) < len(runs):
        missing = ", ".join(str(run.number) for run in runs if run.value is None)
        raise ValueError(f"expected a value of {objective} for every trial, but these trials have none: {missing}")
    low, high = _compute_interval(values, objective or "", step)
    first = runs[0]
    return RankedPoint(
        point=first.point,
        label=first.label or f"point {first.point}",
        varied={path: value for path, value in first.varied.items() if path != "seed"},
        runs=runs,
        values=values,
        mean=statistics.fmean(values) if values else None,
        std=statistics.stdev(values) if len(values) > 1 else None,
        low=low,
        high=high,
        parameters=first.parameters,
        metrics={
            name: statistics.fmean(run.metrics[name] for run in runs)
            for name in TEST_METRICS
            if all(name in run.metrics for run in runs)
        },
        seconds=statistics.fmean(run.seconds for run in runs),
    )


def _compute_interval(values: Sequence[float], objective: str, step: float) -> tuple[float | None, float | None]:
    """Returns the ends of the confidence interval of the mean, or None if the variance is unknown.

    It is unknown for fewer than two values, and if all runs of the ranking have the same value. The number of images of
    an accuracy is derived from the smallest difference of two runs.
    """
    if len(values) < 2 or not step:  # noqa: PLR2004 - a variance needs two values
        return None, None
    if objective.startswith("accuracy") and 0 <= min(values) <= max(values) <= 1:
        interval = estimate_accuracy(values, max(round(1 / step), 1))
    else:
        interval = estimate_mean(values, compute_rounding_variance(step))
    # few seeds give wide intervals, but no accuracy is above 1 and no loss is below 0
    low = max(interval.low, 0.0) if min(values) >= 0 else interval.low
    high = min(interval.high, 1.0) if is_proportion(objective) and max(values) <= 1 else interval.high
    return low, high

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

from trainyard.evaluation.range_test import RangeTestResult, TwoWayLayout, Values, compare_with_best
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
        result: The result of the range test.
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
    result: RangeTestResult = RangeTestResult.NOT_COMPARED

    @property
    def tied(self) -> bool:
        """Whether the point is the best, or tested and not significantly worse."""
        return self.result in {RangeTestResult.BEST, RangeTestResult.TIED}

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
        n_compared: Number of points that the range test compares, also if only some of them are in `points`. The
            p-values depend on it.
        lead_p_value: P-value of the difference between the first two points; None if it is not tested.
    """

    objective: str | None
    points: list[RankedPoint]
    n_compared: int = 0
    lead_p_value: float | None = None

    @property
    def n_tied(self) -> int:
        """Number of points that are not significantly worse than the best, including the best."""
        return sum(point.tied for point in self.points)

    @property
    def is_tested(self) -> bool:
        """Whether any point was tested against the best."""
        return any(point.result in {RangeTestResult.TIED, RangeTestResult.WORSE} for point in self.points)

    @property
    def has_repeats(self) -> bool:
        """Whether any point has several finished runs, so that there are standard deviations."""
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
        if not self.is_tested:
            return (
                f"{best.label} ranks first: {result}. There are too few seeds to test the differences, so they may be "
                "due to chance. Train more seeds to test them."
            )
        untested = [point for point in self.points if point.result is RangeTestResult.TOO_FEW_SEEDS]
        return f"{self._format_tied(untested)}{_format_untested(untested)}"

    def _format_tied(self, untested: Sequence[RankedPoint]) -> str:
        """Returns which of the tested points do not differ significantly from the best. Some may be `untested`."""
        best = self.points[0]
        if self.n_tied == 1:
            scope = " of the tested points" if untested else ""
            return f"{best.label} is best{scope}: {self.objective} {best.describe()} (n {best.n})."
        if untested:
            subject = f"{self.n_tied:,} points"
        else:
            subject = f"All {self.n_tied:,}" if self.n_tied == len(self.points) else f"The first {self.n_tied:,}"
        tied = [point for point in self.points[1:] if point.tied]
        named = [f"{best.label} ({self.objective} {best.describe()})"]
        named += [f"{point.label} ({point.describe()})" for point in tied[: MAX_NAMED_TIED - 1]]
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
        return Ranking(objective=objective, points=points)
    sign = -1 if higher_is_better(objective) else 1
    points.sort(key=lambda point: (point.is_pruned, sign * statistics.fmean(point.values)))
    tested = _orient_values(points, objective)
    results = compare_with_best(tested, step)
    results += [RangeTestResult.PRUNED] * (len(points) - len(tested))
    return Ranking(
        objective=objective,
        points=[dataclasses.replace(point, result=result) for point, result in zip(points, results, strict=True)],
        n_compared=len(tested),
        lead_p_value=_compute_lead_p_value(tested, step),
    )


def _compute_lead_p_value(tested: Sequence[Values], step: float) -> float | None:
    """Returns the p-value of the first two of the tested points; None if the variance is unknown or there is one."""
    difference = TwoWayLayout(tested, step).compare_with_first(1) if len(tested) > 1 else None
    if difference is None:
        return None
    return compute_range_p_value(difference.t, len(tested), difference.degrees_of_freedom)


def _format_untested(points: Sequence[RankedPoint]) -> str:
    """Returns a sentence about the points that have too few seeds to be tested; empty if there are none."""
    if not points:
        return ""
    named = ", ".join(point.label for point in points[:MAX_NAMED_TIED])
    suffix = f" and {len(points) - MAX_NAMED_TIED:,} more" if len(points) > MAX_NAMED_TIED else ""
    subject = "1 point has" if len(points) == 1 else f"{len(points):,} points have"
    return f" {subject} too few seeds to be tested: {named}{suffix}."


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
    """Returns a point with its statistics. `result` is not set yet."""
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

"""Plots of a sweep: learning curves of its points, and their ranking."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trainyard.evaluation import RangeTestResult, RankedPoint, Ranking, higher_is_better, is_proportion
from trainyard.reporting.formatting import format_mean, format_metric_name, format_range
from trainyard.reporting.plots import style
from trainyard.reporting.plots.learning_curves import LineEnd, label_line_ends, set_epoch_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "#b8b8b8"
MAX_LINE_LENGTH = 28
"""Maximum length of a line of a point's label in characters. Longer labels are wrapped onto two lines."""
MAX_CURVE_LABEL_LENGTH = 24
"""The same for the labels of learning curves."""
MAX_ROWS = 20
"""Maximum number of points in the plot of the ranking."""
OUTLIER_FACTOR = 4.0
"""A point is outside the axis if its distance from the best exceeds that of the median point by this factor.

Without this limit, a single outlier would make the differences between the other points invisible.
"""
MIN_LOGARITHMIC_RANGE = 100.0
"""The axis of losses is logarithmic if they are above 0 and the ratio of the largest to the smallest exceeds this."""
MAX_GREY_LINES = 300
"""Maximum number of grey lines of each kind: points and pruned trials. If there are more, every n-th one is drawn."""
MAX_HIGHLIGHTED = 5
"""Maximum number of best points that are highlighted."""
_ROW_HEIGHT, _LINE_HEIGHT = 0.27, 0.08
"""Height of a row of the ranking, and of a second line of its label, in inches."""
_MAX_ROW_HEIGHT = 0.5
"""Maximum height of a row if there are few, in inches."""


class PointCurve(NamedTuple):
    """A metric of a point of a sweep by epoch, up to the last epoch that all seeds of the point reached.

    `mean`, and `low` and `high` (the mean minus and plus the standard deviation over the seeds) are float64 (epochs,).
    """

    label: str
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


# ------------------------------------------------------------------------------------------------------------
# Learning curves


def draw_point_curves(
    points: Sequence[RankedPoint], objective: str | None, path: Path, pruned: Sequence[Sequence[float]] = ()
) -> bool:
    """Draws the objective by epoch, one line per point. The best points are coloured and labelled; the rest are grey.

    The line of a point with several seeds is their mean, up to the last epoch that all of them reached. For the best
    points, a band shows the standard deviation.

    Args:
        points: Points of a sweep, the best first.
        objective: The metric to draw. None draws the training loss, and colours the points with the lowest final loss.
        path: The PNG file to write.
        pruned: Objective of each pruned trial by epoch. Drawn in grey, with a cross at the end.

    Returns:
        Whether the plot was drawn. It is not if no point has values of the metric.
    """
    metric = objective or "loss/train"
    curves = [curve for point in points if (curve := _build_point_curve(point, metric))]
    if not curves:
        return False
    if objective is None:
        curves.sort(key=lambda curve: curve.mean[-1])
    best, other_curves = curves[: len(style.SERIES)], curves[len(style.SERIES) :]
    labels = [curve.label for curve in best]
    right = 0.32 + style.measure_names(labels, style.TEXT)
    axes = style.build_axes(style.WIDTH, style.HEIGHT, left=0.7, bottom=0.48, right=right, top=0.5)
    last = max(len(curve.mean) for curve in curves)
    set_epoch_axis(axes, last)
    _set_value_axis(axes, metric, best, other_curves)
    _draw_grey_curves(axes, [curve.mean for curve in other_curves])
    _draw_grey_curves(axes, [np.array(values) for values in pruned if values], "x")
    line_ends = []
    for curve, (colour, marker) in reversed(list(zip(best, style.SERIES, strict=False))):  # draws the best on top
        epochs = range(1, len(curve.mean) + 1)
        if curve.seeds > 1:
            axes.fill_between(epochs, curve.low, curve.high, color=colour, alpha=0.1, linewidth=0, zorder=2)
        axes.plot(
            epochs, curve.mean, color=colour, linewidth=1.7, zorder=3, solid_capstyle="round",
        )  # fmt: skip
        axes.plot(len(curve.mean), curve.mean[-1], marker, color=colour, markersize=5, zorder=4, clip_on=False)
        line_ends.append(LineEnd(curve.label, colour, (len(curve.mean), curve.mean[-1])))
    label_line_ends(axes, line_ends)
    low, high = axes.get_ylim()
    hidden = sum(not low <= curve.mean[-1] <= high for curve in other_curves)
    subtitle = _format_curves_subtitle(best, len(other_curves), hidden, objective, len(pruned))
    style.save_plot(axes, path, format_metric_name(metric), subtitle, whole=True)
    return True


def _build_point_curve(point: RankedPoint, metric: str) -> PointCurve | None:
    """Returns mean and standard deviation over a point's trials per epoch, up to the last epoch of the shortest trial.

    Returns None if a trial has no values of the metric.
    """
    rows = [[epoch[metric] for epoch in run.history if metric in epoch] for run in point.runs]
    epochs = min(map(len, rows))
    if not epochs:
        return None
    values = np.array([row[:epochs] for row in rows])
    mean = values.mean(axis=0)
    deviation = values.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(epochs)
    low = np.maximum(mean - deviation, min(0.0, values.min()))  # losses and proportions are not negative
    return PointCurve(style.wrap(point.label, MAX_CURVE_LABEL_LENGTH), mean, low, mean + deviation, len(rows))


def _set_value_axis(axes: Axes, metric: str, best: Sequence[PointCurve], other_curves: Sequence[PointCurve]) -> None:
    """Sets up the y axis: logarithmic if a metric that is no proportion spans two decades, else linear.

    On a linear axis, the first quarter of the epochs may be outside, because differences at the end would be too small
    beside its changes.
    """
    from matplotlib.ticker import LogLocator

    low, high = _find_value_range(metric, best, other_curves, start=0)
    if not is_proportion(metric) and low > 0 and high > MIN_LOGARITHMIC_RANGE * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        margin = (high / low) ** 0.04
        axes.set_ylim(low / margin, high * margin)
    else:
        epochs = max(len(curve.mean) for curve in [*best, *other_curves])
        low, high = _find_value_range(metric, best, other_curves, start=epochs // 4)
        margin = 0.04 * (high - low) or 1e-3
        axes.set_ylim(low - margin, high + margin)
        style.format_value_axis(axes.yaxis, metric)


def _find_value_range(
    metric: str, best: Sequence[PointCurve], other_curves: Sequence[PointCurve], *, start: int
) -> tuple[float, float]:
    """Returns the range of the best curves from an epoch on, and of all others if the metric is a proportion.

    The range of other metrics, such as a loss that diverges, includes the ends of three quarters of the other curves.
    """
    low = min(float(curve.low[min(start, len(curve.low) - 1) :].min()) for curve in best)
    high = max(float(curve.high[min(start, len(curve.high) - 1) :].max()) for curve in best)
    if is_proportion(metric):
        low = min([low, *(float(curve.mean[min(start, len(curve.mean) - 1) :].min()) for curve in other_curves)])
        high = min(high, 1.0)
    elif other_curves:
        high = max(high, float(np.quantile([curve.mean[-1] for curve in other_curves], 0.75, method="lower")))
    return low, high


def _draw_grey_curves(axes: Axes, curves: Sequence[np.ndarray], end_marker: str = "") -> None:
    """Draws curves in grey, with a marker at the end. If there are more than `MAX_GREY_LINES`, draws every n-th."""
    for curve in curves[:: math.ceil(len(curves) / MAX_GREY_LINES) or 1]:
        axes.plot(
            range(1, len(curve) + 1), curve, color=GREY, linewidth=0.7, alpha=0.7, zorder=1, markersize=4.5,
            marker=end_marker or ("o" if len(curve) == 1 else ""), markevery=[-1], markeredgecolor=style.SOFT,
        )  # fmt: skip


def _format_curves_subtitle(
    best: Sequence[PointCurve], other_count: int, hidden: int, objective: str | None, pruned: int
) -> str:
    """Returns the subtitle that explains the lines."""
    seeds = {curve.seeds for curve in best}
    lines = f"Mean of {format_range(seeds)} seeds ± standard deviation" if max(seeds) > 1 else "One seed per line"
    selection = "the best" if objective else "lowest final loss"
    colours = f". Colours: {selection}. Grey: {other_count:,} more" if other_count else ""
    colours += f", {hidden:,} outside the axis" if hidden else ""
    return f"{lines}{colours}" + (f". Crosses: {pruned:,} pruned" if pruned else "")


# ------------------------------------------------------------------------------------------------------------
# Ranking


def draw_ranking(ranking: Ranking, path: Path) -> bool:
    """Draws the best points: the mean with its 95 % confidence interval, and the value of each seed as a small dot.

    The markers of points that do not differ significantly from the best are filled.

    Returns:
        Whether the plot was drawn. It is not if the sweep has no objective or only one point.
    """
    if ranking.objective is None or len(ranking.points) < 2:  # noqa: PLR2004 - a ranking needs two points
        return False
    drawn = ranking.points[:MAX_ROWS]
    labels = [style.wrap(point.label, MAX_LINE_LENGTH) for point in drawn]
    axes = _build_row_axes(labels, extra_rows=int(ranking.has_repeats))
    axes.set_xlim(compute_axis_limits(drawn, ranking.objective))
    for row, point in enumerate(drawn):
        _draw_point(axes, row, point, colour=_find_colour(ranking, point))
    longer = " (arrow: longer)" if _mark_cut_intervals(axes, ranking, drawn) else ""
    _label_means(axes, ranking, drawn)
    if ranking.has_repeats:
        style.annotate(axes, "mean ± std", (1, -0.8), (8, 0), coordinates=("axes fraction", "data"))
    style.format_value_axis(axes.xaxis, ranking.objective)
    name = format_metric_name(ranking.objective)
    name += "" if higher_is_better(ranking.objective) else " (lower is better)"
    style.label_rows(axes, range(len(drawn)), labels, style.SMALL, name)
    count = len(ranking.points)
    title = f"The best {len(drawn)} of {count:,}" if count > len(drawn) else "Ranking"
    seeds = format_range({point.n for point in drawn})
    tests = "Filled: no significant difference from the best (5 %)" if ranking.is_tested else "Too few seeds for a test"
    subtitle = (
        f"Mean of {seeds} seeds (small dots) with 95 % interval{longer}. {tests}"
        if ranking.has_repeats
        else "One seed per row: the differences may be due to chance"
    )
    style.save_plot(axes, path, title, subtitle, whole=True)
    return True


def _build_row_axes(labels: Sequence[str], extra_rows: int) -> Axes:
    """Returns axes with a row per label, and empty rows above them. The plot is at least `style.HEIGHT` high."""
    left, bottom, top = style.measure_names(labels, style.SMALL) + 0.2, 0.48, 0.5
    row_height = _ROW_HEIGHT + _LINE_HEIGHT * any("\n" in label for label in labels)
    rows = len(labels) + extra_rows
    height = max(rows * row_height, style.HEIGHT - bottom - top)
    margin = max(height / min(height / rows, _MAX_ROW_HEIGHT) - rows, 0.0) / 2  # in rows, above and below them
    axes = style.build_axes(style.WIDTH, height + bottom + top, left=left, bottom=bottom, right=1.35, top=top)
    axes.set_ylim(len(labels) - 0.5 + margin, -0.5 - extra_rows - margin)
    return axes


def _label_means(axes: Axes, ranking: Ranking, points: Sequence[RankedPoint]) -> None:
    """Writes the mean of each point, and whether it was pruned or has too few seeds, to the right of its row."""
    for row, point in enumerate(points):
        mean = format_mean(statistics.fmean(point.values), point.std, percent=is_proportion(ranking.objective or ""))
        reason = ""
        if point.is_pruned:
            reason = ", pruned"
        elif ranking.is_tested and point.result is RangeTestResult.TOO_FEW_SEEDS:
            reason = ", not tested"
        is_grey = point.is_pruned or (ranking.is_tested and not point.tied)
        colour = style.SOFT if is_grey else style.INK
        style.annotate(axes, f"{mean}{reason}", (1, row), (8, 0), color=colour, coordinates=("axes fraction", "data"))


def _find_colour(ranking: Ranking, point: RankedPoint) -> str:
    """Returns the colour of a point: grey if the range test states another result than for the best."""
    return style.BLUE if point.tied or not ranking.is_tested else style.SOFT


def _mark_cut_intervals(axes: Axes, ranking: Ranking, points: Sequence[RankedPoint]) -> bool:
    """Draws an arrow at each end of an interval that is beyond the axis. Returns whether there is one."""
    left, right = axes.get_xlim()
    cut = [(left, "<", row) for row, point in enumerate(points) if point.low is not None and point.low < left]
    cut += [(right, ">", row) for row, point in enumerate(points) if point.high is not None and point.high > right]
    for x, marker, row in cut:
        colour = _find_colour(ranking, points[row])
        axes.plot(x, row, marker, color=colour, markersize=5, markeredgewidth=0, clip_on=False, zorder=2)
    return bool(cut)


def _draw_point(axes: Axes, row: int, point: RankedPoint, *, colour: str) -> None:
    """Draws a point in its row. The marker of a blue point is filled."""
    mean = statistics.fmean(point.values)
    if point.low is not None and point.high is not None:
        axes.plot((point.low, point.high), (row, row), color=colour, linewidth=1.5, alpha=0.75, zorder=2)
        axes.plot(point.values, [row + 0.24] * point.n, ".", color=colour, markersize=3.2, alpha=0.75, zorder=3)
    fill = colour if colour == style.BLUE else "white"
    axes.plot(mean, row, "o", color=colour, markerfacecolor=fill, markersize=6, markeredgewidth=1.3, zorder=4)


def compute_axis_limits(points: Sequence[RankedPoint], objective: str) -> tuple[float, float]:
    """Returns the limits of the axis of the objective. They include all seeds of all points.

    Of more than `MAX_ROWS` points, they exclude outliers. The best point is the first. The upper limit for a proportion
    is about 1.
    """
    means = [statistics.fmean(point.values) for point in points]
    reach = OUTLIER_FACTOR * abs(means[len(means) // 2] - means[0])
    includes_all = len(points) <= MAX_ROWS or reach == 0
    inside = [point for point, mean in zip(points, means, strict=True) if includes_all or abs(mean - means[0]) <= reach]
    values = [value for point in inside for value in point.values]
    margin = 0.06 * (max(values) - min(values)) or 1e-3
    low, high = min(values) - margin, max(values) + margin
    return low, min(high, 1.0 + margin / 4) if is_proportion(objective) and max(values) <= 1 else high


def describe_outliers(points: Sequence[RankedPoint], low: float, high: float) -> str:
    """Returns the end of a subtitle with the number of points at the edge of the axis; empty if there are none."""
    outside = sum(not low <= statistics.fmean(point.values) <= high for point in points)
    return f". Drawn at the edge because they are far outside: {outside:,}" if outside else ""


def count_highlighted(points: Sequence[RankedPoint]) -> int:
    """Returns the number of best points that a plot highlights: at most a fifth of the points, and at least one."""
    return min(MAX_HIGHLIGHTED, max(1, len(points) // 5))


def describe_highlighted(points: Sequence[RankedPoint]) -> str:
    """Returns the description of the highlighted points: ``the best point`` or ``the best 5``."""
    count = count_highlighted(points)
    return "the best point" if count == 1 else f"the best {count}"

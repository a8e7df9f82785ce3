"""Parallel coordinates: the settings and the objective of all points of a sweep."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.evaluation import RankedPoint, Ranking, higher_is_better, is_proportion
from trainyard.reporting.plots import style
from trainyard.reporting.plots.effects import (
    MAX_TICK_LENGTH,
    MIN_POINTS,
    SettingScale,
    collect_values,
    find_varying_settings,
)
from trainyard.reporting.plots.ranking import (
    compute_axis_limits,
    count_highlighted,
    describe_highlighted,
    describe_outliers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MIN_AXES = 3
"""Minimum number of varying settings. The plot of the effects shows the values of two settings more clearly."""
MAX_AXES = 10
"""Maximum number of settings that are drawn."""
MISSING_POSITION = -0.09
"""Position, on a parallel axis, of points that do not have its setting."""
COLOUR_MAP = "viridis_r"
"""Matplotlib colour map from the worst to the best point. The best is dark."""
_RIGHT, _BOTTOM, _TOP = 0.75, 0.4, 0.5
"""Margins of the plot in inches."""
_MIN_GAP = 0.4
"""Minimum distance between the bands of two settings, in inches."""
_BAND_COLOUR = "#eeeeee"


class Column(NamedTuple):
    """A setting or the objective, with the height of each point and of each label, from 0 to 1."""

    name: str
    heights: NDArray[np.float64]
    ticks: Mapping[str, float]

    @property
    def half_width(self) -> float:
        """Half of the width of the band with the labels, in inches."""
        labels = [style.shorten(label, MAX_TICK_LENGTH) for label in self.ticks]
        return 0.06 + style.measure_names(labels or [""], style.SMALL) * 0.45


def draw_parallel_coordinates(ranking: Ranking, path: Path) -> bool:
    """Draws parallel coordinates: a line per point across vertical bands, one per setting, to the objective.

    The labels of the values are in the bands, in which no lines are drawn.

    Returns:
        Whether the plot was drawn. It is not if the sweep has no objective, fewer than `MIN_AXES` varying settings or
        fewer than `MIN_POINTS` points.
    """
    from matplotlib import colormaps

    points, settings = ranking.points, find_varying_settings(ranking.points)[:MAX_AXES]
    if ranking.objective is None or len(points) < MIN_POINTS or len(settings) < MIN_AXES:
        return False
    low, high = compute_axis_limits(points, ranking.objective)
    worst, best = (low, high) if higher_is_better(ranking.objective) else (high, low)
    means = np.array([statistics.fmean(point.values) for point in points])
    heights = np.clip((means - worst) / (best - worst), -0.04, 1.0)
    columns = [_build_column(points, setting) for setting in settings]
    objective = Column(ranking.objective, heights, _compute_objective_ticks(ranking.objective, worst, best))
    positions = _place_columns(columns)
    width = positions[-1] + _RIGHT
    axes = style.build_axes(width, style.HEIGHT, right=_RIGHT, bottom=_BOTTOM, top=_TOP)
    axes.set(xlim=(0, positions[-1]), ylim=(-0.12, 1.03))
    axes.axis("off")
    for position, column in zip(positions, columns, strict=False):
        _draw_band(axes, position, column)
    _draw_objective_axis(axes, positions[-1], objective)
    colours = colormaps[COLOUR_MAP](0.08 + 0.92 * heights.clip(0, 1))
    highlighted = count_highlighted(points)
    for row in reversed(range(len(points))):  # the best points are drawn last
        emphasis: dict[str, Any] = (
            {"linewidth": 2.0, "zorder": 3} if row < highlighted else {"linewidth": 0.8, "alpha": 0.5}
        )
        line = _build_line([*columns, objective], positions, row)
        axes.plot(*line, color=colours[row], solid_capstyle="round", **emphasis)
    subtitle = f"One line per point; darker is better. Thick: {describe_highlighted(points)}"
    subtitle += describe_outliers(points, low, high)
    style.save_plot(axes, path, "Settings and objective of all points", subtitle, whole=True)
    return True


def _compute_objective_ticks(objective: str, worst: float, best: float) -> dict[str, float]:
    """Returns the heights of round values of the objective on its axis, from 0 (worst) to 1 (best), by label."""
    from matplotlib.ticker import MaxNLocator

    factor, unit = (100, " %") if is_proportion(objective) else (1, "")
    values = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(*sorted((worst, best)))
    heights = {f"{factor * value:.6g}{unit}": float((value - worst) / (best - worst)) for value in values}
    return {label: height for label, height in heights.items() if 0 <= height <= 1}


def _build_column(points: Sequence[RankedPoint], setting: str) -> Column:
    """Returns the column of a setting. Points without the setting are at `MISSING_POSITION`, with the label "none"."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    scale = SettingScale(collect_values(points, setting))
    positions = np.array(
        [scale.position(point.varied[setting]) if setting in point.varied else np.nan for point in points]
    )
    missing = np.isnan(positions)
    low, high = float(np.nanmin(positions)), float(np.nanmax(positions))
    locator = LogLocator() if scale.logarithmic else MaxNLocator(4)
    round_numbers = [float(number) for number in locator.tick_values(low, high) if low <= number <= high]
    ticks = scale.ticks or {f"{number:g}": number for number in round_numbers}
    if scale.logarithmic:
        positions, ticks = np.log(positions), {name: float(np.log(position)) for name, position in ticks.items()}
        low, high = float(np.log(low)), float(np.log(high))
    spread = (high - low) or 1.0  # [64] and 64 are two values with the same position
    tick_heights = {name: (position - low) / spread for name, position in ticks.items()}
    heights = np.where(missing, MISSING_POSITION, (positions - low) / spread)
    tick_heights |= {"none": MISSING_POSITION} if missing.any() else {}
    return Column(style.shorten(setting.rpartition(".")[2], MAX_TICK_LENGTH), heights, tick_heights)


def _place_columns(columns: Sequence[Column]) -> list[float]:
    """Returns the horizontal centres of the columns, and of the axis of the objective, in inches.

    The distances between the bands are equal. They are larger if the names below them would overlap otherwise.
    """
    names = [style.measure_names([column.name], style.TEXT) / 2 for column in columns]
    halves = [max(column.half_width, name - _MIN_GAP / 2 + 0.05) for column, name in zip(columns, names, strict=True)]
    first = max(columns[0].half_width, names[0])
    gap = (style.WIDTH - _RIGHT - first - 2 * sum(halves) + halves[0]) / len(columns)
    positions = [first]
    for left, right in pairwise([*halves, 0.0]):
        positions.append(positions[-1] + left + max(gap, _MIN_GAP) + right)
    return positions


def _draw_band(axes: Axes, position: float, column: Column) -> None:
    """Draws the band of a setting with the labels of its values, and its name below it."""
    axes.axvspan(
        position - column.half_width, position + column.half_width, color=_BAND_COLOUR, linewidth=0, zorder=0,
        clip_on=False,
    )  # fmt: skip
    for label, height in column.ticks.items():
        text = style.shorten(label, MAX_TICK_LENGTH)
        style.annotate(axes, text, (position, height), color=style.INK, ha="center", zorder=5)
    _write_name(axes, position, column.name)


def _draw_objective_axis(axes: Axes, position: float, column: Column) -> None:
    """Draws the axis of the objective with its ticks to the right, and its name below it."""
    axes.plot((position, position), (0, 1), color=style.SOFT, linewidth=1, zorder=4)
    for label, height in column.ticks.items():
        style.annotate(axes, label, (position, height), (5, 0), color=style.INK)
    _write_name(axes, position, column.name)


def _write_name(axes: Axes, position: float, name: str) -> None:
    """Writes the name of a column below it."""
    style.annotate(axes, name, (position, -0.15), size=style.TEXT, color=style.INK, ha="center", va="top")


def _build_line(columns: Sequence[Column], positions: Sequence[float], row: int) -> tuple[list[float], list[float]]:
    """Returns the line of a point, with gaps (NaN) in the bands of all columns but the last."""
    *bands, objective = columns
    x, y = [], []
    for position, band in zip(positions, bands, strict=False):
        height = float(band.heights[row])
        x += [position - band.half_width, position, position + band.half_width]
        y += [height, np.nan, height]
    return [*x[2:], positions[-1]], [*y[2:], float(objective.heights[row])]

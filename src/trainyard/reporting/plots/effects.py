"""Effects of the settings of a sweep on its objective: one panel per setting, and parallel coordinates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.evaluation import RankedPoint, Ranking, higher_is_better
from trainyard.reporting.formatting import format_metric_name, format_value
from trainyard.reporting.plots import style
from trainyard.reporting.plots.numeric_settings import convert_to_number
from trainyard.reporting.plots.ranking import compute_axis_limits, describe_hidden_points, format_value_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3
"""Maximum number of panels in a row."""
MAX_PANELS, MAX_AXES = 9, 10
"""Maximum numbers of settings that are drawn as panels and as parallel axes."""
MAX_TICKS = 8
"""Maximum number of numeric values that are all labeled on an axis. If there are more, round numbers are labeled."""
MAX_TICK_LENGTH = 16
"""Maximum length of a tick label in characters. Longer labels are shortened."""
PANEL_TITLE_HEIGHT = 14.0
"""Height of the title above a panel, in typographic points."""
MIN_POINTS = 5
"""Minimum number of points. Fewer points do not show the effects of several settings."""
MAX_BINS = 6
"""Maximum number of medians on the line of a setting with many values."""
MIN_POINTS_PER_BIN = 4
"""Minimum number of points for each of these medians."""
MISSING_POSITION = -0.09
"""Position, on a parallel axis, of points that do not have its setting."""
HIGHLIGHTED = 5
"""Number of best points that are highlighted."""
COLOUR_MAP = "viridis_r"
"""Matplotlib colour map from the worst to the best point. The best is dark."""


class SettingScale:
    """Maps the values of a setting to positions on an axis. Values that are not numbers are spaced evenly."""

    def __init__(self, values: Sequence[Any]) -> None:
        """Determines the type of the scale (numeric or categorical, linear or logarithmic) and its ticks."""
        numbers = [convert_to_number(value) for value in values]
        self.numeric = all(number is not None for number in numbers)
        distinct_numbers = sorted({number for number in numbers if number is not None})
        all_have_ticks = len(distinct_numbers) <= MAX_TICKS
        self.logarithmic = (
            self.numeric
            and distinct_numbers[0] > 0
            and distinct_numbers[-1] > (10 if all_have_ticks else 100) * distinct_numbers[0]
        )
        names = dict.fromkeys(format_value(value) for value in sorted(values, key=_sort_key))
        self._rows = {name: float(row) for row, name in enumerate(names)}
        self.ticks = (
            {f"{number:g}": number for number in distinct_numbers if all_have_ticks} if self.numeric else self._rows
        )
        """Positions of the labeled values by label. Empty if there are too many numeric values."""

    def position(self, value: Any) -> float:  # noqa: ANN401 - any value of a config
        """Returns the position of a value on the axis."""
        return (convert_to_number(value) or 0.0) if self.numeric else self._rows[format_value(value)]

    def limits(self) -> tuple[float, float]:
        """Returns the limits of a categorical axis."""
        return -0.5, len(self._rows) - 0.5


def _sort_key(value: Any) -> tuple[float, str]:  # noqa: ANN401 - any value of a config
    """Returns the sort key of a value. Lists of numbers are sorted by their sum, other values by their text."""
    numbers = (
        value if isinstance(value, (list, tuple)) and all(convert_to_number(item) is not None for item in value) else ()
    )
    return float(sum(numbers)), format_value(value)


def _collect_values(points: Sequence[RankedPoint], path: str) -> list[Any]:
    """Returns the value of a setting in each point that varies it."""
    return [point.varied[path] for point in points if path in point.varied]


def find_varying_settings(points: Sequence[RankedPoint]) -> list[str]:
    """Returns the paths of the settings that have more than one value, in the order of the sweep."""
    paths = dict.fromkeys(path for point in points for path in point.varied)
    return [path for path in paths if len(set(map(format_value, _collect_values(points, path)))) > 1]


# ------------------------------------------------------------------------------------------------------------
# One panel per setting


def draw_setting_effects(ranking: Ranking, importance: Mapping[str, float], path: Path) -> bool:
    """Draws the objective against each setting, one panel per setting, with the medians of its values.

    The settings with the highest importance, the fraction of the variance (0 to 1), are drawn first.

    Returns:
        Whether the plot was drawn. It is not if the sweep has no objective, fewer than `MIN_POINTS` points or no
        varying setting.
    """
    points = ranking.points
    settings = sorted(find_varying_settings(points), key=lambda name: -importance.get(name, 0.0))[:MAX_PANELS]
    if ranking.objective is None or len(points) < MIN_POINTS or not settings:
        return False
    columns = min(COLUMNS, len(settings))
    rows = -(-len(settings) // columns)
    width, height = 0.75 + 2.75 * columns, 0.75 + 2.6 * rows
    figure = style.build_figure(width, height)
    low, high = compute_axis_limits(points, ranking.objective)
    for number, setting in enumerate(settings):
        row, column = divmod(number, columns)
        left, bottom = 0.75 + 2.75 * column, height - 0.75 - 2.6 * row - 1.75
        axes = figure.add_axes((left / width, bottom / height, 2.35 / width, 1.75 / height))
        axes.set_ylim(low, high)
        _draw_effect(axes, points, setting)
        format_value_axis(axes, ranking.objective, "y")
        style.style_axes(axes, grid="y")
        if column:
            axes.tick_params(axis="y", labelleft=False)
        share = f", {100 * importance[setting]:.0f} %" if setting in importance else ""
        title: dict[str, Any] = {"coordinates": "axes fraction", "color": style.INK, "weight": "bold", "va": "bottom"}
        style.annotate(axes, f"{style.shorten(setting, 34)}{share}", (0, 1), (0, 5), **title)
    subtitle = f"One dot per point. Red: the best {HIGHLIGHTED}. Blue: medians"
    subtitle += ". Percentages: share of the variance" if importance else ""
    subtitle += describe_hidden_points(points, low, high)
    headline = f"{format_metric_name(ranking.objective)} by setting"
    style.add_headline(figure.axes[0], headline, subtitle, over=PANEL_TITLE_HEIGHT)
    style.save_small_figure(figure, path)
    return True


def _draw_effect(axes: Axes, points: Sequence[RankedPoint], setting: str) -> None:
    """Draws the points against a setting. A small random shift separates points with equal categorical values."""
    points_with_setting = [point for point in points if setting in point.varied]
    scale = SettingScale(_collect_values(points_with_setting, setting))
    positions = np.array([scale.position(point.varied[setting]) for point in points_with_setting])
    means = np.array([statistics.fmean(point.values) for point in points_with_setting])
    best = np.array([point in points[:HIGHLIGHTED] for point in points_with_setting])
    spread = 0.0 if scale.numeric else 0.16
    shifted = positions + np.random.default_rng(0).uniform(-spread, spread, len(positions))
    if scale.logarithmic:
        axes.set_xscale("log")
    axes.plot(shifted[~best], means[~best], "o", color=style.SOFT, markersize=3.2, alpha=0.45, markeredgewidth=0)
    axes.plot(shifted[best], means[best], "D", color=style.VERMILLION, markersize=4, markeredgewidth=0, zorder=4)
    medians = {position: float(np.median(means[positions == position])) for position in sorted(set(positions))}
    if scale.numeric and len(medians) > MAX_TICKS:
        _draw_medians(axes, positions, means)
    elif scale.numeric:
        axes.plot(list(medians), list(medians.values()), "_-", color=style.BLUE, linewidth=1.4, markersize=9, zorder=3)
    else:
        for position, value in medians.items():
            axes.plot((position - 0.3, position + 0.3), (value, value), color=style.BLUE, linewidth=2, zorder=3)
    if scale.ticks:
        _label_ticks(axes, scale)
    elif scale.logarithmic:
        axes.xaxis.set_minor_formatter("")
    if not scale.numeric:
        axes.set_xlim(*scale.limits())


def _draw_medians(axes: Axes, positions: np.ndarray, means: np.ndarray) -> None:
    """Draws a line through the medians of bins of neighbouring points. All bins have about the same size."""
    bins = min(MAX_BINS, len(positions) // MIN_POINTS_PER_BIN)
    if bins > 1:
        parts = np.array_split(np.argsort(positions, kind="stable"), bins)
        middles = [float(np.median(positions[part])) for part in parts]
        axes.plot(middles, [float(np.median(means[part])) for part in parts], color=style.BLUE, linewidth=1.6, zorder=3)


def _label_ticks(axes: Axes, scale: SettingScale) -> None:
    """Labels the values of a setting on the x axis. Long labels are rotated."""
    names = [style.shorten(name, MAX_TICK_LENGTH) for name in scale.ticks]
    axes.set_xticks(list(scale.ticks.values()), names)
    axes.minorticks_off()
    for label in axes.get_xticklabels():
        label.set_parse_math(False)
    if sum(map(len, names)) > 30:  # noqa: PLR2004 - characters that fit below a panel
        for label in axes.get_xticklabels():
            label.set(rotation=28, ha="right", rotation_mode="anchor")


# ------------------------------------------------------------------------------------------------------------
# Parallel coordinates


def draw_parallel_coordinates(ranking: Ranking, path: Path) -> bool:
    """Draws parallel coordinates: a line per point across vertical axes, one per setting and one for the objective.

    Returns:
        Whether the plot was drawn. It is not if the sweep has no objective, fewer than two varying settings or fewer
        than `MIN_POINTS` points.
    """
    settings = find_varying_settings(ranking.points)[:MAX_AXES]
    if ranking.objective is None or len(ranking.points) < MIN_POINTS or len(settings) < 2:  # noqa: PLR2004
        return False
    objective = ranking.objective
    width = 1.6 + 1.35 * len(settings)
    figure, axes = style.build_axes(width, 4.2, left=0.8, bottom=0.84, right=0.8, top=0.84)
    low, high = compute_axis_limits(ranking.points, objective)
    columns = [_compute_heights(ranking.points, setting) for setting in settings]
    means = np.array([statistics.fmean(point.values) for point in ranking.points])
    heights = np.clip((means - low) / (high - low), -0.04, 1.0)
    heights = heights if higher_is_better(objective) else 1 - heights
    _draw_lines(axes, np.column_stack([*(column for column, _ in columns), heights]), heights)
    below: dict[str, Any] = {"size": style.TEXT, "color": style.INK, "ha": "center", "va": "top"}
    for number, (_, ticks) in enumerate(columns):
        _draw_vertical_axis(axes, number, ticks)
        name = style.shorten(settings[number].rpartition(".")[2], MAX_TICK_LENGTH)
        style.annotate(axes, name, (number, -0.16), **below)
    tick_values = np.linspace(low, high, 5)
    labels = [f"{100 * value:.4g} %" if higher_is_better(objective) else f"{value:.3g}" for value in tick_values]
    tick_heights = np.linspace(0, 1, 5) if higher_is_better(objective) else np.linspace(1, 0, 5)
    _draw_vertical_axis(axes, len(settings), dict(zip(labels, map(float, tick_heights), strict=True)), right=True)
    style.annotate(axes, objective, (len(settings), -0.16), **below)
    axes.set(xlim=(-0.02, len(settings) + 0.02), ylim=(-0.12, 1.03))
    axes.axis("off")
    subtitle = f"One line per point. Thick: the best {HIGHLIGHTED}"
    subtitle += describe_hidden_points(ranking.points, low, high)
    style.add_headline(axes, f"Settings and objective of {len(ranking.points):,} points", subtitle)
    style.save_small_figure(figure, path)
    return True


def _compute_heights(points: Sequence[RankedPoint], setting: str) -> tuple[np.ndarray, dict[str, float]]:
    """Returns the heights of the points on the axis of a setting, and the heights of its tick labels.

    The axis extends from 0 to 1. Points without the setting are at `MISSING_POSITION`, with the label "none".
    """
    scale = SettingScale(_collect_values(points, setting))
    positions = np.array(
        [scale.position(point.varied[setting]) if setting in point.varied else np.nan for point in points]
    )
    missing = np.isnan(positions)
    low, high = float(np.nanmin(positions)), float(np.nanmax(positions))
    ticks = scale.ticks or _choose_round_ticks(low, high, logarithmic=scale.logarithmic)
    if scale.logarithmic:
        positions, ticks = np.log(positions), {name: float(np.log(position)) for name, position in ticks.items()}
        low, high = float(np.log(low)), float(np.log(high))
    spread = (high - low) or 1.0  # [64] and 64 are two values with the same position
    tick_heights = {name: (position - low) / spread for name, position in ticks.items()}
    heights = np.where(missing, MISSING_POSITION, (positions - low) / spread)
    return heights, tick_heights | ({"none": MISSING_POSITION} if missing.any() else {})


def _choose_round_ticks(low: float, high: float, *, logarithmic: bool) -> dict[str, float]:
    """Returns a few round numbers between two numbers, by label."""
    from matplotlib.ticker import MaxNLocator

    if logarithmic:
        numbers = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    else:
        numbers = [number for number in MaxNLocator(4).tick_values(low, high) if low <= number <= high]
    return {f"{number:g}": float(number) for number in numbers}


def _draw_lines(axes: Axes, rows: np.ndarray, heights: np.ndarray) -> None:
    """Draws one line per row: its heights on all axes, float64 (points, axes). The best points, drawn last, are thick.

    `heights` are those on the axis of the objective, float64 (points,). They determine the colours.
    """
    from matplotlib import colormaps

    colours = colormaps[COLOUR_MAP](0.08 + 0.92 * np.clip(heights, 0, 1))
    for row in range(len(rows) - 1, -1, -1):
        best = row < HIGHLIGHTED
        axes.plot(
            range(rows.shape[1]), rows[row], color=colours[row], linewidth=2.0 if best else 0.8,
            alpha=1.0 if best else 0.5, zorder=3 if best else 2, solid_capstyle="round",
        )  # fmt: skip


def _draw_vertical_axis(axes: Axes, number: int, ticks: Mapping[str, float], *, right: bool = False) -> None:
    """Draws a vertical axis and the labels of its values. Labels have a background, unless it is the rightmost axis."""
    axes.plot((number, number), (0, 1), color=style.SOFT, linewidth=1, zorder=4)
    background = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": style.FAINT, "alpha": 0.8}
    for name, height in ticks.items():
        box = None if right else dict(background)
        label = style.shorten(name, MAX_TICK_LENGTH)
        style.annotate(axes, label, (number, height), (5, 0), color=style.INK, zorder=5, bbox=box)

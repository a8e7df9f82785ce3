"""Effects of the settings of a sweep on its objective: one panel per setting, and parallel coordinates."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.evaluation import RankedPoint, Ranking, higher_is_better, is_proportion
from trainyard.reporting.formatting import format_metric_name, format_range, format_value
from trainyard.reporting.plots import style
from trainyard.reporting.plots.learning_curves import LineEnd, label_line_ends
from trainyard.reporting.plots.ranking import (
    compute_axis_limits,
    count_highlighted,
    describe_highlighted,
    describe_outliers,
)

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
MAX_LABEL_LENGTH = 30
"""Maximum length of all tick labels of an axis together in characters. Longer ones are rotated."""
MAX_LINES = 6
"""Maximum number of values of the second numeric setting. More shades would not be distinguishable."""
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
MIN_TICK_DISTANCE = 0.07
"""Minimum distance between the ticks of a numeric setting, relative to its axis. If values are closer, round numbers
are labeled."""
COLOUR_MAP = "viridis_r"
"""Matplotlib colour map from the worst to the best point. The best is dark."""


class SettingScale:
    """Maps the values of a setting to positions on an axis. Values that are not numbers are spaced evenly."""

    def __init__(self, values: Sequence[Any]) -> None:
        """Determines the type of the scale (numeric or categorical, linear or logarithmic) and its ticks."""
        numbers = [convert_to_number(value) for value in values]
        self.numeric = all(number is not None for number in numbers)
        distinct_numbers = sorted({number for number in numbers if number is not None})
        are_few = len(distinct_numbers) <= MAX_TICKS
        self.logarithmic = (
            self.numeric
            and distinct_numbers[0] > 0
            and distinct_numbers[-1] > (10 if are_few else 100) * distinct_numbers[0]
        )
        all_have_ticks = are_few and _are_apart(distinct_numbers, logarithmic=self.logarithmic)
        names = dict.fromkeys(format_value(value) for value in sorted(values, key=_sort_key))
        self._rows = {name: float(row) for row, name in enumerate(names)}
        self.ticks = (
            {f"{number:g}": number for number in distinct_numbers if all_have_ticks} if self.numeric else self._rows
        )
        """Positions of the labeled values by label. Empty if there are too many numeric values."""

    def position(self, value: Any) -> float:  # noqa: ANN401 - any value of a config
        """Returns the position of a value on the axis."""
        return (convert_to_number(value) or 0.0) if self.numeric else self._rows[format_value(value)]

    def label_axis(self, axes: Axes) -> None:
        """Sets scale and ticks of the x axis of a plot. Long labels are rotated."""
        if self.logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter("")
        if self.ticks:
            names = [style.shorten(name, MAX_TICK_LENGTH) for name in self.ticks]
            is_long = sum(map(len, names)) > MAX_LABEL_LENGTH
            slanted: dict[str, Any] = {"rotation": 28, "ha": "right", "rotation_mode": "anchor"} if is_long else {}
            axes.set_xticks(list(self.ticks.values()), names, parse_math=False, **slanted)
            axes.minorticks_off()
        if not self.numeric:
            axes.set_xlim(-0.5, len(self._rows) - 0.5)


def _are_apart(numbers: Sequence[float], *, logarithmic: bool) -> bool:
    """Returns whether the ticks of ascending numbers on an axis are so far apart that their labels do not overlap."""
    positions = np.log(numbers) if logarithmic else np.array(numbers)
    return len(numbers) < 2 or bool(np.diff(positions).min() >= MIN_TICK_DISTANCE * np.ptp(positions))  # noqa: PLR2004


def convert_to_number(value: Any) -> float | None:  # noqa: ANN401 - any value of a config
    """Returns a setting that is a number, or a list of one number, as a float; otherwise None.

    Strings and booleans are not numbers.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _sort_key(value: Any) -> tuple[float, str]:  # noqa: ANN401 - any value of a config
    """Returns the sort key of a value. Lists of numbers are sorted by their sum, other values by their text."""
    numbers = [convert_to_number(item) for item in value] if isinstance(value, (list, tuple)) else []
    return sum(number or 0.0 for number in numbers), format_value(value)


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
        style.format_value_axis(axes.yaxis, ranking.objective)
        style.style_axes(axes, grid="y")
        if column:
            axes.tick_params(axis="y", labelleft=False)
        share = f", {100 * importance[setting]:.0f} %" if setting in importance else ""
        title: dict[str, Any] = {"coordinates": "axes fraction", "color": style.INK, "weight": "bold", "va": "bottom"}
        style.annotate(axes, f"{style.shorten(setting, 34)}{share}", (0, 1), (0, 5), **title)
    subtitle = f"One dot per point. Red: {describe_highlighted(points)}. Blue: medians"
    subtitle += ". Percentages: share of the variance" if importance else ""
    subtitle += describe_outliers(points, low, high)
    headline = f"{format_metric_name(ranking.objective)} by setting"
    style.save_plot(figure.axes[0], path, headline, subtitle, over=PANEL_TITLE_HEIGHT)
    return True


def _draw_effect(axes: Axes, points: Sequence[RankedPoint], setting: str) -> None:
    """Draws the points against a setting. A small random shift separates points with equal categorical values."""
    points_with_setting = [point for point in points if setting in point.varied]
    scale = SettingScale(_collect_values(points_with_setting, setting))
    positions = np.array([scale.position(point.varied[setting]) for point in points_with_setting])
    means = np.array([statistics.fmean(point.values) for point in points_with_setting])
    best = np.array([point in points[: count_highlighted(points)] for point in points_with_setting])
    low, high = axes.get_ylim()
    drawn = means.clip(low, high)
    outside = drawn != means
    spread = 0.0 if scale.numeric else 0.16
    shifted = positions + np.random.default_rng(0).uniform(-spread, spread, len(positions))
    scale.label_axis(axes)
    grey: dict[str, Any] = {"color": style.SOFT, "alpha": 0.45, "markeredgewidth": 0}
    axes.plot(shifted[~best & ~outside], means[~best & ~outside], "o", markersize=3.2, **grey)
    for beyond, marker in ((means < low, "v"), (means > high, "^")):
        axes.plot(shifted[beyond], drawn[beyond], marker, markersize=4.5, clip_on=False, **grey)
    axes.plot(shifted[best], means[best], "D", color=style.VERMILLION, markersize=4, markeredgewidth=0, zorder=4)
    distinct = np.unique(positions)
    if len(distinct) <= MAX_TICKS or not scale.numeric:
        groups = [np.flatnonzero(positions == position) for position in distinct]
    else:  # bins of neighbouring points, of about the same size
        bins = min(MAX_BINS, max(len(positions) // MIN_POINTS_PER_BIN, 1))
        groups = np.array_split(np.argsort(positions, kind="stable"), bins)
    medians = np.array([(np.median(positions[group]), np.median(means[group])) for group in groups])
    kind: dict[str, Any] = {"markersize": 9} if scale.numeric else {"markersize": 24, "linestyle": "none"}
    axes.plot(*medians.T, marker="_", color=style.BLUE, markeredgewidth=1.6, zorder=3, **kind)


# ------------------------------------------------------------------------------------------------------------
# One or two numeric settings


def draw_numeric_settings(ranking: Ranking, path: Path) -> bool:
    """Draws the objective against a numeric setting, with a line per value of a second one.

    The setting with more values is on the x axis. A list of one number is treated as that number.

    Returns:
        Whether the plot was drawn. It is only if the sweep has an objective, exactly one or two settings vary, all
        their values are numbers, and there are at most `MAX_LINES` lines with at least two points each.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    points, settings = ranking.points, _find_numeric_settings(ranking.points)
    if ranking.objective is None or not settings:
        return False
    lines: dict[tuple[float, ...], list[tuple[float, Sequence[float]]]] = {}
    for point in points:
        number, *others = (convert_to_number(point.varied[setting]) or 0.0 for setting in settings)
        lines.setdefault(tuple(others), []).append((number, point.values))
    if len(lines) > MAX_LINES or min(map(len, lines.values())) < 2:  # noqa: PLR2004 - a line needs two points
        return False
    axes = style.build_axes(6.8, 3.8, left=0.82, bottom=0.57, right=1.36, top=0.65)
    low, high = compute_axis_limits(points, ranking.objective)
    axes.set_ylim(low, high)
    SettingScale(_collect_values(points, settings[0])).label_axis(axes)
    line_ends = []
    shades = np.linspace(1.0, 0.45, len(lines))
    for shade, second in zip(shades, sorted(lines, reverse=True), strict=True):
        colour = to_hex(colormaps["Blues"](shade))
        numbers, seeds = zip(*sorted(lines[second]), strict=True)
        means = np.array([statistics.fmean(values) for values in seeds])
        deviations = np.array([statistics.stdev(values) if len(values) > 1 else 0.0 for values in seeds])
        axes.fill_between(numbers, means - deviations, means + deviations, color=colour, alpha=0.15, linewidth=0)
        axes.plot(numbers, means, "o-", color=colour, linewidth=1.7, markersize=5, zorder=3)
        name = settings[-1].rpartition(".")[2]
        line_ends += [LineEnd(f"{name} {value:g}", colour, (numbers[-1], means[-1])) for value in second]
    if line_ends:
        label_line_ends(axes, line_ends)
    style.format_value_axis(axes.yaxis, ranking.objective)
    style.style_axes(axes, grid="y", xlabel=settings[0])
    seed_counts = format_range({point.n for point in points})
    subtitle = (
        f"Mean of {seed_counts} seeds, band: ± standard deviation" if ranking.has_repeats else "One seed per point"
    )
    subtitle += describe_outliers(points, low, high)
    style.save_plot(axes, path, format_metric_name(ranking.objective), subtitle)
    return True


def _find_numeric_settings(points: Sequence[RankedPoint]) -> list[str]:
    """Returns the paths of the one or two varying settings, the one with more values first.

    Returns an empty list if another number of settings vary, or not all of their values are distinct numbers.
    """
    paths = dict.fromkeys(path for point in points for path in point.varied)
    values = {path: {str(point.varied.get(path)) for point in points} for path in paths}
    varying = sorted((path for path in paths if len(values[path]) > 1), key=lambda path: -len(values[path]))
    for path in varying:
        numbers = {convert_to_number(point.varied.get(path)) for point in points}
        if None in numbers or len(numbers) < len(values[path]):  # 64 and [64] are the same number
            return []
    return varying if len(varying) <= 2 else []  # noqa: PLR2004 - one is shown on the x axis, one by the shade


# ------------------------------------------------------------------------------------------------------------
# Parallel coordinates


def draw_parallel_coordinates(ranking: Ranking, path: Path) -> bool:
    """Draws parallel coordinates: a line per point across vertical axes, one per setting and one for the objective.

    Returns:
        Whether the plot was drawn. It is not if the sweep has no objective, fewer than two varying settings or fewer
        than `MIN_POINTS` points.
    """
    from matplotlib import colormaps

    settings = find_varying_settings(ranking.points)[:MAX_AXES]
    if ranking.objective is None or len(ranking.points) < MIN_POINTS or len(settings) < 2:  # noqa: PLR2004
        return False
    low, high = compute_axis_limits(ranking.points, ranking.objective)
    worst, best = (low, high) if higher_is_better(ranking.objective) else (high, low)
    means = np.array([statistics.fmean(point.values) for point in ranking.points])
    heights = np.clip((means - worst) / (best - worst), -0.04, 1.0)
    ticks = _compute_objective_ticks(ranking.objective, worst, best)
    columns = [(setting.rpartition(".")[2], *_compute_heights(ranking.points, setting)) for setting in settings]
    columns.append((ranking.objective, heights, ticks))
    axes = style.build_axes(1.6 + 1.35 * len(settings), 4.2, left=0.8, bottom=0.84, right=0.8, top=0.84)
    for number, (name, _, ticks) in enumerate(columns):
        _draw_vertical_axis(axes, number, name, ticks, boxed=number < len(settings))
    colours = colormaps[COLOUR_MAP](0.08 + 0.92 * heights.clip(0, 1))
    highlighted = count_highlighted(ranking.points)
    for row in reversed(range(len(heights))):  # the best points are drawn last
        emphasis: dict[str, Any] = (
            {"linewidth": 2.0, "zorder": 3} if row < highlighted else {"linewidth": 0.8, "alpha": 0.5}
        )
        line = [column_heights[row] for _, column_heights, _ in columns]
        axes.plot(line, color=colours[row], solid_capstyle="round", **emphasis)
    axes.set(xlim=(-0.02, len(settings) + 0.02), ylim=(-0.12, 1.03))
    axes.axis("off")
    subtitle = f"One line per point. Thick: {describe_highlighted(ranking.points)}"
    subtitle += describe_outliers(ranking.points, low, high)
    style.save_plot(axes, path, f"Settings and objective of {len(ranking.points):,} points", subtitle)
    return True


def _compute_objective_ticks(objective: str, worst: float, best: float) -> dict[str, float]:
    """Returns the heights of round values of the objective on its axis, from 0 (worst) to 1 (best), by label."""
    from matplotlib.ticker import MaxNLocator

    factor, unit = (100, " %") if is_proportion(objective) else (1, "")
    values = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(*sorted((worst, best)))
    heights = {f"{factor * value:.6g}{unit}": float((value - worst) / (best - worst)) for value in values}
    return {label: height for label, height in heights.items() if 0 <= height <= 1}


def _compute_heights(points: Sequence[RankedPoint], setting: str) -> tuple[np.ndarray, dict[str, float]]:
    """Returns the heights of the points on the axis of a setting, and the heights of its tick labels.

    The axis extends from 0 to 1. Points without the setting are at `MISSING_POSITION`, with the label "none".
    """
    from matplotlib.ticker import LogLocator, MaxNLocator

    scale = SettingScale(_collect_values(points, setting))
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
    return heights, tick_heights | ({"none": MISSING_POSITION} if missing.any() else {})


def _draw_vertical_axis(axes: Axes, number: int, name: str, ticks: Mapping[str, float], *, boxed: bool) -> None:
    """Draws a vertical axis with its name below it, and the labels of its values, with a background if `boxed`."""
    axes.plot((number, number), (0, 1), color=style.SOFT, linewidth=1, zorder=4)
    centered: dict[str, Any] = {"ha": "center", "va": "top"}
    name = style.shorten(name, MAX_TICK_LENGTH)
    style.annotate(axes, name, (number, -0.16), size=style.TEXT, color=style.INK, **centered)
    background = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": style.FAINT, "alpha": 0.8}
    for text, height in ticks.items():
        label, box = style.shorten(text, MAX_TICK_LENGTH), background if boxed else None
        style.annotate(axes, label, (number, height), (5, 0), color=style.INK, zorder=5, bbox=box)

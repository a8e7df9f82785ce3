"""Effects of the settings of a sweep on its objective: one panel per setting, or a line plot of numeric settings."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.evaluation import RankedPoint, Ranking
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

MAX_PANELS = 9
"""Maximum number of settings that are drawn as panels, at most three in a row."""
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
MAX_TITLE_LENGTH = 20
"""Maximum length of a setting in the title of a panel in characters. Longer names are shortened."""
_LEFT, _TOP, _GAP, _BOTTOM, _ROW_HEIGHT = 0.7, 0.7, 0.22, 0.65, 2.3
"""Space to the left of all panels and above them, space to the right of and below each panel, and the height of a row
of panels with that space if there are several rows, in inches."""
MIN_POINTS = 5
"""Minimum number of points. Fewer points do not show the effects of several settings."""
MAX_BINS = 6
"""Maximum number of medians on the line of a setting with many values."""
MIN_POINTS_PER_BIN = 4
"""Minimum number of points for each of these medians."""
MIN_TICK_DISTANCE = 0.07
"""Minimum distance between the ticks of a numeric setting, relative to its axis. If values are closer, round numbers
are labeled."""


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


def collect_values(points: Sequence[RankedPoint], path: str) -> list[Any]:
    """Returns the value of a setting in each point that varies it."""
    return [point.varied[path] for point in points if path in point.varied]


def find_varying_settings(points: Sequence[RankedPoint]) -> list[str]:
    """Returns the paths of the settings that have more than one value, in the order of the sweep."""
    paths = dict.fromkeys(path for point in points for path in point.varied)
    return [path for path in paths if len(set(map(format_value, collect_values(points, path)))) > 1]


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
    columns = 2 if len(settings) == 4 else min(3, len(settings))  # noqa: PLR2004 - four are two rows of two
    rows = -(-len(settings) // columns)
    step_x = (style.WIDTH - _LEFT + _GAP) / columns
    step_y = style.HEIGHT - _TOP if rows == 1 else _ROW_HEIGHT
    height = _TOP + rows * step_y
    figure = style.build_figure(style.WIDTH, height)
    low, high = compute_axis_limits(points, ranking.objective)
    for number, setting in enumerate(settings):
        row, column = divmod(number, columns)
        left, bottom = _LEFT + step_x * column, height - _TOP - step_y * (row + 1) + _BOTTOM
        sides = left / style.WIDTH, bottom / height, (step_x - _GAP) / style.WIDTH, (step_y - _BOTTOM) / height
        axes = figure.add_axes(sides)
        axes.set_ylim(low, high)
        _draw_effect(axes, points, setting)
        style.format_value_axis(axes.yaxis, ranking.objective)
        style.style_axes(axes, grid="y")
        if column:
            axes.tick_params(axis="y", labelleft=False)
        share = f", {100 * importance[setting]:.0f} %" if setting in importance else ""
        title: dict[str, Any] = {"coordinates": "axes fraction", "color": style.INK, "weight": "bold", "va": "bottom"}
        name = style.shorten(setting.rpartition(".")[2], MAX_TITLE_LENGTH)
        style.annotate(axes, f"{name}{share}", (0, 1), (0, 5), **title)
    subtitle = f"One dot per point. Orange: {describe_highlighted(points)}. Blue: medians"
    subtitle += ". Percentages: share of the variance" if importance else ""
    subtitle += describe_outliers(points, low, high)
    headline = f"{format_metric_name(ranking.objective)} by setting"
    style.save_plot(figure.axes[0], path, headline, subtitle, over=PANEL_TITLE_HEIGHT, whole=True)
    return True


def _draw_effect(axes: Axes, points: Sequence[RankedPoint], setting: str) -> None:
    """Draws the points against a setting. A small random shift separates points with equal categorical values."""
    points_with_setting = [point for point in points if setting in point.varied]
    scale = SettingScale(collect_values(points_with_setting, setting))
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
    axes = style.build_axes(style.WIDTH, style.HEIGHT, left=0.7, bottom=0.48, right=1.5, top=0.5)
    low, high = compute_axis_limits(points, ranking.objective)
    axes.set_ylim(low, high)
    SettingScale(collect_values(points, settings[0])).label_axis(axes)
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
    style.save_plot(axes, path, format_metric_name(ranking.objective), subtitle, whole=True)
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

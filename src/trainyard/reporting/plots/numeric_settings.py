"""Plot of the objective of a sweep against one or two numeric settings."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.evaluation import RankedPoint, Ranking
from trainyard.reporting.formatting import format_metric_name, format_range
from trainyard.reporting.plots import style
from trainyard.reporting.plots.ranking import (
    compute_axis_limits,
    compute_label_height,
    describe_hidden_points,
    format_value_axis,
    label_line_ends,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_LINES = 6
"""Maximum number of values of the second setting. More shades would not be distinguishable."""
SHADE_RANGE = ("#7fb8dc", "#08306b")
"""Colours of the lines for the smallest and the largest value of the second setting."""
BAR_GAP = 3.0
"""Horizontal distance between the bars of two lines at the same value, in typographic points."""


def draw_numeric_settings(ranking: Ranking, path: Path) -> bool:
    """Draws the objective against a numeric setting, with a line per value of a second one.

    The setting with more values is on the x axis. A list of one number is treated as that number.

    Returns:
        Whether the plot was drawn. It is only if the sweep has an objective, exactly one or two settings vary, all
        their values are numbers, and there are at most `MAX_LINES` lines with at least two points each.
    """
    settings = _find_numeric_settings(ranking.points)
    if ranking.objective is None or settings is None:
        return False
    first, second = settings[0], (settings[1] if len(settings) > 1 else None)
    lines: dict[float | None, list[tuple[float, RankedPoint]]] = {}
    for point in ranking.points:
        value = None if second is None else convert_to_number(point.varied[second])
        lines.setdefault(value, []).append((convert_to_number(point.varied[first]) or 0.0, point))
    if len(lines) > MAX_LINES or min(map(len, lines.values())) < 2:  # noqa: PLR2004 - a line needs two points
        return False
    figure, axes = style.build_axes(6.8, 3.8, left=0.82, bottom=0.57, right=1.36, top=0.65)
    ordered = dict(sorted(lines.items(), key=lambda item: item[0] or 0.0))
    colours = dict(zip(ordered, _build_shades(len(ordered)), strict=True))
    for number, (value, line) in enumerate(ordered.items()):
        shift = BAR_GAP * (number - (len(ordered) - 1) / 2) if ranking.has_repeats else 0.0
        _draw_line(axes, sorted(line, key=lambda item: item[0]), colours[value], shift)
    values = sorted({number for line in lines.values() for number, _ in line})
    _format_setting_axis(axes, values)
    low, high = compute_axis_limits(ranking.points, ranking.objective)
    axes.set_ylim(low, high)
    axes.set_xlabel(first, size=style.TEXT, color=style.INK)
    format_value_axis(axes, ranking.objective, "y")
    style.style_axes(axes, grid="y")
    if second is not None:
        _label_lines(axes, ordered, colours, second)
    seeds = format_range({point.n for point in ranking.points})
    subtitle = f"Mean of {seeds} seeds, bars: min to max" if ranking.has_repeats else "One seed per point"
    subtitle += describe_hidden_points(ranking.points, low, high)
    style.add_headline(axes, format_metric_name(ranking.objective), subtitle)
    style.save_small_figure(figure, path)
    return True


def _draw_line(axes: Axes, line: Sequence[tuple[float, RankedPoint]], colour: str, shift: float) -> None:
    """Draws the points of a line by their value of the first setting, with bars from minimum to maximum over the seeds.

    The line is shifted to the right by typographic points, so that bars of different lines do not overlap.
    """
    from matplotlib.transforms import ScaledTranslation

    shifted = axes.transData + ScaledTranslation(shift / style.POINTS_PER_INCH, 0, axes.figure.dpi_scale_trans)
    numbers = [number for number, _ in line]
    means = [statistics.fmean(point.values) for _, point in line]
    for number, point in line:
        ends = (min(point.values), max(point.values))
        axes.plot((number, number), ends, color=colour, linewidth=1.2, alpha=0.6, zorder=2, transform=shifted)
    axes.plot(numbers, means, "o-", color=colour, linewidth=1.7, markersize=5, zorder=3, transform=shifted)


def _label_lines(
    axes: Axes,
    lines: Mapping[float | None, list[tuple[float, RankedPoint]]],
    colours: Mapping[float | None, str],
    name: str,
) -> None:
    """Writes the value of each line at its right end, and the name of their setting above these labels."""
    labels = {}
    for value, line in lines.items():
        number, point = max(line, key=lambda item: item[0])
        labels[value] = (f"{value:g}", colours[value], (number, statistics.fmean(point.values)))
    top = label_line_ends(axes, labels)
    style.annotate(axes, name, (1.045, top + 1.15 * compute_label_height(axes)), coordinates="axes fraction")


def _find_numeric_settings(points: Sequence[RankedPoint]) -> list[str] | None:
    """Returns the paths of the one or two varying settings, the one with more values first.

    Returns None if another number of settings vary, or not all of their values are distinct numbers.
    """
    paths = dict.fromkeys(path for point in points for path in point.varied)
    values = {path: {str(point.varied.get(path)) for point in points} for path in paths}
    varying = [path for path in paths if len(values[path]) > 1]
    if not 1 <= len(varying) <= 2:  # noqa: PLR2004 - one is shown on the x axis, one by the shade
        return None
    for path in varying:
        numbers = {convert_to_number(point.varied.get(path)) for point in points}
        if None in numbers or len(numbers) < len(values[path]):  # 64 and [64] are the same number
            return None
    return sorted(varying, key=lambda path: -len(values[path]))


def convert_to_number(value: Any) -> float | None:  # noqa: ANN401 - any value of a config
    """Returns a setting that is a number, or a list of one number, as a float; otherwise None.

    Strings and booleans are not numbers.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _format_setting_axis(axes: Axes, values: Sequence[float]) -> None:
    """Sets scale, limits and ticks of the x axis, which shows the values of a setting, sorted in ascending order.

    The scale is logarithmic if the values span more than a factor of ten. Each value is labeled if there is space.
    """
    logarithmic = values[0] > 0 and values[-1] > 10 * values[0]
    positions = np.log10(values) if logarithmic else np.array(values)
    limits = positions[[0, -1]] + np.array([-0.04, 0.04]) * np.ptp(positions)
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xlim(*(10**limits if logarithmic else limits))
    if np.diff(positions).min() >= 0.08 * np.ptp(positions):
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()


def _build_shades(count: int) -> list[str]:
    """Returns `count` colours from light to dark, or the default blue if there is only one."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    if count == 1:
        return [style.BLUE]
    return [to_hex(colour) for colour in LinearSegmentedColormap.from_list("", SHADE_RANGE)(np.linspace(0, 1, count))]

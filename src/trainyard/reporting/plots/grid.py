"""The objective of a sweep against the one or two settings that vary."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.evaluation.ranking import Place, Ranking
from trainyard.reporting.plots.ranking import in_words, label_ends, letters_high, span, value_range, write_values
from trainyard.reporting.plots.style import (
    BLUE,
    INK,
    POINTS,
    SMALL,
    SOFT,
    TEXT,
    make_figure,
    save_small,
    tidy,
    write_headline,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES = 6
"""Values of the second setting that can be told apart by their shade."""
SHADES = ("#7fb8dc", "#08306b")
"""Of the lines for the smallest and the largest value of the second setting."""
BAR_GAP = 3.0
"""Typographic points between the bars of two lines at one place."""


def draw_grid(ranking: Ranking, path: Path) -> bool:
    """Draws the objective against a numeric setting, with a line per value of a second one.

    A list of one number counts as the number. The first setting is that with more values.

    Args:
        ranking: Of a sweep.
        path: The PNG file to write.

    Returns:
        Whether it was drawn: only where exactly one or two settings vary, by numbers that form lines.
    """
    settings = _numeric_settings(ranking.places)
    if ranking.objective is None or settings is None:
        return False
    first, second = settings[0], (settings[1] if len(settings) > 1 else None)
    lines: dict[float | None, list[tuple[float, Place]]] = {}
    for place in ranking.places:
        value = None if second is None else as_number(place.varied[second])
        lines.setdefault(value, []).append((as_number(place.varied[first]) or 0.0, place))
    if len(lines) > MOST_LINES or min(map(len, lines.values())) < 2:  # noqa: PLR2004 - a point is no line
        return False
    figure = make_figure(6.8, 3.8)
    axes = figure.add_axes((0.12, 0.15, 0.68, 0.68))
    ordered = dict(sorted(lines.items(), key=lambda item: item[0] or 0.0))
    colours = dict(zip(ordered, _shades(len(ordered)), strict=True))
    for number, (value, line) in enumerate(ordered.items()):
        aside = BAR_GAP * (number - (len(ordered) - 1) / 2) if ranking.repeated else 0.0
        _draw_line(axes, sorted(line, key=lambda item: item[0]), colours[value], aside)
    every = sorted({place for line in lines.values() for place, _ in line})
    _set_setting_axis(axes, every)
    low, high = value_range(ranking.places, ranking.objective)
    axes.set_ylim(low, high)
    axes.set_xlabel(first, size=TEXT, color=INK)
    write_values(axes, ranking.objective, "y")
    tidy(axes, grid="y")
    if second is not None:
        _label_lines(axes, ordered, colours, second)
    seeds = span(sorted({place.n for place in ranking.places}))
    told = f"Mean of {seeds} seeds, bars: least to most" if ranking.repeated else "One seed each"
    hidden = sum(not low <= statistics.fmean(place.values) <= high for place in ranking.places)
    write_headline(axes, in_words(ranking.objective), told + (f". Out of sight: {hidden:,}" if hidden else ""))
    save_small(figure, path)
    return True


def _draw_line(axes: Axes, line: Sequence[tuple[float, Place]], colour: str, aside: float) -> None:
    """Draws the points of a line, with the range of their seeds, so many typographic points beside their place."""
    from matplotlib.transforms import ScaledTranslation

    beside = axes.transData + ScaledTranslation(aside / POINTS, 0, axes.figure.dpi_scale_trans)
    where = [number for number, _ in line]
    means = [statistics.fmean(place.values) for _, place in line]
    for number, place in line:
        ends = (min(place.values), max(place.values))
        axes.plot((number, number), ends, color=colour, linewidth=1.2, alpha=0.6, zorder=2, transform=beside)
    axes.plot(where, means, "o-", color=colour, linewidth=1.7, markersize=5, zorder=3, transform=beside)


def _label_lines(
    axes: Axes, lines: Mapping[float | None, list[tuple[float, Place]]], colours: Mapping[float | None, str], name: str
) -> None:
    """Writes the value of each line at its right end, and above them what they are values of."""
    labels = {}
    for value, line in lines.items():
        number, place = max(line, key=lambda item: item[0])
        labels[value] = (f"{value:g}", colours[value], (number, statistics.fmean(place.values)))
    top = label_ends(axes, labels)
    axes.annotate(
        name, (1.045, top + 1.15 * letters_high(axes)), xycoords="axes fraction", size=SMALL, color=SOFT, va="center",
        annotation_clip=False,
    )  # fmt: skip


def _numeric_settings(places: Sequence[Place]) -> list[str] | None:
    """Returns the one or two settings that vary, that with more values first; None where it is not so."""
    paths = dict.fromkeys(path for place in places for path in place.varied)
    values = {path: {str(place.varied.get(path)) for place in places} for path in paths}
    varying = [path for path in paths if len(values[path]) > 1]
    if not 1 <= len(varying) <= 2:  # noqa: PLR2004 - a picture has two dimensions, and shades
        return None
    if any(as_number(place.varied.get(path)) is None for place in places for path in varying):
        return None
    return sorted(varying, key=lambda path: -len(values[path]))


def as_number(value: Any) -> float | None:  # noqa: ANN401 - any value of a config
    """Returns the number that a setting is."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _set_setting_axis(axes: Axes, values: Sequence[float]) -> None:
    """Names the values of the setting on its axis where there is room; over more than a decade it is logarithmic."""
    logarithmic = values[0] > 0 and values[-1] > 10 * values[0]
    positions = np.log10(values) if logarithmic else np.array(values)
    limits = positions[[0, -1]] + np.array([-0.04, 0.04]) * np.ptp(positions)
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xlim(*(10**limits if logarithmic else limits))
    if np.diff(positions).min() >= 0.08 * np.ptp(positions):
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()


def _shades(count: int) -> list[str]:
    """Returns so many colours, from light to dark; the only one is our blue."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    if count == 1:
        return [BLUE]
    return [to_hex(colour) for colour in LinearSegmentedColormap.from_list("", SHADES)(np.linspace(0, 1, count))]

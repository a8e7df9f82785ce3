"""What each setting of a sweep does to the objective, a panel for each; and all settings together, a line per point."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.evaluation.ranking import Place, Ranking, higher_is_better
from trainyard.reporting.formatting import show_value
from trainyard.reporting.plots.grid import as_number
from trainyard.reporting.plots.ranking import in_words, value_range, write_values
from trainyard.reporting.plots.style import (
    BLUE,
    FAINT,
    INK,
    SMALL,
    SOFT,
    TEXT,
    VERMILLION,
    make_figure,
    save_small,
    shorten,
    tidy,
    write_headline,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3
"""Panels beside one another."""
MOST_PANELS, MOST_AXES = 9, 10
"""Settings that are drawn, the most important first."""
MOST_TICKS = 8
"""Values that are named on an axis; where there are more, numbers get round ones."""
LONGEST_TICK = 16
PANEL_TITLE = 14.0
"""Typographic points that the title of a panel takes above it."""
LEAST_POINTS = 5
"""Fewer points show nothing of several settings."""
BINS = 6
"""At most so many medians make the line of a setting with many values."""
BIN_POINTS = 4
"""At least so many points are behind each."""
MISSING = -0.09
"""Where points stand on the axis of a setting that they don't have."""
BEST = 5
"""So many of the first places stand out."""
COLOURS = "viridis_r"
"""From the worst to the best, which is dark."""


class Scale:
    """Where the values of a setting stand on an axis: numbers by their size, anything else in a row."""

    def __init__(self, values: Sequence[Any]) -> None:
        """Takes all values that there are."""
        numbers = [as_number(value) for value in values]
        self.numeric = all(number is not None for number in numbers)
        known = sorted({number for number in numbers if number is not None})
        few = len(known) <= MOST_TICKS
        self.logarithmic = self.numeric and known[0] > 0 and known[-1] > (10 if few else 100) * known[0]
        names = dict.fromkeys(show_value(value) for value in sorted(values, key=_by_size))
        self._rows = {name: float(row) for row, name in enumerate(names)}
        self.ticks = {f"{number:g}": number for number in known if few} if self.numeric else self._rows
        """The values that are named, by their names; none where they are too many numbers."""

    def position(self, value: Any) -> float:  # noqa: ANN401 - any value of a config
        """Returns where a value stands."""
        return (as_number(value) or 0.0) if self.numeric else self._rows[show_value(value)]

    def limits(self) -> tuple[float, float]:
        """Returns how far an axis of names reaches."""
        return -0.5, len(self._rows) - 0.5


def _by_size(value: Any) -> tuple[float, str]:  # noqa: ANN401 - any value of a config
    """Returns what values are ordered by that are no numbers: lists by their sum."""
    numbers = value if isinstance(value, (list, tuple)) and all(as_number(item) is not None for item in value) else ()
    return float(sum(numbers)), show_value(value)


def _values(places: Sequence[Place], path: str) -> list[Any]:
    return [place.varied[path] for place in places if path in place.varied]


def varying(places: Sequence[Place]) -> list[str]:
    """Returns the settings that have more than one value, in the order of the sweep."""
    paths = dict.fromkeys(path for place in places for path in place.varied)
    return [path for path in paths if len(set(map(show_value, _values(places, path)))) > 1]


# ------------------------------------------------------------------------------------------------------------
# Each setting by itself


def draw_effects(ranking: Ranking, importance: Mapping[str, float], path: Path) -> bool:
    """Draws the objective against each setting, whatever the others are, with what is typical of its values.

    Args:
        ranking: Of a sweep.
        importance: The share of each setting in the variance, as far as known; the most important are drawn first.
        path: The PNG file to write.

    Returns:
        Whether it was drawn: not where nothing is compared, or there are few points.
    """
    places = ranking.places
    settings = sorted(varying(places), key=lambda name: -importance.get(name, 0.0))[:MOST_PANELS]
    if ranking.objective is None or len(places) < LEAST_POINTS or not settings:
        return False
    columns = min(COLUMNS, len(settings))
    rows = -(-len(settings) // columns)
    width, height = 0.75 + 2.75 * columns, 0.75 + 2.6 * rows
    figure = make_figure(width, height)
    low, high = value_range(places, ranking.objective)
    for number, setting in enumerate(settings):
        row, column = divmod(number, columns)
        left, bottom = 0.75 + 2.75 * column, height - 0.75 - 2.6 * row - 1.75
        axes = figure.add_axes((left / width, bottom / height, 2.35 / width, 1.75 / height))
        axes.set_ylim(low, high)
        _draw_effect(axes, places, setting)
        write_values(axes, ranking.objective, "y")
        tidy(axes, grid="y")
        if column:
            axes.tick_params(axis="y", labelleft=False)
        share = f", {100 * importance[setting]:.0f} %" if setting in importance else ""
        axes.set_title(
            f"{shorten(setting, 34)}{share}", size=SMALL, color=INK, loc="left", weight="bold", pad=5, parse_math=False
        )
    hidden = sum(not low <= statistics.fmean(place.values) <= high for place in places)
    told = f"Each dot is a point; in red the best {BEST}, in blue the medians"
    told += "; per cent: share in the variance" if importance else ""
    told += f". Out of sight: {hidden:,}" if hidden else ""
    write_headline(figure.axes[0], f"{in_words(ranking.objective)}, by setting", told, over=PANEL_TITLE)
    save_small(figure, path)
    return True


def _draw_effect(axes: Axes, places: Sequence[Place], setting: str) -> None:
    """Draws the points against a setting; those of names are spread a little, so that they don't hide one another."""
    shown = [place for place in places if setting in place.varied]
    scale = Scale(_values(shown, setting))
    where = np.array([scale.position(place.varied[setting]) for place in shown])
    means = np.array([statistics.fmean(place.values) for place in shown])
    best = np.array([place in places[:BEST] for place in shown])
    aside = np.zeros(len(shown)) if scale.numeric else np.random.default_rng(0).uniform(-0.16, 0.16, len(shown))
    if scale.logarithmic:
        axes.set_xscale("log")
    axes.plot((where + aside)[~best], means[~best], "o", color=SOFT, markersize=3.2, alpha=0.45, markeredgewidth=0)
    axes.plot((where + aside)[best], means[best], "D", color=VERMILLION, markersize=4, markeredgewidth=0, zorder=4)
    if scale.numeric and len(set(where)) > MOST_TICKS:
        _draw_medians(axes, where, means)
    else:
        half = 0.3 if not scale.numeric else 0.0
        typical = {at: float(np.median(means[where == at])) for at in sorted(set(where))}
        if scale.numeric:
            axes.plot(list(typical), list(typical.values()), "_-", color=BLUE, linewidth=1.4, markersize=9, zorder=3)
        else:
            for at, value in typical.items():
                axes.plot((at - half, at + half), (value, value), color=BLUE, linewidth=2, zorder=3)
    if scale.ticks:
        _name_ticks(axes, scale)
    elif scale.logarithmic:
        axes.xaxis.set_minor_formatter("")
    if not scale.numeric:
        axes.set_xlim(*scale.limits())


def _draw_medians(axes: Axes, where: np.ndarray, means: np.ndarray) -> None:
    """Draws the medians of neighbouring points, equally many in each group."""
    groups = min(BINS, len(where) // BIN_POINTS)
    if groups > 1:
        parts = np.array_split(np.argsort(where, kind="stable"), groups)
        middles = [float(np.median(where[part])) for part in parts]
        axes.plot(middles, [float(np.median(means[part])) for part in parts], color=BLUE, linewidth=1.6, zorder=3)


def _name_ticks(axes: Axes, scale: Scale) -> None:
    """Names the values of a setting on the axis below, turned where they are long."""
    names = [shorten(name, LONGEST_TICK) for name in scale.ticks]
    axes.set_xticks(list(scale.ticks.values()), names)
    axes.minorticks_off()
    for label in axes.get_xticklabels():
        label.set_parse_math(False)
    if sum(map(len, names)) > 30:  # noqa: PLR2004 - what stands side by side under a panel
        for label in axes.get_xticklabels():
            label.set(rotation=28, ha="right", rotation_mode="anchor")


# ------------------------------------------------------------------------------------------------------------
# All settings together


def draw_parallel(ranking: Ranking, path: Path) -> bool:
    """Draws parallel coordinates: an upright axis for each setting, the last for the objective; a line per point.

    Args:
        ranking: Of a sweep.
        path: The PNG file to write.

    Returns:
        Whether it was drawn: not where nothing is compared, fewer than two settings vary, or there are few points.
    """
    settings = varying(ranking.places)[:MOST_AXES]
    if ranking.objective is None or len(ranking.places) < LEAST_POINTS or len(settings) < 2:  # noqa: PLR2004
        return False
    objective = ranking.objective
    width = 1.6 + 1.35 * len(settings)
    figure = make_figure(width, 4.2)
    axes = figure.add_axes((0.8 / width, 0.2, (width - 1.6) / width, 0.6))
    low, high = value_range(ranking.places, objective)
    columns = [*(_shares(ranking.places, setting) for setting in settings)]
    means = np.array([statistics.fmean(place.values) for place in ranking.places])
    heights = np.clip((means - low) / (high - low), -0.04, 1.0)
    heights = heights if higher_is_better(objective) else 1 - heights
    _draw_lines(axes, np.column_stack([*(column for column, _ in columns), heights]), heights)
    for number, (_, ticks) in enumerate(columns):
        _draw_upright(axes, number, ticks)
        name = shorten(settings[number].rpartition(".")[2], LONGEST_TICK)
        axes.annotate(
            name, (number, -0.16), size=TEXT, color=INK, ha="center", va="top", annotation_clip=False, parse_math=False
        )
    ends = np.linspace(low, high, 5)
    shown = [f"{100 * end:.4g} %" if higher_is_better(objective) else f"{end:.3g}" for end in ends]
    shares = np.linspace(0, 1, 5) if higher_is_better(objective) else np.linspace(1, 0, 5)
    _draw_upright(axes, len(settings), dict(zip(shown, map(float, shares), strict=True)), right=True)
    axes.annotate(objective, (len(settings), -0.16), size=TEXT, color=INK, ha="center", va="top", annotation_clip=False)
    axes.set(xlim=(-0.02, len(settings) + 0.02), ylim=(-0.12, 1.03))
    axes.axis("off")
    hidden = int((means < low).sum() + (means > high).sum())
    told = f"A line per point, the best {BEST} thick" + (f"; {hidden:,} end below the axis" if hidden else "")
    write_headline(axes, f"{len(ranking.places):,} points and what they came to", told)
    save_small(figure, path)
    return True


def _shares(places: Sequence[Place], setting: str) -> tuple[np.ndarray, dict[str, float]]:
    """Returns how high each point stands on the axis of a setting or below it, and what is named there."""
    scale = Scale(_values(places, setting))
    positions = np.array(
        [scale.position(place.varied[setting]) if setting in place.varied else np.nan for place in places]
    )
    missing = np.isnan(positions)
    least, most = float(np.nanmin(positions)), float(np.nanmax(positions))
    ticks = scale.ticks or _round_numbers(least, most, logarithmic=scale.logarithmic)
    if scale.logarithmic:
        positions, ticks = np.log(positions), {name: float(np.log(at)) for name, at in ticks.items()}
        least, most = float(np.log(least)), float(np.log(most))
    spread = (most - least) or 1.0  # [64] and 64 are two values, and one number
    heights = {name: (at - least) / spread for name, at in ticks.items()}
    shares = np.where(missing, MISSING, (positions - least) / spread)
    return shares, heights | ({"none": MISSING} if missing.any() else {})


def _round_numbers(least: float, most: float, *, logarithmic: bool) -> dict[str, float]:
    """Returns a few round numbers between two, by their names."""
    from matplotlib.ticker import MaxNLocator

    if logarithmic:
        numbers = [10.0**power for power in range(math.ceil(math.log10(least)), math.floor(math.log10(most)) + 1)]
    else:
        numbers = [number for number in MaxNLocator(4).tick_values(least, most) if least <= number <= most]
    return {f"{number:g}": float(number) for number in numbers}


def _draw_lines(axes: Axes, rows: np.ndarray, heights: np.ndarray) -> None:
    """Draws a line per row, the best on top and thick."""
    from matplotlib import colormaps

    colours = colormaps[COLOURS](0.08 + 0.92 * np.clip(heights, 0, 1))
    for place in range(len(rows) - 1, -1, -1):
        best = place < BEST
        axes.plot(
            range(rows.shape[1]), rows[place], color=colours[place], linewidth=2.0 if best else 0.8,
            alpha=1.0 if best else 0.5, zorder=3 if best else 2, solid_capstyle="round",
        )  # fmt: skip


def _draw_upright(axes: Axes, number: int, ticks: Mapping[str, float], *, right: bool = False) -> None:
    """Draws an axis with the names of its values beside it."""
    axes.plot((number, number), (0, 1), color=SOFT, linewidth=1, zorder=4)
    behind = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": FAINT, "alpha": 0.8}
    for name, height in ticks.items():
        axes.annotate(
            shorten(name, LONGEST_TICK), (number, height), (5, 0), textcoords="offset points", size=SMALL, color=INK,
            va="center", zorder=5, annotation_clip=False, parse_math=False,
            bbox=None if right else dict(behind),
        )  # fmt: skip

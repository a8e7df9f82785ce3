"""The pictures of records: what every seed of every arm came to; published figures beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainyard.reporting.plots.style import (
    BLUE,
    INK,
    SMALL,
    SOFT,
    TEXT,
    VERMILLION,
    make_figure,
    save_small,
    tidy,
    write_headline,
)

_GREY = "#8c8c8c"
_BAND = "#dcdcdc"
_LINE, _GAP = 0.21, 0.6
"""Inches that a figure takes; lines between groups of them."""
_ROW, _SPREAD = 0.62, 0.16
"""Inches that an arm takes; how far its dots lie off its line at most."""


def draw_arms(
    arms: Mapping[str, Sequence[float]], intervals: Mapping[str, tuple[float, float, float]], goal: float, path: Path
) -> None:
    """Draws a dot per seed, and under each arm's dots its mean with the interval of that.

    Args:
        arms: Accuracies, 0 to 1, by arm; the first stands out.
        intervals: Mean, low and high end, by arm.
        goal: What the first arm's mean is to reach.
        path: The PNG file to write.
    """
    figure = make_figure(7.6, 1.25 + _ROW * len(arms))
    top, bottom = 0.62 / (1.25 + _ROW * len(arms)), 0.5 / (1.25 + _ROW * len(arms))
    axes = figure.add_axes((0.22, bottom, 0.74, 1 - top - bottom))
    axes.axvline(100 * goal, color=SOFT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        f"target {100 * goal:g}", (100 * goal, -0.5), (4, -2), textcoords="offset points", size=SMALL,
        color=SOFT, va="top", annotation_clip=False,
    )  # fmt: skip
    for place, (name, values) in enumerate(arms.items()):
        colour = _GREY if place else BLUE
        axes.plot(
            100 * np.asarray(values), place + _beside(values) - 0.12, "o", color=colour, alpha=0.75, markersize=5,
            markeredgewidth=0, zorder=3,
        )  # fmt: skip
        mean, low, high = (100 * value for value in intervals[name])
        axes.plot([low, high], [place + 0.24] * 2, color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
        axes.plot([mean], [place + 0.24], "D", color=colour, markersize=5.5, zorder=4)
        axes.annotate(
            f"{mean:.2f}", (high, place + 0.24), (5, 0), textcoords="offset points", size=TEXT, va="center",
            color=BLUE if not place else INK, weight="normal" if place else "bold",
        )  # fmt: skip
    axes.set_yticks(range(len(arms)), list(arms))
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.margins(x=0.06)
    axes.set_xlabel("Accuracy on the test images, %", size=TEXT, color=INK)
    tidy(axes, grid="x")
    axes.tick_params(axis="y", labelsize=TEXT, labelcolor=INK, length=0)
    count = len(next(iter(arms.values())))
    write_headline(axes, "Every seed", f"A dot per seed, {count} each; below them the mean with its 95 % interval")
    save_small(figure, path)


def _beside(values: Sequence[float]) -> np.ndarray:
    """Returns how far each dot lies off the line of its arm, so that equal ones do not hide each other."""
    seen: dict[float, int] = {}
    shifts = []
    for value in values:
        number = seen[value] = seen.get(value, -1) + 1
        shifts.append((-1 if number % 2 else 1) * ((number + 1) // 2))
    most = max(map(abs, shifts))
    return np.asarray(shifts) * _SPREAD / max(most, 2)


class Band(NamedTuple):
    """A published figure as it is drawn.

    Attributes:
        name: At the axis.
        rounding: The ends of what rounds to the published figure.
        predicted: The ends of the prediction interval of one more run.
        values: Ours, one per seed.
        holds: Whether the two intervals have something in common.
    """

    name: str
    rounding: tuple[float, float]
    predicted: tuple[float, float]
    values: Sequence[float]
    holds: bool


def draw_bands(groups: Sequence[Sequence[Band]], title: str, subtitle: str, path: Path) -> None:
    """Draws published figures as grey bands, and over them what our seeds came to and where one more run would lie.

    Args:
        groups: Of figures that belong together, from the top down, with a gap after each.
        title: The headline.
        subtitle: The line under it.
        path: The PNG file to write.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch, Rectangle

    rows = sum(map(len, groups)) + _GAP * (len(groups) - 1)
    height = 1.55 + _LINE * rows
    figure = make_figure(7.6, height)
    axes = figure.add_axes((0.2, 0.62 / height, 0.76, 1 - 1.55 / height))
    place, places, names = 0.0, [], []
    for group in groups:
        for band in group:
            colour = BLUE if band.holds else VERMILLION
            low, high = (100 * end for end in band.rounding)
            axes.add_patch(Rectangle((low, place - 0.4), high - low, 0.8, facecolor=_BAND, edgecolor="none", zorder=1))
            axes.plot([100 * end for end in band.predicted], [place, place], color=colour, linewidth=1.6, zorder=3)
            axes.plot(
                100 * np.asarray(band.values), [place] * len(band.values), "o", color=colour, alpha=0.55,
                markersize=3.6, markeredgewidth=0, zorder=4,
            )  # fmt: skip
            places.append(place)
            names.append(band.name)
            place += 1
        place += _GAP
    axes.set_yticks(places, names)
    axes.set_ylim(places[-1] + 0.7, -0.7)
    axes.margins(x=0.03)
    axes.set_xlabel("%", size=TEXT, color=INK)
    tidy(axes, grid="x")
    axes.tick_params(axis="y", labelsize=SMALL, labelcolor=INK, length=0)
    keys = [
        Patch(facecolor=_BAND, label="rounds to what was published"),
        Line2D([], [], color=BLUE, linewidth=1.6, marker="o", markersize=3.6, label="one more run; our seeds"),
    ]
    if not all(band.holds for group in groups for band in group):
        keys.append(Line2D([], [], color=VERMILLION, linewidth=1.6, marker="o", markersize=3.6, label="contradicted"))
    axes.legend(
        handles=keys, fontsize=SMALL, frameon=False, labelcolor=INK, ncols=len(keys), loc="lower left",
        bbox_to_anchor=(0, 1), borderaxespad=0.2, handlelength=1.6, columnspacing=1.4,
    )  # fmt: skip
    write_headline(axes, title, subtitle, over=18)
    save_small(figure, path)

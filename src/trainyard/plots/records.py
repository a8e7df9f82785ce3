"""The picture of a record: what every seed of every arm came to.

Before it: style. After it: ``trainyard reproduce``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from trainyard.plots.style import BLUE, INK, SMALL, SOFT, TEXT, make_figure, save_small, tidy, write_headline

_GREY = "#8c8c8c"
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
        shifts.append((-1 if number % 2 else 1) * (number + 1) // 2 * _SPREAD / 2)
    return np.asarray(shifts)

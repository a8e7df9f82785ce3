"""Learning curves of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainyard.reporting.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL_HEIGHT = 12
"""Vertical distance between labels of one line in typographic points."""


_NEAR_EDGE = 0.98
"""A line that ends left of this fraction of the axes is connected to its label by a dotted line."""


class LineEnd(NamedTuple):
    """The end of a line in data coordinates, with its label and colour."""

    label: str
    colour: str
    point: tuple[float, float]


CURVE_STYLES = {
    "train": ("train", style.BLUE, "o", style.BLUE),
    "val": ("validation", style.VERMILLION, "s", "white"),
}
"""Label, colour, marker and colour inside the marker of the curve of each split."""
MAX_EPOCHS_LABELED, MAX_EPOCHS_MARKED = 12, 30
"""Maximum numbers of epochs for which every epoch is labeled on the axis, and for which every value has a marker."""


def draw_learning_curves(history: Sequence[Mapping[str, float]], path: Path, best_epoch: int | None = None) -> None:
    """Draws loss and accuracy by epoch in two panels, for the training images and, if any, the validation images.

    The best epoch, counted from 1, is marked.
    """
    figure = style.build_figure(9.0, 3.3)
    for column, quantity in enumerate(("loss", "accuracy")):
        axes = figure.add_axes((0.06 + 0.51 * column, 0.14, 0.36, 0.72))
        _draw_quantity(axes, history, quantity, best_epoch)
    style.save_figure(figure, path)


def _draw_quantity(axes: Axes, history: Sequence[Mapping[str, float]], quantity: str, best_epoch: int | None) -> None:
    """Draws a quantity, such as the loss, of all splits that have it."""
    last = len(history)
    series = {
        split: [epoch[f"{quantity}/{split}"] for epoch in history]
        for split in CURVE_STYLES
        if f"{quantity}/{split}" in history[0]
    }
    low, high = _compute_limits(quantity, [value for values in series.values() for value in values])
    axes.set_ylim(low, high)
    set_epoch_axis(axes, last)
    if best_epoch is not None:
        axes.axvline(best_epoch, color=style.SOFT, linewidth=0.9, linestyle=(0, (4, 3)), clip_on=False)
        above: dict[str, Any] = {"coordinates": ("data", "axes fraction"), "ha": "center", "va": "bottom"}
        style.annotate(axes, f"best epoch {best_epoch}", (best_epoch, 1), (0, 3), **above)
    line_ends = []
    for split, values in series.items():
        label, colour, marker, fill = CURVE_STYLES[split]
        markers: dict[str, Any] = {"marker": marker, "markersize": 4.2, "markerfacecolor": fill}
        markers = markers if last <= MAX_EPOCHS_MARKED else {}
        axes.plot(range(1, last + 1), values, color=colour, linewidth=1.7, clip_on=False, zorder=3, **markers)
        line_ends.append(LineEnd(label, colour, (last, values[-1])))
    label_line_ends(axes, line_ends)
    style.format_value_axis(axes.yaxis, f"{quantity}/train")
    axes.set_title(quantity.capitalize(), size=style.TITLE, color=style.INK, weight="bold", loc="left", pad=17)


def set_epoch_axis(axes: Axes, last: int) -> None:
    """Applies the common style to axes whose x axis has the epochs from 1 to the last one."""
    axes.set_xlim((1 - 0.03 * (last - 1), last) if last > 1 else (0.5, 1.5))
    axes.set_xticks(choose_epoch_ticks(last))
    style.style_axes(axes, grid="y", xlabel="Epoch")


def choose_epoch_ticks(last: int) -> list[int]:
    """Returns the epochs to label on the axis: all of them, or the first one and round numbers."""
    if last <= MAX_EPOCHS_LABELED:
        return list(range(1, last + 1))
    round_steps = (step * 10**power for power in range(9) for step in (1, 2, 5))
    step = next(step for step in round_steps if step * 6 >= last)
    return [1, *range(step, last + 1, step)]


def _compute_limits(quantity: str, values: list[float]) -> tuple[float, float]:
    """Returns the limits of the y axis. The axis of a loss starts at 0; that of an accuracy covers its values."""
    low, high = min(values), max(values)
    if quantity == "loss":
        return min(0.0, low), max(high * 1.04, 1e-6)
    margin = 0.06 * (high - low) or 0.05
    return max(low - margin, 0.0), min(high + margin / 2, 1.0)


def label_line_ends(axes: Axes, line_ends: Sequence[LineEnd]) -> None:
    """Writes labels to the right of the axes without overlap, each connected to the end of its line.

    Labels can have several lines. The axes must have their final limits.
    """
    points = [end.point for end in line_ends]
    ends = (axes.transData - axes.transAxes).transform(points).clip(0, 1)  # fractions of the axes
    lines = max(end.label.count("\n") + 1 for end in line_ends)
    gap = lines * LABEL_HEIGHT / style.POINTS_PER_INCH * axes.figure.dpi / axes.bbox.height
    heights = spread_labels(ends[:, 1].tolist(), gap)
    overhang = (lines - 1) / lines * gap / 2  # of a label with several lines that is centered at the edge
    shift = min(1 - overhang - max(heights), 0.0) or max(overhang - min(heights), 0.0)
    for line_end, end, height in zip(line_ends, ends, heights, strict=True):
        line = {"arrowstyle": "-", "color": line_end.colour, "linewidth": 0.7, "alpha": 0.7, "relpos": (0, 0.5)}
        line |= {"linestyle": ":"} if end[0] < _NEAR_EDGE else {}  # across the plot, it could look like the line
        axes.annotate(
            line_end.label, end, (1.045, height + shift), xycoords="axes fraction", size=style.TEXT,
            color=line_end.colour, va="center", annotation_clip=False, parse_math=False, linespacing=1.0,
            arrowprops=line | {"shrinkA": 1, "shrinkB": 2},
        )  # fmt: skip


def spread_labels(heights: Sequence[float], gap: float) -> list[float]:
    """Returns label heights that are at least `gap` apart, in the same order and moved as little as possible.

    This is the isotonic regression of the heights minus their minimum distances, by its min-max formula.
    """
    order = np.argsort(heights, kind="stable")
    distances = gap * np.arange(len(heights))
    moved = np.array(heights)[order] - distances
    spread = np.empty(len(heights))
    for number, label in enumerate(order):
        bounds = [
            min(moved[low:high].mean() for high in range(number + 1, len(moved) + 1)) for low in range(number + 1)
        ]
        spread[label] = max(bounds) + distances[number]
    return spread.tolist()

"""Learning curves of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from trainyard.reporting.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Label = TypeVar("Label")


class CurveStyle(NamedTuple):
    """Label, colours and marker of the curve of one split."""

    label: str
    colour: str
    marker: str
    fill: str


CURVE_STYLES = {
    "train": CurveStyle("train", style.BLUE, "o", style.BLUE),
    "val": CurveStyle("validation", style.VERMILLION, "s", "white"),
}
MAX_EPOCHS_LABELED, MAX_EPOCHS_MARKED = 12, 30
"""Maximum numbers of epochs for which every epoch is labeled on the axis, and for which every value has a marker."""


def draw_learning_curves(history: list[dict[str, float]], path: Path, best_epoch: int | None = None) -> None:
    """Draws loss and accuracy by epoch in two panels, for the training images and, if any, the validation images.

    The best epoch, counted from 1, is marked.
    """
    figure = style.build_figure(9.0, 3.3)
    for column, quantity in enumerate(("loss", "accuracy")):
        axes = figure.add_axes((0.06 + 0.51 * column, 0.14, 0.36, 0.72))
        _draw_quantity(axes, history, quantity, best_epoch)
    style.save_figure(figure, path)


def _draw_quantity(axes: Axes, history: list[dict[str, float]], quantity: str, best_epoch: int | None) -> None:
    """Draws a quantity, such as the loss, of all splits that have it."""
    from matplotlib.ticker import MaxNLocator

    last = len(history)
    series = {
        split: [epoch[f"{quantity}/{split}"] for epoch in history]
        for split in CURVE_STYLES
        if f"{quantity}/{split}" in history[0]
    }
    low, high = _compute_limits(quantity, [value for values in series.values() for value in values])
    axes.set(xlim=(1 - 0.03 * (last - 1), last) if last > 1 else (0.5, 1.5), ylim=(low, high))
    style.style_axes(axes, grid="y")
    if best_epoch is not None:
        axes.axvline(best_epoch, color=style.SOFT, linewidth=0.9, linestyle=(0, (4, 3)), clip_on=False)
        edge, label = ("data", "axes fraction"), f"best epoch {best_epoch}"
        style.annotate(axes, label, (best_epoch, 1), (0, 3), coordinates=edge, ha="center", va="bottom")
    ends = {}
    for split, values in series.items():
        curve = CURVE_STYLES[split]
        axes.plot(
            range(1, last + 1), values, color=curve.colour, linewidth=1.7, markersize=4.2,
            marker=curve.marker if last <= MAX_EPOCHS_MARKED else None, markerfacecolor=curve.fill,
            clip_on=False, zorder=3,
        )  # fmt: skip
        ends[split] = (values[-1] - low) / (high - low)
    gap = 12 / (axes.get_window_extent().height / axes.figure.dpi * style.POINTS_PER_INCH)
    for split, label_height in spread_labels(ends, gap).items():
        curve = CURVE_STYLES[split]
        offset = 1.025 if last > 1 else 0.56
        properties: dict[str, Any] = {"size": style.TEXT, "color": curve.colour}
        style.annotate(axes, curve.label, (offset, label_height), coordinates="axes fraction", **properties)
    axes.set_xticks(choose_epoch_ticks(last))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    if quantity == "accuracy":
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.6g} %")
    axes.set_xlabel("Epoch", size=style.TEXT, color=style.INK)
    axes.set_title(quantity.capitalize(), size=style.TITLE, color=style.INK, weight="bold", loc="left", pad=17)


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


def spread_labels(heights: Mapping[Label, float], gap: float) -> dict[Label, float]:
    """Returns label heights that are at least `gap` apart, in the same order and moved as little as possible."""
    groups: list[list[tuple[Label, float]]] = []
    for label in sorted(heights.items(), key=lambda item: item[1]):
        groups.append([label])
        while len(groups) > 1 and _compute_lowest_height(groups[-1], gap) - _compute_lowest_height(
            groups[-2], gap
        ) < gap * len(groups[-2]):
            groups[-2:] = [groups[-2] + groups[-1]]
    return {
        label: _compute_lowest_height(group, gap) + gap * number
        for group in groups
        for number, (label, _) in enumerate(group)
    }


def _compute_lowest_height(group: Sequence[tuple[object, float]], gap: float) -> float:
    """Returns the height of the lowest label in a group of touching labels; the mean of the group stays the same."""
    return sum(height for _, height in group) / len(group) - gap * (len(group) - 1) / 2

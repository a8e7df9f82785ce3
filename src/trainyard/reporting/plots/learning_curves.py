"""The learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from trainyard.reporting.plots.style import (
    BLUE,
    FAINT,
    INK,
    POINTS,
    SMALL,
    SOFT,
    TEXT,
    TITLE,
    VERMILLION,
    make_figure,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Label = TypeVar("Label")


class Curve(NamedTuple):
    """How the values of one split are drawn."""

    label: str
    colour: str
    marker: str
    fill: str


CURVES = {"train": Curve("train", BLUE, "o", BLUE), "val": Curve("validation", VERMILLION, "s", "white")}
EPOCHS_WRITTEN, EPOCHS_MARKED = 12, 30
"""Up to so many epochs each is named on the axis, and marked by a point; more would run into one another."""


def draw_learning_curves(history: list[dict[str, float]], path: Path, best_epoch: int | None = None) -> None:
    """Draws loss and accuracy over the epochs, side by side, for training and, if there is any, validation.

    Args:
        history: One mapping per epoch of logged metric names to values; at least one.
        path: The PNG file to write.
        best_epoch: The epoch, from 1, to mark.
    """
    figure = make_figure(9.0, 3.3)
    for place, quantity in enumerate(("loss", "accuracy")):
        axes = figure.add_axes((0.06 + 0.51 * place, 0.14, 0.36, 0.72))
        _draw_curves(axes, history, quantity, best_epoch)
    save(figure, path)


def _draw_curves(axes: Axes, history: list[dict[str, float]], quantity: str, best_epoch: int | None) -> None:
    """Draws one quantity of all splits that have it."""
    from matplotlib.ticker import MaxNLocator

    last = len(history)
    series = {
        split: [epoch[f"{quantity}/{split}"] for epoch in history]
        for split in CURVES
        if f"{quantity}/{split}" in history[0]
    }
    low, high = _value_range(quantity, [value for values in series.values() for value in values])
    axes.set(xlim=(1 - 0.03 * (last - 1), last) if last > 1 else (0.5, 1.5), ylim=(low, high))
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    if best_epoch is not None:
        axes.axvline(best_epoch, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), clip_on=False)
        axes.annotate(
            f"best epoch {best_epoch}", (best_epoch, 1), (0, 3), xycoords=("data", "axes fraction"),
            textcoords="offset points", size=SMALL, color=SOFT, ha="center", va="bottom",
        )  # fmt: skip
    ends = {}
    for split, values in series.items():
        curve = CURVES[split]
        axes.plot(
            range(1, last + 1), values, color=curve.colour, linewidth=1.7, markersize=4.2,
            marker=curve.marker if last <= EPOCHS_MARKED else None, markerfacecolor=curve.fill,
            clip_on=False, zorder=3,
        )  # fmt: skip
        ends[split] = (values[-1] - low) / (high - low)
    gap = 12 / (axes.get_window_extent().height / axes.figure.dpi * POINTS)
    for split, place in keep_apart(ends, gap).items():
        curve = CURVES[split]
        offset = 1.025 if last > 1 else 0.56
        axes.text(offset, place, curve.label, transform=axes.transAxes, size=TEXT, color=curve.colour, va="center")

    axes.set_xticks(epoch_ticks(last))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    if quantity == "accuracy":
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.6g} %")
    axes.set_xlabel("Epoch", size=TEXT, color=INK)
    axes.set_title(quantity.capitalize(), size=TITLE, color=INK, weight="bold", loc="left", pad=17)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.tick_params(labelsize=SMALL, labelcolor=SOFT, color=SOFT, length=3)
    axes.tick_params(axis="y", length=0)


def epoch_ticks(last: int) -> list[int]:
    """Returns the epochs to write on the axis: all of them, or the first and round ones."""
    if last <= EPOCHS_WRITTEN:
        return list(range(1, last + 1))
    rounds = (step * 10**power for power in range(9) for step in (1, 2, 5))
    step = next(step for step in rounds if step * 6 >= last)
    return [1, *range(step, last + 1, step)]


def _value_range(quantity: str, values: list[float]) -> tuple[float, float]:
    """Returns the limits of the y axis: a loss stands on 0, an accuracy uses the room there is."""
    low, high = min(values), max(values)
    if quantity == "loss":
        return min(0.0, low), max(high * 1.04, 1e-6)
    margin = 0.06 * (high - low) or 0.05
    return max(low - margin, 0.0), min(high + margin / 2, 1.0)


def keep_apart(places: Mapping[Label, float], gap: float) -> dict[Label, float]:
    """Moves labels that would touch away from each other, in the order they have, and no further than it takes."""
    groups: list[list[tuple[Label, float]]] = []
    for label in sorted(places.items(), key=lambda item: item[1]):
        groups.append([label])
        while len(groups) > 1 and _lowest(groups[-1], gap) - _lowest(groups[-2], gap) < gap * len(groups[-2]):
            groups[-2:] = [groups[-2] + groups[-1]]
    return {label: _lowest(group, gap) + gap * number for group in groups for number, (label, _) in enumerate(group)}


def _lowest(group: Sequence[tuple[object, float]], gap: float) -> float:
    """Returns where the lowest of labels that touch stands: all together are as high as they were."""
    return sum(place for _, place in group) / len(group) - gap * (len(group) - 1) / 2

"""Images, each beside the probabilities of its most probable classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.data.dataset import DataSpec
from trainyard.reporting.plots.image_grid import TILE, draw_image, percent
from trainyard.reporting.plots.style import (
    BLUE,
    CHARACTER,
    FAINT,
    INK,
    LONGEST_NAME,
    POINTS,
    SMALL,
    SOFT,
    VERMILLION,
    make_figure,
    save,
    shorten,
    write_headline,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_IMAGES, MOST_BARS = 24, 10

_BAR, _PITCH, _THICKNESS = 1.2, 0.22, 0.14
"""The length of a bar that stands for certainty, the space from bar to bar, and its thickness, in inches."""
_CAPTION, _GAP, _AFTER_BAR = 0.2, 0.34, 0.55
"""The height of a caption, the space between two images, and the room for a percentage, in inches."""
_FEW, _NARROW = 8, 4.2
"""Up to so many images stand in two columns, and so do those that are wider than that, in inches."""


class Judged(NamedTuple):
    """An image with what a model says of it.

    Attributes:
        image: uint8 (height, width) or (height, width, channels), raw.
        probabilities: float32 (classes,).
        caption: What the image is called.
        actual: Its label, where that is known.
    """

    image: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    caption: str
    actual: int | None


def draw_probabilities(judged: Sequence[Judged], spec: DataSpec, path: Path, top: int) -> None:
    """Draws the first images, 24 at most, each beside horizontal bars of its highest probabilities.

    Args:
        judged: The images, at least one.
        spec: The names of the classes and the range of pixels.
        path: The PNG file to write.
        top: How many bars, ten at most; all where there are fewer classes.
    """
    shown = judged[:MOST_IMAGES]
    count, top = len(shown), min(top, spec.classes, MOST_BARS)
    order = np.argsort([-image.probabilities for image in shown], axis=1, kind="stable")[:, :top]
    names = {int(label): shorten(spec.class_names[label], LONGEST_NAME) for label in np.unique(order)}
    room = max(map(len, names.values())) * CHARACTER * SMALL / POINTS + 0.2
    step_x = TILE + room + _BAR + _AFTER_BAR + _GAP
    columns = min(count, 3 if count > _FEW and step_x < _NARROW else 2)
    step_y = _CAPTION + max(TILE, top * _PITCH) + _GAP / 2
    width, height = columns * step_x - _GAP, math.ceil(count / columns) * step_y - _GAP / 2
    figure = make_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1))
    for place, (image, best) in enumerate(zip(shown, order.tolist(), strict=True)):
        row, column = divmod(place, columns)
        left, upper = column * step_x, row * step_y
        wrong = image.actual not in (None, best[0])
        caption = _caption(image, spec, int((step_x - _GAP) * POINTS / (CHARACTER * SMALL)), wrong=wrong)
        axes.text(
            left, upper + _CAPTION / 2, caption, size=SMALL, va="center", parse_math=False,
            color=VERMILLION if wrong else SOFT, weight="bold" if wrong else "normal",
        )  # fmt: skip
        draw_image(axes, image.image, spec.pixel_max, (left, upper + _CAPTION), wrong=wrong)
        bars = [(names[label], float(image.probabilities[label])) for label in best]
        _draw_bars(axes, bars, left + TILE + room, upper + _CAPTION + max(0, (TILE - top * _PITCH) / 2))
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    axes.set_axis_off()
    write_headline(axes, *_headline(shown, len(judged), top))
    save(figure, path)


def _caption(image: Judged, spec: DataSpec, length: int, *, wrong: bool) -> str:
    """Returns what stands above an image, of so many characters at most."""
    if image.actual is None:
        return shorten(image.caption, length)
    end = f": actual {shorten(spec.class_names[image.actual], min(LONGEST_NAME, length // 2))}"
    mark = "✗ " if wrong else ""
    return f"{mark}{shorten(image.caption, length - len(end) - len(mark))}{end}"


def _draw_bars(axes: Axes, shown: Sequence[tuple[str, float]], left: float, upper: float) -> None:
    """Draws bars one under another, the first in full colour, each with its name before it and its share after it."""
    middles = [upper + (place + 0.5) * _PITCH for place in range(len(shown))]
    for place, (middle, (name, share)) in enumerate(zip(middles, shown, strict=True)):
        weight = "bold" if place == 0 else "normal"
        axes.barh(middle, _BAR * share, left=left, height=_THICKNESS, color=BLUE, alpha=1 if place == 0 else 0.45)
        axes.text(
            left - 0.07, middle, name, size=SMALL, ha="right", va="center", parse_math=False, color=INK, weight=weight
        )
        axes.text(left + _BAR * share + 0.06, middle, percent(share), size=SMALL, va="center", color=SOFT)
    axes.vlines(left, upper, upper + len(shown) * _PITCH, color=FAINT, linewidth=0.8, zorder=0)


def _headline(shown: Sequence[Judged], total: int, top: int) -> tuple[str, str]:
    """Returns title and subtitle."""
    title = "Prediction of 1 image" if total == 1 else f"Predictions of {total} images"
    if total > len(shown):
        title = f"Predictions of the first {len(shown)} of {total:,} images"
    right = [image.probabilities.argmax() == image.actual for image in shown if image.actual is not None]
    if right:
        title += f": {sum(right)} right, {len(right) - sum(right)} wrong"
        title += f", {len(shown) - len(right)} without a label" if len(right) < len(shown) else ""
    subtitle = "The most probable class" if top == 1 else f"The {top} most probable classes"
    return title, f"{subtitle} of each" if total > 1 else subtitle

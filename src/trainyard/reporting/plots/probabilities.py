"""Plot of images with the probabilities of their most probable classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.data import DataSpec
from trainyard.reporting.formatting import format_percent
from trainyard.reporting.plots import style
from trainyard.reporting.plots.image_grid import TILE_SIZE, add_channel_note, draw_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_IMAGES, MAX_BARS = 24, 10
"""Maximum number of images in a plot, and of bars per image."""

_BAR_LENGTH, _BAR_PITCH, _BAR_THICKNESS = 1.2, 0.22, 0.14
"""Length of a bar for probability 1, distance between bars, and thickness of a bar, in inches."""
_CAPTION_HEIGHT, _GAP, _PERCENT_WIDTH = 0.2, 0.34, 0.55
"""Height of a caption, gap between images, and width of a percentage, in inches."""
_MAX_IMAGES_IN_TWO_COLUMNS, _MAX_WIDTH_FOR_THREE_COLUMNS = 8, 4.2
"""Three columns are used for more images than the first, unless a column is wider than the second (in inches)."""


class ImagePrediction(NamedTuple):
    """An image with the prediction of a model."""

    image: NDArray[np.uint8]
    """Raw pixels, uint8 (height, width) or (height, width, channels)."""
    probabilities: NDArray[np.float32]
    """Predicted probabilities, float32 (classes,)."""
    caption: str
    actual: int | None
    """Label of the actual class, or None if it is unknown."""


def draw_probabilities(predictions: Sequence[ImagePrediction], spec: DataSpec, path: Path, top: int) -> None:
    """Draws the first `MAX_IMAGES` images, each with horizontal bars of its highest probabilities.

    `top` is the number of bars per image. It is limited to `MAX_BARS` and the number of classes.
    """
    drawn = predictions[:MAX_IMAGES]
    count, top = len(drawn), min(top, spec.classes, MAX_BARS)
    order = np.argsort([-image.probabilities for image in drawn], axis=1, kind="stable")[:, :top]
    names = {int(label): style.shorten(spec.class_names[label], style.MAX_NAME_LENGTH) for label in np.unique(order)}
    name_width = style.measure_names(names.values(), style.SMALL) + 0.2
    step_x = TILE_SIZE + name_width + _BAR_LENGTH + _PERCENT_WIDTH + _GAP
    columns = min(count, 3 if count > _MAX_IMAGES_IN_TWO_COLUMNS and step_x < _MAX_WIDTH_FOR_THREE_COLUMNS else 2)
    step_y = _CAPTION_HEIGHT + max(TILE_SIZE, top * _BAR_PITCH) + _GAP / 2
    width, height = columns * step_x - _GAP, math.ceil(count / columns) * step_y - _GAP / 2
    axes = style.build_axes(width, height)
    for number, (image, best) in enumerate(zip(drawn, order.tolist(), strict=True)):
        row, column = divmod(number, columns)
        left, upper = column * step_x, row * step_y
        wrong = image.actual not in (None, best[0])
        length = int((step_x - _GAP) * style.POINTS_PER_INCH / (style.CHARACTER_WIDTH * style.SMALL))
        caption = _build_caption(image, spec, length, wrong=wrong)
        emphasis: dict[str, Any] = {"color": style.VERMILLION, "weight": "bold"} if wrong else {}
        style.annotate(axes, caption, (left, upper + _CAPTION_HEIGHT / 2), **emphasis)
        draw_image(axes, image.image, spec.pixel_max, (left, upper + _CAPTION_HEIGHT), wrong=wrong)
        bars = [(names[label], float(image.probabilities[label])) for label in best]
        first_bar = upper + _CAPTION_HEIGHT + max(0, (TILE_SIZE - top * _BAR_PITCH) / 2)
        _draw_bars(axes, bars, left + TILE_SIZE + name_width, first_bar)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    axes.set_axis_off()
    title, subtitle = _build_headline(drawn, len(predictions), top)
    style.save_plot(axes, path, title, add_channel_note(subtitle, spec), exact=True)


def _build_caption(image: ImagePrediction, spec: DataSpec, length: int, *, wrong: bool) -> str:
    """Returns the caption above an image, of at most `length` characters: the image's name and, if known, its class.

    `wrong` marks a wrong prediction with ✗.
    """
    if image.actual is None:
        return style.shorten(image.caption, length)
    end = f": actual {style.shorten(spec.class_names[image.actual], min(style.MAX_NAME_LENGTH, length // 2))}"
    mark = "✗ " if wrong else ""
    return f"{mark}{style.shorten(image.caption, length - len(end) - len(mark))}{end}"


def _draw_bars(axes: Axes, bars: Sequence[tuple[str, float]], left: float, upper: float) -> None:
    """Draws bars below each other, with class names to the left and percentages to the right. The first is emphasized.

    `left` is the left end of the bars, and `upper` the upper edge of the first row, in inches.
    """
    for row, (name, probability) in enumerate(bars):
        middle, length = upper + (row + 0.5) * _BAR_PITCH, _BAR_LENGTH * probability
        alpha, weight = (1.0, "bold") if row == 0 else (0.45, "normal")
        axes.barh(middle, length, left=left, height=_BAR_THICKNESS, color=style.BLUE, alpha=alpha)
        style.annotate(axes, name, (left - 0.07, middle), ha="right", color=style.INK, weight=weight)
        style.annotate(axes, format_percent(probability), (left + length + 0.06, middle))
    axes.vlines(left, upper, upper + len(bars) * _BAR_PITCH, color=style.FAINT, linewidth=0.8, zorder=0)


def _build_headline(drawn: Sequence[ImagePrediction], total: int, top: int) -> tuple[str, str]:
    """Returns the title, with counts of correct and wrong predictions if labels are known, and the subtitle."""
    title = "Prediction of 1 image" if total == 1 else f"Predictions of {total} images"
    if total > len(drawn):
        title = f"Predictions of the first {len(drawn)} of {total:,} images"
    correct = [image.probabilities.argmax() == image.actual for image in drawn if image.actual is not None]
    if correct:
        title += f": {sum(correct)} correct, {len(correct) - sum(correct)} wrong"
        title += f", {len(drawn) - len(correct)} without a label" if len(correct) < len(drawn) else ""
    subtitle = "The most probable class" if top == 1 else f"The {top} most probable classes"
    return title, f"{subtitle} of each" if total > 1 else subtitle

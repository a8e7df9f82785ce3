"""Images with what was predicted of them: the first of the test set, and the most confident mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.data.dataset import DataSpec
from trainyard.evaluation.scoring import EvalResult
from trainyard.reporting.plots.style import (
    FAINT,
    INK,
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


class Tile(NamedTuple):
    """An image with what is written under it."""

    image: int
    lines: tuple[str, ...]
    wrong: bool


TILE, TILE_GAP, LINE = 1.2, 0.22, 0.16
"""The side of an image, the space between two, and the height of a line of its caption, in inches."""
PREDICTION_COLUMNS, MISTAKE_COLUMNS, MANY_COLUMNS, MANY = 5, 6, 10, 40


def draw_predictions(images: NDArray[np.uint8], result: EvalResult, spec: DataSpec, count: int, path: Path) -> None:
    """Draws the first test images, five in a row, each with its predicted and its actual label.

    Args:
        images: uint8 (n, height, width) or (n, height, width, 3), the raw pixels of the test images.
        result: The predictions of these images.
        spec: The names of the classes and the range of pixels.
        count: How many to draw; all where there are fewer.
        path: The PNG file to write.
    """
    count = min(count, len(images))
    tiles = []
    for index in range(count):
        predicted, actual = (
            shorten(spec.class_names[labels[index]], 15) for labels in (result.predicted, result.actual)
        )
        wrong = bool(result.predicted[index] != result.actual[index])
        tiles.append(Tile(index, (f"{'✗ ' if wrong else ''}predicted {predicted}", f"actual {actual}"), wrong))
    wrong_count = sum(tile.wrong for tile in tiles)
    title = f"The first {count} test images: {count - wrong_count} right, {wrong_count} wrong"
    draw_tiles(images, tiles, spec, path, columns=PREDICTION_COLUMNS, headline=(title, ""))


def draw_mistakes(images: NDArray[np.uint8], result: EvalResult, spec: DataSpec, count: int, path: Path) -> None:
    """Draws the most confident mistakes, each with actual label, predicted label and confidence.

    Args:
        images: uint8 (n, height, width) or (n, height, width, 3), the raw pixels of the test images.
        result: The predictions of these images.
        spec: The names of the classes and the range of pixels.
        count: How many to draw; all mistakes where there are fewer.
        path: The PNG file to write.
    """
    total = int((result.predicted != result.actual).sum())
    captions = [
        (index, spec.class_names[result.actual[index]], spec.class_names[result.predicted[index]])
        for index in map(int, result.mistakes(count))
    ]
    short = all(len(actual) + len(predicted) <= 14 for _, actual, predicted in captions)  # noqa: PLR2004 - fit on a line
    tiles = []
    for index, actual, predicted in captions:
        names = (f"{actual} → {predicted}",) if short else (shorten(actual, 18), f"→ {shorten(predicted, 16)}")
        confidence = percent(float(result.confidence[index]))
        tiles.append(Tile(index, (*names, confidence), wrong=False))  # all are wrong: a mark on each would say nothing
    if not tiles:
        title, subtitle = "No mistakes", f"Every one of the {len(result.actual):,} test images was told right"
    elif len(tiles) == total:
        title, subtitle = (
            f"All {total:,} mistakes",
            "Actual → predicted, and the confidence in the prediction",
        )
    else:
        title = f"The {len(tiles)} most confident of {total:,} mistakes"
        subtitle = "Actual → predicted, and the confidence in the prediction"
    columns = MISTAKE_COLUMNS if len(tiles) <= MANY else MANY_COLUMNS
    draw_tiles(images, tiles, spec, path, columns=columns, headline=(title, subtitle))


def draw_tiles(
    images: NDArray[np.uint8],
    tiles: Sequence[Tile],
    spec: DataSpec,
    path: Path,
    *,
    columns: int,
    headline: tuple[str, str],
) -> None:
    """Draws images with captions in rows.

    All share one axes whose unit is the inch; one axes per image would take many times as long.

    Args:
        images: The raw pixels of all test images.
        tiles: What to draw.
        spec: The range of pixels.
        path: The PNG file to write.
        columns: Images per row.
        headline: Title and subtitle.
    """
    lines = max((len(tile.lines) for tile in tiles), default=0)
    columns = max(min(columns, len(tiles)), 1)
    rows = math.ceil(len(tiles) / columns)
    step_x, step_y = TILE + TILE_GAP, TILE + lines * LINE + 0.26
    width, height = columns * step_x - TILE_GAP, max(rows * step_y - 0.26, 0.1)
    figure = make_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1))
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        left, top = column * step_x, row * step_y
        draw_image(axes, images[tile.image], spec.pixel_max, (left, top), wrong=tile.wrong)
        for number, line in enumerate(tile.lines):
            axes.text(
                left + TILE / 2, top + TILE + 0.14 + number * LINE, line, size=SMALL, parse_math=False,
                weight="bold" if tile.wrong else "normal", ha="center", va="center",
                color=VERMILLION if tile.wrong else (INK if number < len(tile.lines) - 1 else SOFT),
            )  # fmt: skip
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    axes.set_axis_off()
    write_headline(axes, *headline)
    save(figure, path)


def draw_image(
    axes: Axes, image: NDArray[np.uint8], pixel_max: int, corner: tuple[float, float], *, wrong: bool
) -> None:
    """Draws an image into the middle of a tile, in a thin frame, or in a thick one where it was taken for another.

    Args:
        axes: Their unit is the inch, from the upper left corner.
        image: uint8 (height, width) or (height, width, channels), raw.
        pixel_max: The largest raw pixel value.
        corner: The left and the upper edge of the tile.
        wrong: Whether the prediction is wrong.
    """
    from matplotlib.patches import Rectangle

    left, top = corner
    height, width = image.shape[:2]
    wide, high = TILE * min(1, width / height), TILE * min(1, height / width)
    left, top = left + (TILE - wide) / 2, top + (TILE - high) / 2
    pixels = np.clip(image.astype(np.float32) / pixel_max, 0, 1)
    axes.imshow(
        pixels, cmap="gray", vmin=0, vmax=1, extent=(left, left + wide, top + high, top), interpolation="antialiased"
    )
    colour, line_width = (VERMILLION, 3.0) if wrong else (FAINT, 0.6)
    axes.add_patch(
        Rectangle((left, top), wide, high, fill=False, edgecolor=colour, linewidth=line_width, clip_on=False, zorder=3)
    )


def percent(share: float) -> str:
    """Returns a share as a percentage that claims no certainty by rounding."""
    if 0.9995 <= share < 1:  # noqa: PLR2004 - rounds to 100.0
        return "> 99.9 %"
    if 0 < share < 0.0005:  # noqa: PLR2004 - rounds to 0.0
        return "< 0.1 %"
    return f"{100 * share:.1f} %"

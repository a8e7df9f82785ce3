"""Plots of test images with their predictions: the first images, and the most confident mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.data import DataSpec
from trainyard.evaluation import PredictionScores
from trainyard.reporting.formatting import format_percent
from trainyard.reporting.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Tile(NamedTuple):
    """An image with its caption."""

    image: int
    """Index of the image."""
    lines: tuple[str, ...]
    """Lines of the caption below the image."""
    wrong: bool
    """Whether the prediction is wrong. Wrong predictions are highlighted."""


TILE_SIZE, TILE_GAP, CAPTION_LINE_HEIGHT = 1.2, 0.22, 0.16
"""Side length of an image, smallest gap between images, and height of a line of the caption, in inches."""
PREDICTION_COLUMNS, FLIP_COLUMNS, MANY_COLUMNS, MANY_TILES = 5, 6, 10, 40
"""Images per row: of predictions and mistakes, of flips, and of both if there are more than `MANY_TILES`."""


def draw_predictions(
    images: NDArray[np.uint8], result: PredictionScores, spec: DataSpec, count: int, path: Path
) -> None:
    """Draws the first test images, five per row, with their predicted and actual classes.

    `images` has the raw pixels of the test images, uint8 (n, height, width) or (n, height, width, channels).
    """
    count = min(count, len(images))
    tiles = []
    names = [style.shorten(name, 15) for name in spec.class_names]
    for index in range(count):
        predicted, actual = names[result.predicted[index]], names[result.actual[index]]
        wrong = bool(result.predicted[index] != result.actual[index])
        tiles.append(Tile(index, (f"{'✗ ' if wrong else ''}predicted {predicted}", f"actual {actual}"), wrong))
    wrong_count = sum(tile.wrong for tile in tiles)
    title = f"First {count} test images: {count - wrong_count} correct, {wrong_count} wrong"
    draw_tiles(images, tiles, spec, path, columns=PREDICTION_COLUMNS, headline=(title, ""))


def draw_mistakes(images: NDArray[np.uint8], result: PredictionScores, spec: DataSpec, count: int, path: Path) -> None:
    """Draws the most confident mistakes with their actual class, predicted class and confidence.

    `images` has the raw pixels of the test images, uint8 (n, height, width) or (n, height, width, channels).
    """
    total = int((result.predicted != result.actual).sum())
    captions = [
        (index, spec.class_names[result.actual[index]], spec.class_names[result.predicted[index]])
        for index in map(int, result.mistakes(count))
    ]
    short = all(len(actual) + len(predicted) <= 14 for _, actual, predicted in captions)  # noqa: PLR2004 - fits on a line
    tiles = []
    for index, actual, predicted in captions:
        names = (
            [f"{actual} → {predicted}"] if short else [style.shorten(actual, 18), f"→ {style.shorten(predicted, 16)}"]
        )
        confidence = format_percent(float(result.confidence[index]))
        tiles.append(Tile(index, (*names, confidence), wrong=False))  # all are wrong, so they are not marked
    title = (
        f"The {len(tiles)} most confident of {total:,} mistakes" if len(tiles) < total else f"All {total:,} mistakes"
    )
    subtitle = "Actual → predicted class, and confidence of the prediction"
    if not tiles:
        title, subtitle = "No mistakes", f"All {len(result.actual):,} test images were classified correctly"
    columns = PREDICTION_COLUMNS if len(tiles) <= MANY_TILES else MANY_COLUMNS  # then the text has the same size
    draw_tiles(images, tiles, spec, path, columns=columns, headline=(title, subtitle))


def draw_tiles(
    images: NDArray[np.uint8],
    tiles: Sequence[Tile],
    spec: DataSpec,
    path: Path,
    *,
    columns: int | None = None,
    headline: tuple[str, str],
) -> None:
    """Draws a grid of images with captions.

    All images share one axes with inches as unit. One axes per image would be many times slower.

    `images` has the raw pixels of all test images, uint8 (n, height, width) or (n, height, width, channels). There may
    be no tiles. `columns` is the number of images per row; None chooses it by the number of tiles.
    """
    lines = max((len(tile.lines) for tile in tiles), default=0)
    columns = columns or (FLIP_COLUMNS if len(tiles) <= MANY_TILES else MANY_COLUMNS)
    columns = max(min(columns, len(tiles)), 1)
    rows = math.ceil(len(tiles) / columns)
    captions = [line for tile in tiles for line in tile.lines]
    step_x = max(TILE_SIZE + TILE_GAP, style.measure_names(captions or [""], style.SMALL) + TILE_GAP / 2)
    step_y = TILE_SIZE + lines * CAPTION_LINE_HEIGHT + 0.26
    width, height = (columns - 1) * step_x + TILE_SIZE, max(rows * step_y - 0.26, 0.1)
    axes = style.build_axes(width, height)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        left, top = column * step_x, row * step_y
        draw_image(axes, images[tile.image], spec.pixel_max, (left, top), wrong=tile.wrong)
        for number, line in enumerate(tile.lines):
            point = (left + TILE_SIZE / 2, top + TILE_SIZE + 0.14 + number * CAPTION_LINE_HEIGHT)
            colour = style.INK if number < len(tile.lines) - 1 else style.SOFT
            emphasis: dict[str, Any] = (
                {"color": style.VERMILLION, "weight": "bold"} if tile.wrong else {"color": colour}
            )
            style.annotate(axes, line, point, ha="center", **emphasis)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    axes.set_axis_off()
    title, subtitle = headline
    style.save_plot(axes, path, title, add_channel_note(subtitle, spec), exact=True)


def draw_image(
    axes: Axes, image: NDArray[np.uint8], pixel_max: int, corner: tuple[float, float], *, wrong: bool
) -> None:
    """Draws an image in the centre of a tile, with a thin grey frame, or a thick red one if the prediction is wrong.

    `image` is uint8 (height, width) or (height, width, channels), from 0 to `pixel_max`; see `count_drawn_channels`.
    `corner` is the upper left corner of the tile in inches.
    """
    from matplotlib.patches import Rectangle

    height, width = image.shape[:2]
    drawn_width, drawn_height = TILE_SIZE * min(1, width / height), TILE_SIZE * min(1, height / width)
    left, top = corner[0] + (TILE_SIZE - drawn_width) / 2, corner[1] + (TILE_SIZE - drawn_height) / 2
    drawn = image[..., : count_drawn_channels(image.shape)] if image.ndim > 2 else image  # noqa: PLR2004
    pixels = np.clip(drawn.astype(np.float32) / pixel_max, 0, 1)
    extent = (left, left + drawn_width, top + drawn_height, top)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="antialiased")
    colour, line_width = (style.VERMILLION, 3.0) if wrong else (style.FAINT, 0.6)
    frame: dict[str, Any] = {"fill": False, "edgecolor": colour, "linewidth": line_width, "clip_on": False, "zorder": 3}
    axes.add_patch(Rectangle((left, top), drawn_width, drawn_height, **frame))


def count_drawn_channels(image_shape: tuple[int, ...]) -> int:
    """Returns how many channels of an image are drawn: 1 in grayscale, 3 as RGB, or 4 as RGBA.

    Of 2 channels, the first is drawn, and of more than 4 channels, the first three.
    """
    channels = image_shape[2] if len(image_shape) > 2 else 1  # noqa: PLR2004 - height, width, channels
    return {1: 1, 2: 1, 3: 3, 4: 4}.get(channels, 3)


def add_channel_note(subtitle: str, spec: DataSpec) -> str:
    """Returns a subtitle to which a note is added if only the first channels of the images are drawn."""
    drawn, channels = count_drawn_channels(spec.image_shape), (*spec.image_shape, 1)[2]
    if drawn == channels:
        return subtitle
    note = f"Drawn: channel{'' if drawn == 1 else 's 1 to'} {drawn} of {channels}"
    return f"{subtitle}. {note}" if subtitle else note

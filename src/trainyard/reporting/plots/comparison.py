"""Plots of comparisons: scores by class, and the differences between the predictions of two runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.data import DataSpec
from trainyard.reporting.plots.confusion_matrix import compute_matrix_side, label_classes
from trainyard.reporting.plots.image_grid import MANY_COLUMNS, MANY_TILES, MISTAKE_COLUMNS, Tile, draw_tiles
from trainyard.reporting.plots.style import (
    BLUE,
    CHARACTER_WIDTH,
    FAINT,
    INK,
    MAX_NAME_LENGTH,
    PAPER,
    POINTS_PER_INCH,
    SERIES,
    SMALL,
    TEXT,
    TINY,
    VERMILLION,
    add_headline,
    build_figure,
    save_small_figure,
    shorten,
    style_axes,
)

MAX_ROWS = len(SERIES)
"""Maximum number of rows of a comparison whose scores by class are drawn: one per combination of colour and marker."""
MAX_CLASSES = 30
"""Maximum number of classes that are drawn. If there are more, the ones in which the rows differ most are drawn."""
_LINE_HEIGHT = 0.27
"""Height of a class in inches."""
_MAX_SHIFT = 0.16
"""Maximum vertical distance of a marker from the line of its class, in lines. It keeps equal scores visible."""


def draw_class_scores(scores: Mapping[str, Sequence[float]], class_names: Sequence[str], path: Path) -> None:
    """Draws the F1 score of each class, with one marker per row of a comparison.

    Args:
        scores: F1 scores (0 to 1, one per class) by label of the row. At most `MAX_ROWS` rows.
        class_names: Class names, in the order of the scores.
        path: The PNG file to write.
    """
    table = 100 * np.array(list(scores.values()))
    class_indices = sorted(np.argsort(-np.ptp(table, axis=0), kind="stable")[:MAX_CLASSES])
    height = 1.35 + _LINE_HEIGHT * len(class_indices)
    names = [shorten(class_names[index], MAX_NAME_LENGTH) for index in class_indices]
    left = (max(map(len, names)) * CHARACTER_WIDTH * SMALL / POINTS_PER_INCH + 0.3) / 7.4
    figure = build_figure(7.4, height)
    axes = figure.add_axes((left, 0.5 / height, 0.97 - left, 1 - 1.35 / height))
    for row, index in enumerate(class_indices):
        axes.plot([table[:, index].min(), table[:, index].max()], [row, row], color=FAINT, linewidth=2.4, zorder=1)
    shifts = np.linspace(-_MAX_SHIFT, _MAX_SHIFT, len(table)) if len(table) > 1 else [0.0]
    markers = []
    for values, shift, (colour, marker) in zip(table, shifts, SERIES, strict=False):
        markers += axes.plot(
            values[class_indices], np.arange(len(class_indices)) + shift, marker, color=colour, markersize=6,
            markeredgecolor="white", markeredgewidth=0.7, linestyle="none", zorder=3,
        )  # fmt: skip
    axes.set_yticks(range(len(class_indices)), names, parse_math=False)
    axes.set_ylim(len(class_indices) - 0.5, -0.5)
    axes.margins(x=0.04)
    axes.set_xlabel("F1, %", size=TEXT, color=INK)
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", labelsize=SMALL, labelcolor=INK, length=0)
    legend = axes.legend(
        markers, [shorten(label, MAX_NAME_LENGTH) for label in scores], fontsize=SMALL, frameon=False, labelcolor=INK,
        ncols=min(len(scores), 3), loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, handletextpad=0.2,
        columnspacing=1.4,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    subtitle = (
        f"The {len(class_indices)} of {len(class_names):,} classes that differ most"
        if len(class_indices) < len(class_names)
        else ""
    )
    add_headline(axes, "F1 by class", subtitle, over=18 + 13 * ((len(scores) - 1) // 3))
    save_small_figure(figure, path)


def draw_confusion_difference(difference: NDArray[np.int64], class_names: Sequence[str], path: Path) -> None:
    """Draws the difference of two confusion matrices: blue where the second run is better, orange where it is worse.

    Args:
        difference: Counts of the second run minus counts of the first, int64 (classes, classes). Rows are actual,
            columns predicted classes.
        class_names: Class names in label order.
        path: The PNG file to write.
    """
    from matplotlib.colors import LinearSegmentedColormap

    classes = len(difference)
    side = compute_matrix_side(classes)
    cell = side * POINTS_PER_INCH / classes
    better = np.where(np.eye(classes, dtype=bool), difference, -difference)
    largest = max(int(np.abs(better).max()), 1)
    strength = np.sign(better) * np.sqrt(np.abs(better) / largest)
    scale = LinearSegmentedColormap.from_list("change", [VERMILLION, PAPER, BLUE])
    figure = build_figure(side, side)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(strength, cmap=scale, vmin=-1, vmax=1, interpolation="nearest")
    label_classes(axes, class_names, cell)
    if cell >= TEXT:
        axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=min(1.5, cell / 16))
    size = min(TEXT + 1, 0.85 * cell / (CHARACTER_WIDTH * (len(str(largest)) + 1)))
    if size >= TINY:
        for row, column in itertools.product(range(classes), repeat=2):
            if difference[row, column]:
                colour = "white" if abs(strength[row, column]) > 0.6 else INK  # noqa: PLR2004 - dark cells
                text = f"{difference[row, column]:+d}".replace("-", "\N{MINUS SIGN}")
                axes.text(column, row, text, size=size, color=colour, ha="center", va="center")
    add_headline(axes, "Change in the number of images", "Blue: better than before. Orange: worse")
    save_small_figure(figure, path)


class PredictionFlip(NamedTuple):
    """A test image for which two runs predict different classes."""

    image: int
    """Index of the image in the test set."""
    actual: int
    """Label of the actual class."""
    first_predicted: int
    """Label that the first run predicts."""
    second_predicted: int
    """Label that the second run predicts."""


def draw_prediction_flips(
    images: NDArray[np.uint8], flips: Sequence[PredictionFlip], spec: DataSpec, headline: tuple[str, str], path: Path
) -> None:
    """Draws the images whose predicted class differs between two runs, with their actual and predicted classes.

    Args:
        images: Raw pixels of all test images, uint8 (n, height, width) or (n, height, width, 3).
        flips: The images to draw; at least one.
        spec: Class names and pixel range.
        headline: Title and subtitle.
        path: The PNG file to write.
    """
    names = [shorten(name, 10) for name in spec.class_names]
    tiles = [
        Tile(
            flip.image,
            (f"actual {names[flip.actual]}", f"{names[flip.first_predicted]} → {names[flip.second_predicted]}"),
            wrong=False,
        )
        for flip in flips
    ]
    columns = MISTAKE_COLUMNS if len(tiles) <= MANY_TILES else MANY_COLUMNS
    draw_tiles(images, tiles, spec, path, columns=columns, headline=headline)

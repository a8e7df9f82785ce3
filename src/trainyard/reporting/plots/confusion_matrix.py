"""Confusion matrix, or the most frequent confusions if there are too many classes for a matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.evaluation import MAX_LISTED_CLASSES, PredictionScores
from trainyard.reporting.formatting import format_percent
from trainyard.reporting.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


MAX_PAIRS = 25
"""Maximum number of pairs of classes that are drawn instead of a matrix with too many classes."""
_ROW_HEIGHT, _BAR_LENGTH = 0.27, 3.2
"""Height of a pair of classes, and length of the longest bar, in inches."""


def draw_confusion_matrix(result: PredictionScores, path: Path) -> None:
    """Draws the confusion matrix, or, with more than `MAX_LISTED_CLASSES` classes, the most frequent confusions."""
    if len(result.confusion) > MAX_LISTED_CLASSES:
        _draw_largest_confusions(result, path)
    else:
        _draw_matrix(result, path)


def _format_title(result: PredictionScores) -> str:
    """Returns the accuracy and the number of mistakes."""
    images, wrong = len(result.actual), int((result.predicted != result.actual).sum())
    return f"Accuracy {100 * result.accuracy:.2f} %: {wrong:,} of {images:,} images wrong"


def _draw_largest_confusions(result: PredictionScores, path: Path) -> None:
    """Draws a bar with the number of images for each of the most frequent pairs of actual and predicted class.

    Of pairs with the same number of images, that with the larger share of the actual class is first.
    """
    mistakes = result.confusion - np.diag(result.confusion.diagonal())
    share = mistakes / np.maximum(result.confusion.sum(axis=1, keepdims=True), 1)
    pairs = np.argwhere(mistakes)
    actual, predicted = pairs.T
    largest = pairs[np.lexsort((-share[actual, predicted], -mistakes[actual, predicted]))[:MAX_PAIRS]].tolist()
    bars = {
        (row, column): f"{mistakes[row, column]:,} ({format_percent(share[row, column])})" for row, column in largest
    }
    axes = draw_pairs(mistakes, [scores.name for scores in result.per_class], bars)
    shown = f"The {len(bars)} most frequent of {len(pairs):,}" if len(bars) < len(pairs) else f"All {len(pairs):,}"
    subtitle = f"{shown} confusions, actual → predicted class, and share of the actual class"
    if not bars:
        axes.set_axis_off()
        subtitle = "No class was confused with another"
    style.save_plot(axes, path, _format_title(result), subtitle)


def draw_pairs(
    counts: NDArray[np.int64], names: Sequence[str], bars: Mapping[tuple[int, int], str], colour: str = style.BLUE
) -> Axes:
    """Returns the axes of a bar plot of some cells of a matrix. The bars of negative counts are blue.

    Args:
        counts: int64 (actual classes, predicted classes).
        names: The names of the classes.
        bars: The texts at the bars, by row and column, in the order of the bars.
        colour: The colour of the bars of positive counts.
    """
    from matplotlib.ticker import MaxNLocator

    short = {label: style.shorten(names[label], style.MAX_NAME_LENGTH) for pair in bars for label in pair}
    rows = [f"{short[actual]} → {short[predicted]}" for actual, predicted in bars]
    values = [int(counts[pair]) for pair in bars]
    left = style.measure_names(rows or [""], style.SMALL) + 0.15
    height = _ROW_HEIGHT * max(len(rows), 1) + 1.1
    axes = style.build_axes(left + _BAR_LENGTH + 1.0, height, left=left, bottom=0.5, right=1.0, top=0.6)
    axes.barh(range(len(rows)), values, 0.62, color=[colour if value > 0 else style.BLUE for value in values])
    axes.set(xlim=(min([0, *values]), max([1, *values])), ylim=(max(len(rows), 1) - 0.5, -0.5))
    style.label_rows(axes, range(len(rows)), rows, style.SMALL, "Number of images")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for row, (value, text) in enumerate(zip(values, bars.values(), strict=True)):
        style.annotate(axes, text, (max(value, 0), row), (4, 0))
    return axes


def _draw_matrix(result: PredictionScores, path: Path) -> None:
    """Draws the number of images by actual (rows) and predicted class (columns).

    The diagonal is shaded by the recall of the class. Errors have a separate square-root colour scale, so a few errors
    among thousands of images remain visible. Cells without images are empty. Numbers that would be too small to read
    are left out.
    """
    counts = result.confusion
    side = compute_matrix_side(len(counts))
    axes = style.build_axes(side, side)
    colours = _shade_cells(axes, counts, side)
    axes.imshow(colours, interpolation="nearest")
    shown = np.argwhere((counts > 0) | np.eye(len(counts), dtype=bool)).tolist()
    texts = {(row, column): str(counts[row, column]) for row, column in shown}
    luminance = colours[..., :3] @ (0.2126, 0.7152, 0.0722)  # of sRGB values, without gamma correction
    names = [scores.name for scores in result.per_class]
    has_numbers = label_matrix(axes, names, side, texts, dark=luminance < 0.5)  # noqa: PLR2004
    style.save_plot(
        axes,
        path,
        _format_title(result),
        f"{'Number of images, s' if has_numbers else 'S'}haded by share of the actual class",
    )


def compute_matrix_side(classes: int) -> float:
    """Returns the side length of the matrix in inches: half an inch per class, less for many."""
    return max(2.6, min(0.5 * classes, 9.0), min(0.11 * classes, 14.0))


def _shade_cells(axes: Axes, counts: NDArray[np.int64], side: float) -> NDArray[np.float64]:
    """Draws the two colour scales to the right of the matrix, and returns the colour of each cell.

    Returns:
        RGBA colours, float64 (classes, classes, 4), 0 to 1.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize, PowerNorm, to_rgba
    from matplotlib.ticker import MaxNLocator

    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(len(counts), dtype=bool)
    has_mistakes = ~diagonal & (counts > 0)
    largest = share[has_mistakes].max() if has_mistakes.any() else 0.01
    blues = ListedColormap(colormaps["Blues"](np.linspace(0.1, 0.9, 256)))
    oranges = ListedColormap(colormaps["Oranges"](np.linspace(0.08, 0.85, 256)))
    scales = {
        "correct": ScalarMappable(Normalize(0, 1), blues),
        "errors": ScalarMappable(PowerNorm(0.5, 0, largest), oranges),
    }
    colours = np.where(diagonal[..., None], scales["correct"].to_rgba(share), to_rgba(style.PAPER))
    colours[has_mistakes] = scales["errors"].to_rgba(share[has_mistakes])

    length = min(side * 0.36, 1.8)
    for number, (name, scale) in enumerate(scales.items()):
        top = side - 0.22 - number * (length + 0.45)
        bar = axes.figure.add_axes((1 + 0.25 / side, (top - length) / side, 0.13 / side, length / side))
        color_bar = axes.figure.colorbar(
            scale, cax=bar, ticks=MaxNLocator(2), format=lambda share, _: f"{100 * share:.3g} %"
        )
        color_bar.outline.set_visible(False)
        color_bar.minorticks_off()
        bar.set_title(name, size=style.SMALL, color=style.INK, loc="left", pad=7)
        bar.tick_params(labelsize=style.SMALL - 0.5, labelcolor=style.SOFT, color=style.FAINT, length=3)
    return colours


def label_matrix(
    axes: Axes, names: Sequence[str], side: float, texts: Mapping[tuple[int, int], str], dark: NDArray[np.bool_]
) -> bool:
    """Writes the class names and the texts of the cells, and separates the cells by lines, if there is enough space.

    Returns whether there is enough space for the texts.

    `texts` has the texts by row and column; `dark` marks the cells with white text, bool (classes, classes).
    """
    cell = side * style.POINTS_PER_INCH / len(names)
    _label_classes(axes, names, cell)
    if cell >= style.TEXT:
        edges = np.arange(len(names) + 1) - 0.5
        axes.set_xticks(edges, minor=True)
        axes.set_yticks(edges, minor=True)
        axes.grid(which="minor", color="white", linewidth=min(1.5, cell / 16))
    size = min(style.TEXT + 1, 0.85 * cell / (style.CHARACTER_WIDTH * max(map(len, texts.values()), default=1)))
    if size >= style.TINY:
        for (row, column), text in texts.items():
            colour = "white" if dark[row, column] else style.INK
            axes.text(column, row, text, size=size, color=colour, ha="center", va="center")
    return size >= style.TINY


def _label_classes(axes: Axes, names: Sequence[str], cell: float) -> None:
    """Writes the class names on both axes, rotated if they are too long; every n-th if there is too little space.

    `cell` is the side length of a cell in typographic points.
    """
    size = min(style.TEXT, max(style.TINY, cell * 0.8))
    step = math.ceil(size * 1.1 / cell)
    positions = range(0, len(names), step)
    labels = [style.shorten(name, style.MAX_NAME_LENGTH) for name in names[::step]]
    slanted: dict[str, Any] = {}
    if style.measure_names(labels, size) * style.POINTS_PER_INCH > 0.95 * cell * step:
        rotation = 45 if cell > 2 * style.TEXT else 90
        slanted = {"rotation": rotation, "ha": "right", "va": "center", "rotation_mode": "anchor"}
    axes.set_xticks(positions, labels=labels, parse_math=False, **slanted)
    axes.set_yticks(positions, labels=labels, parse_math=False)
    axes.tick_params(which="both", length=0)
    axes.tick_params(labelsize=size, labelcolor=style.INK, pad=4)
    axes.set_xlabel("Predicted", size=style.TEXT + 1, color=style.INK, labelpad=6)
    axes.set_ylabel("Actual", size=style.TEXT + 1, color=style.INK, labelpad=6)
    axes.spines[:].set_visible(False)

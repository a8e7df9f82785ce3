"""Confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.evaluation import EvalResult
from trainyard.reporting.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_confusion_matrix(result: EvalResult, path: Path) -> None:
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
    label_matrix(axes, [scores.name for scores in result.per_class], side, texts, dark=luminance < 0.5)  # noqa: PLR2004
    images, wrong = len(result.actual), int(counts.sum() - counts.trace())
    title = f"Accuracy {100 * result.accuracy:.2f} %: {wrong:,} of {images:,} images wrong"
    style.save_plot(axes, path, title, "Number of images, shaded by share of the actual class", palette=False)


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
) -> None:
    """Writes the class names and the texts of the cells, and separates the cells by lines, if there is enough space.

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

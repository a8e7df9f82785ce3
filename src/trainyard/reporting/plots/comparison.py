"""The pictures of a comparison: scores by class side by side, and what changed from one run to another."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.data.dataset import DataSpec
from trainyard.reporting.plots.confusion_matrix import matrix_side, name_classes
from trainyard.reporting.plots.image_grid import MANY, MANY_COLUMNS, MISTAKE_COLUMNS, Tile, draw_tiles
from trainyard.reporting.plots.style import (
    BLUE,
    CHARACTER,
    FAINT,
    INK,
    LONGEST_NAME,
    PAPER,
    POINTS,
    SERIES,
    SMALL,
    TEXT,
    TINY,
    VERMILLION,
    make_figure,
    save_small,
    shorten,
    tidy,
    write_headline,
)

MOST_ROWS = len(SERIES)
"""Rows of a comparison whose scores by class can be told apart."""
MOST_CLASSES = 30
"""Of more, those are drawn in which the rows differ most."""
_LINE = 0.27
"""Inches that a class takes."""
_BESIDE = 0.16
"""How far off the line of its class a mark lies at most, in lines, so that equal ones don't hide each other."""


def draw_class_scores(scores: Mapping[str, Sequence[float]], class_names: Sequence[str], path: Path) -> None:
    """Draws the F1 of each class, a mark per row of a comparison.

    Args:
        scores: By label of a row, at most `MOST_ROWS`: one F1 per class, 0 to 1.
        class_names: By label of a class.
        path: The PNG file to write.
    """
    table = 100 * np.array(list(scores.values()))
    shown = sorted(np.argsort(-np.ptp(table, axis=0), kind="stable")[:MOST_CLASSES])
    height = 1.35 + _LINE * len(shown)
    names = [shorten(class_names[at], LONGEST_NAME) for at in shown]
    left = (max(map(len, names)) * CHARACTER * SMALL / POINTS + 0.3) / 7.4
    figure = make_figure(7.4, height)
    axes = figure.add_axes((left, 0.5 / height, 0.97 - left, 1 - 1.35 / height))
    for row, at in enumerate(shown):
        axes.plot([table[:, at].min(), table[:, at].max()], [row, row], color=FAINT, linewidth=2.4, zorder=1)
    beside = np.linspace(-_BESIDE, _BESIDE, len(table)) if len(table) > 1 else [0.0]
    marks = []
    for values, shift, (colour, marker) in zip(table, beside, SERIES, strict=False):
        marks += axes.plot(
            values[shown], np.arange(len(shown)) + shift, marker, color=colour, markersize=6, markeredgecolor="white",
            markeredgewidth=0.7, linestyle="none", zorder=3,
        )  # fmt: skip
    axes.set_yticks(range(len(shown)), names, parse_math=False)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.margins(x=0.04)
    axes.set_xlabel("F1, %", size=TEXT, color=INK)
    tidy(axes, grid="x")
    axes.tick_params(axis="y", labelsize=SMALL, labelcolor=INK, length=0)
    legend = axes.legend(
        marks, [shorten(label, LONGEST_NAME) for label in scores], fontsize=SMALL, frameon=False, labelcolor=INK,
        ncols=min(len(scores), 3), loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, handletextpad=0.2,
        columnspacing=1.4,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    few = f"The {len(shown)} of {len(class_names):,} classes that differ most" if len(shown) < len(class_names) else ""
    write_headline(axes, "F1 by class", few, over=18 + 13 * ((len(scores) - 1) // 3))
    save_small(figure, path)


def draw_confusion_difference(difference: NDArray[np.int64], class_names: Sequence[str], path: Path) -> None:
    """Draws one confusion matrix less another: blue where the second is better, vermillion where it is worse.

    Args:
        difference: int64 (classes, classes), actual (rows) against predicted classes (columns).
        class_names: By label.
        path: The PNG file to write.
    """
    from matplotlib.colors import LinearSegmentedColormap

    classes = len(difference)
    side = matrix_side(classes)
    cell = side * POINTS / classes
    better = np.where(np.eye(classes, dtype=bool), difference, -difference)
    largest = max(int(np.abs(better).max()), 1)
    strength = np.sign(better) * np.sqrt(np.abs(better) / largest)
    scale = LinearSegmentedColormap.from_list("change", [VERMILLION, PAPER, BLUE])
    figure = make_figure(side, side)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(strength, cmap=scale, vmin=-1, vmax=1, interpolation="nearest")
    name_classes(axes, class_names, cell)
    if cell >= TEXT:
        axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=min(1.5, cell / 16))
    size = min(TEXT + 1, 0.85 * cell / (CHARACTER * (len(str(largest)) + 1)))
    if size >= TINY:
        for row, column in itertools.product(range(classes), repeat=2):
            if difference[row, column]:
                colour = "white" if abs(strength[row, column]) > 0.6 else INK  # noqa: PLR2004 - dark from there on
                text = f"{difference[row, column]:+d}".replace("-", "\N{MINUS SIGN}")
                axes.text(column, row, text, size=size, color=colour, ha="center", va="center")
    write_headline(axes, "Images more, or fewer, than before", "Blue is better, orange is worse")
    save_small(figure, path)


class Flip(NamedTuple):
    """A test image that two runs took for different things; the classes by their labels."""

    image: int
    actual: int
    before: int
    now: int


def draw_flips(
    images: NDArray[np.uint8], flips: Sequence[Flip], spec: DataSpec, headline: tuple[str, str], path: Path
) -> None:
    """Draws images that changed sides, each with what it shows, and what it was taken for before and now.

    Args:
        images: uint8 (n, height, width) or (n, height, width, 3), the raw pixels of all test images.
        flips: Which; at least one.
        spec: The names of the classes and the range of pixels.
        headline: Title and subtitle.
        path: The PNG file to write.
    """
    names = [shorten(name, 10) for name in spec.class_names]
    tiles = [
        Tile(flip.image, (f"actual {names[flip.actual]}", f"{names[flip.before]} → {names[flip.now]}"), wrong=False)
        for flip in flips
    ]
    columns = MISTAKE_COLUMNS if len(tiles) <= MANY else MANY_COLUMNS
    draw_tiles(images, tiles, spec, path, columns=columns, headline=headline)

"""Plots of comparisons: scores by class, and the differences between the predictions of two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.data import DataSpec
from trainyard.evaluation import MAX_LISTED_CLASSES
from trainyard.reporting.plots import style
from trainyard.reporting.plots.confusion_matrix import MAX_PAIRS, compute_matrix_side, draw_pairs, label_matrix
from trainyard.reporting.plots.image_grid import PREDICTION_COLUMNS, Tile, draw_tiles

MAX_ROWS = len(style.SERIES)
"""Maximum number of rows of a comparison whose scores by class are drawn: one per combination of colour and marker."""
MAX_CLASSES = 30
"""Maximum number of classes that are drawn. If there are more, the ones in which the rows differ most are drawn."""
_LINE_HEIGHT = 0.27
"""Height of a class in inches."""
_MAX_SHIFT = 0.24
"""Maximum vertical distance of a marker from the line of its class, in lines. It keeps equal scores visible."""


def draw_class_scores(scores: Mapping[str, Sequence[float]], class_names: Sequence[str], path: Path) -> None:
    """Draws the F1 score of each class, 0 to 1, with one marker per row of a comparison. At most `MAX_ROWS` rows.

    `scores` has a score per class by the label of the row.
    """
    table = 100 * np.array(list(scores.values()))
    class_indices = sorted(np.argsort(-np.ptp(table, axis=0), kind="stable")[:MAX_CLASSES])
    height = max(1.35 + _LINE_HEIGHT * len(class_indices), style.HEIGHT)
    names = [style.shorten(class_names[index], style.MAX_NAME_LENGTH) for index in class_indices]
    left = style.measure_names(names, style.SMALL) + 0.3
    axes = style.build_axes(style.WIDTH, height, left=left, bottom=0.48, right=0.22, top=0.75)
    scores_of_classes = table[:, class_indices]
    ends = scores_of_classes.min(axis=0), scores_of_classes.max(axis=0)
    axes.hlines(range(len(class_indices)), *ends, color=style.FAINT, linewidth=2.4, zorder=1)
    shifts = np.linspace(-_MAX_SHIFT, _MAX_SHIFT, len(table)) if len(table) > 1 else [0.0]
    markers = []
    for values, shift, (colour, marker) in zip(scores_of_classes, shifts, style.SERIES, strict=False):
        markers += axes.plot(
            values, np.arange(len(class_indices)) + shift, marker, color=colour, markersize=6,
            markeredgecolor="white", markeredgewidth=0.7, linestyle="none", zorder=3,
        )  # fmt: skip
    axes.set_ylim(len(class_indices) - 0.5, -0.5)
    axes.margins(x=0.04)
    style.label_rows(axes, range(len(class_indices)), names, style.SMALL, "F1, %")
    labels = [style.shorten(label, style.MAX_NAME_LENGTH) for label in scores]
    style.add_legend(axes, markers, labels, columns=min(len(scores), 3), handletextpad=0.2)
    subtitle = "On the test images. If a row has several seeds: their mean"
    if len(class_names) > MAX_CLASSES:
        subtitle += f". The {MAX_CLASSES} of {len(class_names):,} classes that differ most"
    over = 18 + 13 * ((len(scores) - 1) // 3)
    style.save_plot(axes, path, "F1 by class", subtitle, over=over, whole=True)


def draw_confusion_difference(
    difference: NDArray[np.int64], class_names: Sequence[str], labels: tuple[str, str], path: Path
) -> None:
    """Draws the difference of two confusion matrices: blue where the second run is better, orange where it is worse.

    With more than `MAX_LISTED_CLASSES` classes, the largest changes of confusions are drawn as bars.

    `difference` has the counts of the second run minus those of the first, int64 (actual classes, predicted classes).
    `labels` are those of the two runs.
    """
    from matplotlib.colors import LinearSegmentedColormap

    title = "Change in the number of images"
    first, second = (style.shorten(label, style.MAX_NAME_LENGTH) for label in labels)
    if len(difference) > MAX_LISTED_CLASSES:
        pairs = np.argwhere(difference - np.diag(difference.diagonal()))
        largest = pairs[np.argsort(-np.abs(difference[*pairs.T]), kind="stable")[:MAX_PAIRS]].tolist()
        bars = {(row, column): _format_change(difference[row, column]) for row, column in largest}
        subtitle = f"{second} minus {first}: the {len(bars)} largest changes of {len(pairs):,} confusions"
        style.save_plot(draw_pairs(difference, class_names, bars, style.VERMILLION), path, title, subtitle)
        return
    side = compute_matrix_side(len(difference))
    better = np.where(np.eye(len(difference), dtype=bool), difference, -difference)
    largest = max(int(np.abs(better).max()), 1)
    strength = np.sign(better) * np.sqrt(np.abs(better) / largest)
    scale = LinearSegmentedColormap.from_list("change", [style.VERMILLION, style.PAPER, style.BLUE])
    axes = style.build_axes(side, side)
    axes.imshow(strength, cmap=scale, vmin=-1, vmax=1, interpolation="nearest")
    texts = {(row, column): _format_change(difference[row, column]) for row, column in np.argwhere(difference).tolist()}
    label_matrix(axes, class_names, side, texts, dark=np.abs(strength) > 0.6)  # noqa: PLR2004
    style.save_plot(axes, path, title, f"{second} minus {first}. Blue: better, orange: worse")


def _format_change(count: int) -> str:
    """Returns a change with its sign."""
    return f"{count:+,}".replace("-", "\N{MINUS SIGN}")


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

    `images` has the raw pixels of all test images, uint8 (n, height, width) or (n, height, width, 3).
    """
    names = [style.shorten(name, 10) for name in spec.class_names]
    tiles = []
    for flip in flips:
        change = f"{names[flip.first_predicted]} → {names[flip.second_predicted]}"
        tiles.append(Tile(flip.image, (f"actual {names[flip.actual]}", change), wrong=False))
    draw_tiles(images, tiles, spec, path, columns=PREDICTION_COLUMNS, headline=headline)

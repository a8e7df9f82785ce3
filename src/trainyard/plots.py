"""The pictures of a run as PNG files: learning curves, confusion matrix, first predictions, mistakes.

The only file that knows matplotlib. It uses figures without pyplot, so that drawing needs no display, leaves
nothing behind in the process, and can go on in several threads at once. The colours are Okabe and Ito's, made
for the colour-blind, and nothing is told by colour alone.

Before it: images, evaluation. After it: report, which embeds the pictures, and run, which has them drawn.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from trainyard.evaluation import EvalResult
    from trainyard.images import DataSpec

DPI = 150
POINTS = 72
"""Typographic points per inch."""

INK, SOFT, FAINT, PAPER = "#1f1f1f", "#666666", "#d4d4d4", "#f5f5f5"
BLUE, VERMILLION = "#0072b2", "#d55e00"
TITLE, TEXT, SMALL, TINY = 11.0, 9.0, 8.0, 5.5
"""Font sizes in points; below the last a number is not worth drawing."""

LONGEST_NAME = 28
"""Characters of a class name on an axis; longer names are cut."""
CHARACTER = 0.62
"""The width of an average character, in font sizes."""


# ------------------------------------------------------------------------------------------------------------
# Confusion matrix


def draw_confusion_matrix(result: EvalResult, path: Path) -> None:
    """Draws the counts of actual (rows) against predicted classes (columns).

    The diagonal is shaded by the share of the class that was told right. Errors have their own scale, that
    of the square root, so that a few in thousands are seen beside many. Cells without an image stay empty,
    and numbers are left out where they would be too small to read.

    Args:
        result: The predictions and their scores.
        path: The PNG file to write.
    """
    counts = result.confusion
    classes = len(counts)
    side = _matrix_side(classes)
    cell = side * POINTS / classes
    figure = _figure(side, side)
    axes = figure.add_axes((0, 0, 1, 1))
    colours = _shade(figure, counts, side)
    axes.imshow(colours, interpolation="nearest")
    _name_classes(axes, [scores.name for scores in result.per_class], cell)
    if cell >= TEXT:
        axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=min(1.5, cell / 16))
    size = min(TEXT + 1, 0.85 * cell / (CHARACTER * len(str(counts.max()))))
    if size >= TINY:
        for row, column in itertools.product(range(classes), repeat=2):
            if counts[row, column] or row == column:
                colour = "white" if _luminance(colours[row, column]) < 0.5 else INK  # noqa: PLR2004 - half as bright as white
                axes.text(column, row, counts[row, column], size=size, color=colour, ha="center", va="center")
    images, wrong = len(result.actual), int(counts.sum() - counts.trace())
    title = f"Accuracy {100 * result.accuracy:.2f} %: {wrong:,} of {images:,} images wrong"
    _headline(axes, title, "Counts, shaded by their share of the actual class")
    _save(figure, path)


def _matrix_side(classes: int) -> float:
    """Returns the side of the matrix in inches: half an inch per class, until that is too much."""
    return max(2.6, min(0.5 * classes, 9.0), min(0.11 * classes, 14.0))


def _shade(figure: Figure, counts: NDArray[np.int64], side: float) -> NDArray[np.float64]:
    """Draws the two colour scales right of the matrix.

    Args:
        figure: As large as the matrix.
        counts: int (classes, classes).
        side: The side of the matrix in inches.

    Returns:
        The colour of each cell: float (classes, classes, 4).
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize, PowerNorm, to_rgba

    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(len(counts), dtype=bool)
    shown = ~diagonal & (counts > 0)
    largest = share[shown].max() if shown.any() else 0.01
    blues = ListedColormap(colormaps["Blues"](np.linspace(0.1, 0.9, 256)))
    oranges = ListedColormap(colormaps["Oranges"](np.linspace(0.08, 0.85, 256)))
    scales = {
        "correct": ScalarMappable(Normalize(0, 1), blues),
        "errors": ScalarMappable(PowerNorm(0.5, 0, largest), oranges),
    }
    colours = np.where(diagonal[..., None], scales["correct"].to_rgba(share), to_rgba(PAPER))
    colours[shown] = scales["errors"].to_rgba(share[shown])

    length = min(side * 0.36, 1.8)
    ticks = {"correct": [0.0, 0.5, 1.0], "errors": _root_ticks(largest)}
    for place, (name, scale) in enumerate(scales.items()):
        top = side - 0.22 - place * (length + 0.45)
        bar = figure.add_axes((1 + 0.25 / side, (top - length) / side, 0.13 / side, length / side))
        drawn = figure.colorbar(scale, cax=bar, ticks=ticks[name])
        drawn.outline.set_visible(False)
        drawn.minorticks_off()
        bar.set_yticks(ticks[name], labels=[f"{100 * tick:.3g} %" for tick in ticks[name]])
        bar.set_title(name, size=SMALL, color=INK, loc="left", pad=7)
        bar.tick_params(labelsize=SMALL - 0.5, labelcolor=SOFT, color=FAINT, length=3)
    return colours


def _root_ticks(largest: float) -> list[float]:
    """Returns 0, a round number half way up a scale of the square root, and one at its end."""
    rounds = [step * 10.0**power for power in range(-7, 1) for step in (1, 2, 5)]
    return [0.0, *(max(number for number in rounds if number <= limit) for limit in (largest / 4, largest))]


def _name_classes(axes: Axes, names: Sequence[str], cell: float) -> None:
    """Writes the class names on both axes, upright or slanted as there is room; `cell` is in points."""
    size = min(TEXT, max(TINY, cell * 0.8))
    every = math.ceil(size * 1.1 / cell)
    places, labels = range(0, len(names), every), [shorten(name, LONGEST_NAME) for name in names[::every]]
    rotation = 0
    if max(map(len, labels)) * CHARACTER * size > 0.95 * cell * every:
        rotation = 45 if cell > 2 * TEXT else 90
    slanted: dict[str, Any] = {"rotation": rotation, "ha": "right", "va": "center", "rotation_mode": "anchor"}
    axes.set_xticks(places, labels=labels, parse_math=False, **(slanted if rotation else {}))
    axes.set_yticks(places, labels=labels, parse_math=False)
    axes.tick_params(which="both", length=0)
    axes.tick_params(labelsize=size, labelcolor=INK, pad=4)
    axes.set_xlabel("Predicted", size=TEXT + 1, color=INK, labelpad=6)
    axes.set_ylabel("Actual", size=TEXT + 1, color=INK, labelpad=6)
    axes.spines[:].set_visible(False)


def _luminance(colour: NDArray[np.float64]) -> float:
    """Returns how bright a colour is, 0 to 1."""
    return float(colour[:3] @ (0.2126, 0.7152, 0.0722))


# ------------------------------------------------------------------------------------------------------------
# Learning curves


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
    figure = _figure(9.0, 3.3)
    for place, quantity in enumerate(("loss", "accuracy")):
        axes = figure.add_axes((0.06 + 0.51 * place, 0.14, 0.36, 0.72))
        _draw_curves(axes, history, quantity, best_epoch)
    _save(figure, path)


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
    for split, place in _keep_apart(ends, gap).items():
        curve = CURVES[split]
        offset = 1.025 if last > 1 else 0.56
        axes.text(
            offset, place, curve.label, transform=axes.transAxes, size=TEXT, color=curve.colour, va="center"
        )

    axes.set_xticks(_epoch_ticks(last))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    if quantity == "accuracy":
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.6g} %")
    axes.set_xlabel("Epoch", size=TEXT, color=INK)
    axes.set_title(quantity.capitalize(), size=TITLE, color=INK, weight="bold", loc="left", pad=17)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.tick_params(labelsize=SMALL, labelcolor=SOFT, color=SOFT, length=3)
    axes.tick_params(axis="y", length=0)


def _epoch_ticks(last: int) -> list[int]:
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


def _keep_apart(places: dict[str, float], gap: float) -> dict[str, float]:
    """Moves two labels that would touch away from each other, in the order they have; one alone stays."""
    if len(places) < len(CURVES):
        return places
    (lower, low), (upper, high) = sorted(places.items(), key=lambda item: item[1])
    push = max(gap - (high - low), 0.0) / 2
    return {lower: low - push, upper: high + push}


# ------------------------------------------------------------------------------------------------------------
# Images with captions


class Tile(NamedTuple):
    """An image with what is written under it."""

    image: int
    lines: tuple[str, ...]
    wrong: bool


TILE, TILE_GAP, LINE = 1.2, 0.22, 0.16
"""The side of an image, the space between two, and the height of a line of its caption, in inches."""
PREDICTION_COLUMNS, MISTAKE_COLUMNS, MANY_COLUMNS, MANY = 5, 6, 10, 40


def draw_predictions(
    images: NDArray[np.uint8], result: EvalResult, spec: DataSpec, count: int, path: Path
) -> None:
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
        tiles.append(
            Tile(index, (f"{'✗ ' if wrong else ''}predicted {predicted}", f"actual {actual}"), wrong)
        )
    wrong_count = sum(tile.wrong for tile in tiles)
    title = f"The first {count} test images: {count - wrong_count} right, {wrong_count} wrong"
    _draw_tiles(images, tiles, spec, path, columns=PREDICTION_COLUMNS, headline=(title, ""))


def draw_mistakes(
    images: NDArray[np.uint8], result: EvalResult, spec: DataSpec, count: int, path: Path
) -> None:
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
        names = (
            (f"{actual} → {predicted}",) if short else (shorten(actual, 18), f"→ {shorten(predicted, 16)}")
        )
        confidence = _percent(float(result.confidence[index]))
        tiles.append(
            Tile(index, (*names, confidence), wrong=False)
        )  # all are wrong: a mark on each would say nothing
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
    _draw_tiles(images, tiles, spec, path, columns=columns, headline=(title, subtitle))


def _draw_tiles(
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
    from matplotlib.patches import Rectangle

    lines = max((len(tile.lines) for tile in tiles), default=0)
    columns = max(min(columns, len(tiles)), 1)
    rows = math.ceil(len(tiles) / columns)
    step_x, step_y = TILE + TILE_GAP, TILE + lines * LINE + 0.26
    width, height = columns * step_x - TILE_GAP, max(rows * step_y - 0.26, 0.1)
    figure = _figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1))
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        left, top = column * step_x, row * step_y
        pixels = images[tile.image].astype(np.float32) / spec.pixel_max
        wide, high = _fit(pixels.shape)
        edges = (
            left + (TILE - wide) / 2,
            left + (TILE + wide) / 2,
            top + (TILE + high) / 2,
            top + (TILE - high) / 2,
        )
        axes.imshow(
            np.clip(pixels, 0, 1), cmap="gray", vmin=0, vmax=1, extent=edges, interpolation="antialiased"
        )
        colour, line_width = (VERMILLION, 3.0) if tile.wrong else (FAINT, 0.6)
        axes.add_patch(
            Rectangle(
                (edges[0], edges[3]),
                wide,
                high,
                fill=False,
                edgecolor=colour,
                linewidth=line_width,
                clip_on=False,
                zorder=3,
            )
        )
        for number, line in enumerate(tile.lines):
            axes.text(
                left + TILE / 2, top + TILE + 0.14 + number * LINE, line, size=SMALL, parse_math=False,
                weight="bold" if tile.wrong else "normal", ha="center", va="center",
                color=VERMILLION if tile.wrong else (INK if number < len(tile.lines) - 1 else SOFT),
            )  # fmt: skip
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    axes.set_axis_off()
    _headline(axes, *headline)
    _save(figure, path)


def _fit(shape: tuple[int, ...]) -> tuple[float, float]:
    """Returns width and height in inches of an image that fills a tile and keeps its proportions."""
    height, width = shape[:2]
    return TILE * min(1, width / height), TILE * min(1, height / width)


def _percent(share: float) -> str:
    """Returns a share as a percentage that claims no certainty by rounding."""
    return "> 99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"  # noqa: PLR2004 - rounds to 100.0


# ------------------------------------------------------------------------------------------------------------
# What all pictures share


def shorten(name: str, length: int) -> str:
    """Returns a name, without its middle where it is too long: names often differ at their ends."""
    tail = (length - 1) // 3
    return name if len(name) <= length else f"{name[: length - 1 - tail]}…{name[-tail:]}"


def _figure(width: float, height: float) -> Figure:
    """Returns an empty figure of this size in inches, with a canvas of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _headline(axes: Axes, title: str, subtitle: str) -> None:
    """Writes a title, and a smaller line under it, above the axes and from their left edge."""
    above: Iterable[tuple[str, float, float, str, str]] = (
        (title, 22 if subtitle else 8, TITLE, INK, "bold"),
        (subtitle, 8, SMALL, SOFT, "normal"),
    )
    for text, points, size, colour, weight in above:
        axes.annotate(
            text, (0, 1), (0, points), xycoords="axes fraction", textcoords="offset points",
            size=size, color=colour, weight=weight, va="bottom", annotation_clip=False,
        )  # fmt: skip


def _save(figure: Figure, path: Path) -> None:
    """Writes the figure with a margin around all that it holds, so that nothing is cut off."""
    figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.15)

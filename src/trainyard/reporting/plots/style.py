"""How our pictures look: sizes, colours, figures without pyplot.

The colours are Okabe and Ito's, made for the colour-blind, and nothing is told by colour alone.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
PALETTE = 128
"""Colours of a picture that is saved small, those of smoothed edges among them."""
POINTS = 72
"""Typographic points per inch."""

INK, SOFT, FAINT, PAPER = "#1f1f1f", "#666666", "#d4d4d4", "#f5f5f5"
BLUE, SKY, VERMILLION = "#0072b2", "#56b4e9", "#d55e00"
GREEN, ORANGE, PURPLE, YELLOW = "#009e73", "#e69f00", "#cc79a7", "#f0e442"
SERIES = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"), (PURPLE, "D"), (ORANGE, "v"))
"""Colour and marker of each line of a plot, in order."""
TITLE, TEXT, SMALL, TINY = 11.0, 9.0, 8.0, 5.5
"""Font sizes in points; below the last a number is not worth drawing."""

LONGEST_NAME = 28
"""Characters of a class name on an axis; longer names are cut."""
CHARACTER = 0.62
"""The width of an average character, in font sizes."""


def shorten(name: str, length: int) -> str:
    """Returns a name, without its middle where it is too long: names often differ at their ends."""
    tail = (length - 1) // 3
    return name if len(name) <= length else f"{name[: length - 1 - tail]}…{name[-tail:]}"


def make_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of this size in inches, with a canvas of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def write_headline(axes: Axes, title: str, subtitle: str, *, over: float = 0.0) -> None:
    """Writes a title, and a smaller line under it, above the axes and from their left edge.

    Args:
        axes: What they are the headline of.
        title: The title.
        subtitle: The line under it; empty where there is none.
        over: Typographic points that something else takes between it and the axes.
    """
    above: Iterable[tuple[str, float, float, str, str]] = (
        (title, 22 if subtitle else 8, TITLE, INK, "bold"),
        (subtitle, 8, SMALL, SOFT, "normal"),
    )
    for text, points, size, colour, weight in above:
        axes.annotate(
            text, (0, 1), (0, points + over), xycoords="axes fraction", textcoords="offset points",
            size=size, color=colour, weight=weight, va="bottom", annotation_clip=False, parse_math=False,
        )  # fmt: skip


def tidy(axes: Axes, grid: Literal["x", "y"]) -> None:
    """Gives axes our look: a light grid in one direction, no frame."""
    axes.grid(axis=grid, which="major", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.tick_params(labelsize=SMALL, labelcolor=SOFT, color=SOFT, length=3)
    axes.tick_params(axis="y", length=0)


def save(figure: Figure, path: Path | BinaryIO) -> None:
    """Writes the figure with a margin around all that it holds, so that nothing is cut off."""
    figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.15)


def save_small(figure: Figure, path: Path) -> None:
    """Writes a figure of lines and letters in a third of the bytes: with a palette of its colours."""
    from PIL import Image

    whole = io.BytesIO()
    save(figure, whole)
    with Image.open(whole) as picture:
        small = picture.convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE)
    small.save(path, format="PNG", dpi=(DPI, DPI), optimize=True)

"""The style of all plots: sizes, colours, and figures without pyplot.

The colours are the palette of Okabe and Ito, which colour-blind people can distinguish. Marker shapes, labels or
positions repeat the information that the colours show.
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
PALETTE_SIZE = 128
"""Number of colours in a file that `save_small_figure` writes, including those of anti-aliased edges."""
POINTS_PER_INCH = 72
"""Typographic points per inch."""

INK, SOFT, FAINT, PAPER = "#1f1f1f", "#666666", "#d4d4d4", "#f5f5f5"
"""Colours of text, of secondary text, of grid lines, and of empty cells."""
BLUE, SKY, VERMILLION = "#0072b2", "#56b4e9", "#d55e00"
GREEN, ORANGE, PURPLE, YELLOW = "#009e73", "#e69f00", "#cc79a7", "#f0e442"
SERIES = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"), (PURPLE, "D"), (ORANGE, "v"))
"""Colour and marker of each line of a plot, in order."""
TITLE, TEXT, SMALL, TINY = 11.0, 9.0, 8.0, 5.5
"""Font sizes in typographic points. Numbers smaller than `TINY` are not drawn."""

MAX_NAME_LENGTH = 28
"""Maximum length of a class name in characters. Longer names are shortened."""
CHARACTER_WIDTH = 0.62
"""Width of an average character, relative to the font size."""


def shorten(name: str, length: int) -> str:
    """Returns a name with at most `length` characters. If necessary, an ellipsis replaces the middle."""
    tail = (length - 1) // 3  # names often differ at the end
    return name if len(name) <= length else f"{name[: length - 1 - tail]}…{name[-tail:]}"


def build_figure(width: float, height: float) -> Figure:
    """Returns an empty figure with an Agg canvas. Width and height are in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def add_headline(axes: Axes, title: str, subtitle: str, *, over: float = 0.0) -> None:
    """Adds a title and a smaller subtitle above the axes, aligned with their left edge.

    Args:
        axes: The axes.
        title: Text of the title.
        subtitle: Text of the line below the title, or empty for none.
        over: Space between subtitle and axes, for example for a legend, in typographic points.
    """
    lines: Iterable[tuple[str, float, float, str, str]] = (
        (title, 22 if subtitle else 8, TITLE, INK, "bold"),
        (subtitle, 8, SMALL, SOFT, "normal"),
    )
    for text, points, size, colour, weight in lines:
        axes.annotate(
            text, (0, 1), (0, points + over), xycoords="axes fraction", textcoords="offset points",
            size=size, color=colour, weight=weight, va="bottom", annotation_clip=False, parse_math=False,
        )  # fmt: skip


def style_axes(axes: Axes, grid: Literal["x", "y"]) -> None:
    """Applies the common style to axes: light grid lines for one axis, and no frame.

    Args:
        axes: The axes.
        grid: The axis whose ticks get grid lines.
    """
    axes.grid(axis=grid, which="major", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.tick_params(labelsize=SMALL, labelcolor=SOFT, color=SOFT, length=3)
    axes.tick_params(axis="y", length=0)


def save_figure(figure: Figure, path: Path | BinaryIO) -> None:
    """Writes the figure as PNG. The image is extended to include everything that was drawn, plus a margin."""
    figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.15)


def save_small_figure(figure: Figure, path: Path) -> None:
    """Writes a figure of lines and text as PNG with a palette, which takes about a third of the space."""
    from PIL import Image

    buffer = io.BytesIO()
    save_figure(figure, buffer)
    with Image.open(buffer) as image:
        quantized = image.convert("RGB").quantize(PALETTE_SIZE, dither=Image.Dither.NONE)
    quantized.save(path, format="PNG", dpi=(DPI, DPI), optimize=True)

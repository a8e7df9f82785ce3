"""The style of all plots: sizes, colours, and figures without pyplot.

The colours are the palette of Okabe and Ito, which colour-blind people can distinguish. Marker shapes, labels or
positions repeat the information that the colours show.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainyard.evaluation import is_proportion
from trainyard.reporting.plots.fonts import set_fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure, SubFigure

DPI = 150
PADDING = 0.15
"""Margin around everything that was drawn, in inches."""
PALETTE_SIZE = 256
"""Number of colours in a file with a palette, including those of anti-aliased edges: the maximum of PNG."""
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

WIDTH, HEIGHT = 6.8, 4.0
"""Width of the plots of a sweep or comparison, and height of those without rows, in inches. Pages show them in equal
size."""
MAX_NAME_LENGTH = 28
"""Maximum length of a class name in characters. Longer names are shortened."""
CHARACTER_WIDTH = 0.62
"""Width of an average character, relative to the font size."""


def shorten(name: str, length: int) -> str:
    """Returns a name with at most `length` characters. If necessary, an ellipsis replaces the middle."""
    tail = (length - 1) // 3  # names often differ at the end
    return name if len(name) <= length else f"{name[: length - 1 - tail]}…{name[-tail:]}"


def wrap(label: str, length: int) -> str:
    """Returns a label on one line or, if it has more than `length` characters, on two of about the same length.

    In still longer labels, an ellipsis replaces what does not fit.
    """
    if len(label) <= length:
        return label
    widths = range(-(-len(label) // 2), length + 1)
    wrapped = (textwrap.wrap(label, width, break_long_words=False) for width in widths)
    fitting = (lines for lines in wrapped if len(lines) <= 2 and max(map(len, lines)) <= length)  # noqa: PLR2004
    lines = next(fitting, None) or textwrap.wrap(label, length, max_lines=2, placeholder=" …", break_long_words=False)
    return "\n".join(shorten(line, length) for line in lines)


def build_figure(width: float, height: float) -> Figure:
    """Returns an empty figure with an Agg canvas. Width and height are in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def build_axes(
    width: float, height: float, *, left: float = 0.0, bottom: float = 0.0, right: float = 0.0, top: float = 0.0
) -> Axes:
    """Returns the axes of a new figure of this size, between these margins, all in inches."""
    sides = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    return build_figure(width, height).add_axes(sides)


def measure_names(names: Iterable[str], size: float) -> float:
    """Returns the approximate width of the longest name in inches. The font size is in typographic points."""
    lines = (line for name in names for line in name.split("\n"))
    return max(map(len, lines)) * CHARACTER_WIDTH * size / POINTS_PER_INCH


def label_rows(axes: Axes, positions: Sequence[float], names: Sequence[str], size: float, xlabel: str) -> None:
    """Applies the common style to a plot of rows, with their names at their positions on the y axis."""
    style_axes(axes, grid="x", xlabel=xlabel)
    axes.set_yticks(positions, names, parse_math=False)
    axes.tick_params(axis="y", labelsize=size, labelcolor=INK, length=0)


def annotate(
    axes: Axes,
    text: str,
    point: tuple[float, float],
    offset: tuple[float, float] = (0, 0),
    *,
    coordinates: str | tuple[str, str] = "data",
    **properties: Any,  # noqa: ANN401 - matplotlib's properties of text
) -> None:
    """Writes text next to a point; by default small, grey and vertically centered. The axes do not clip it.

    `offset` is in typographic points, and `coordinates` is matplotlib's `xycoords`.
    """
    defaults = {"size": SMALL, "color": SOFT, "va": "center", "annotation_clip": False, "parse_math": False}
    axes.annotate(text, point, offset, xycoords=coordinates, textcoords="offset points", **{**defaults, **properties})


def add_legend(axes: Axes, handles: Sequence[Any], labels: Sequence[str], columns: int, **spacing: float) -> None:
    """Adds a legend above the axes, without a frame."""
    legend = axes.legend(
        handles, labels, fontsize=SMALL, frameon=False, labelcolor=INK, ncols=columns, loc="lower left",
        bbox_to_anchor=(0, 1), borderaxespad=0.2, columnspacing=1.4, **spacing,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def style_axes(axes: Axes, grid: Literal["x", "y", "both"], xlabel: str = "") -> None:
    """Applies the common style to axes: light grid lines, and no frame."""
    if xlabel:
        axes.set_xlabel(xlabel, size=TEXT, color=INK)
    axes.grid(axis=grid, which="major", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.tick_params(labelsize=SMALL, labelcolor=SOFT, color=SOFT, length=3)
    axes.tick_params(axis="y", length=0)


def format_value_axis(axis: Axis, metric: str) -> None:
    """Places ticks at round values of an axis of a metric. Proportions, such as accuracies, are in percent."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    if is_proportion(metric):
        axis.set_major_formatter(lambda share, _: f"{100 * share:.6g} %")


def add_headline(axes: Axes, title: str, subtitle: str, *, over: float = 0.0, left: float = 0.0) -> None:
    """Adds a title and a smaller subtitle, which may be empty, above the axes.

    In typographic points, `over` is the space between subtitle and axes, for example for a legend, and `left` the
    distance of the text from the left edge of the axes.
    """
    above: dict[str, Any] = {"coordinates": "axes fraction", "va": "bottom"}
    height = (22 if subtitle else 8) + over
    annotate(axes, title, (0, 1), (-left, height), size=TITLE, color=INK, weight="bold", **above)
    annotate(axes, subtitle, (0, 1), (-left, 8 + over), **above)


def save_plot(
    axes: Axes, path: Path, title: str, subtitle: str, *, over: float = 0.0, exact: bool = False, whole: bool = False
) -> None:
    """Adds a headline above the axes, and writes their figure; see `add_headline` and `save_figure`.

    The headline is aligned with the axes or, with `whole`, with the figure.
    """
    left = axes.bbox.x0 / axes.figure.dpi * POINTS_PER_INCH if whole else 0.0
    add_headline(axes, title, subtitle, over=over, left=left)
    save_figure(axes.figure, path, exact=exact, whole=whole)


def save_figure(figure: Figure | SubFigure, path: Path, *, exact: bool = False, whole: bool = False) -> None:
    """Writes a figure as PNG. The image is extended to include everything that was drawn, plus a margin.

    Without `whole`, empty borders of the figure are cut off. The colours are reduced to a palette of `PALETTE_SIZE`,
    with which a figure of lines and text takes about a third of the space. With `exact`, for figures with images, no
    colour changes: only a figure of few colours has a palette.
    """
    from matplotlib.transforms import Bbox
    from PIL import Image

    set_fonts(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # of missing characters; see `describe_missing_font`
        warnings.filterwarnings("ignore", "Glyph .* missing")
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]  # an Agg canvas; see `build_figure`
        box = figure.get_tightbbox(renderer)  # bbox_inches="tight" would draw the figure once more
        box = (Bbox.union([box, figure.figure.bbox_inches]) if whole else box).padded(PADDING)
        figure.canvas.print_figure(buffer, format="png", bbox_inches=box, pil_kwargs={"compress_level": 0})
    with Image.open(buffer) as png:
        image = png.convert("RGB")
    has_palette = not exact or image.getcolors(PALETTE_SIZE) is not None
    if has_palette:
        image = image.quantize(PALETTE_SIZE, dither=Image.Dither.NONE)
    image.save(path, format="PNG", dpi=(DPI, DPI), optimize=has_palette)

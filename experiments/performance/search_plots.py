"""The picture of searches side by side: the best that each had found by then."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainyard.reporting.plots.ranking import label_line_ends
from trainyard.reporting.plots.style import (
    INK,
    SERIES,
    SMALL,
    SOFT,
    TEXT,
    add_headline,
    build_figure,
    save_small_figure,
    style_axes,
)

_STEPS = 400
_SHOWN = 0.004
"""How far below the worst of all ends the axis begins; before its end a search may lie below it."""


def draw_searches(
    searches: Mapping[str, Sequence[Sequence[tuple[float, float]]]], budget: float, subtitle: str, path: Path
) -> None:
    """Draws the best accuracy up to each moment: a thin line per search, a thick one for the mean of a kind.

    Args:
        searches: By kind, of each search after each trial that ended: seconds spent, best accuracy (0 to 1) so far.
        budget: Where the axis of seconds ends.
        subtitle: What was searched.
        path: The PNG file to write.
    """
    figure = build_figure(7.6, 4.2)
    axes = figure.add_axes((0.09, 0.13, 0.62, 0.7))
    moments = [budget * step / _STEPS for step in range(_STEPS + 1)]
    lowest, highest = 1.0, 0.0
    labels: dict[str, tuple[str, str, tuple[float, float]]] = {}
    for (name, courses), (colour, _) in zip(searches.items(), SERIES, strict=False):
        lines = [_stairs(course, moments) for course in courses]
        for line in lines:
            axes.plot(moments, [_percent(value) for value in line], color=colour, linewidth=0.9, alpha=0.4)
        columns = list(zip(*lines, strict=True))
        means = [None if None in column else statistics.mean(filter(None, column)) for column in columns]
        axes.plot(moments, [_percent(value) for value in means], color=colour, linewidth=2.6, zorder=3)
        if (last := means[-1]) is not None:
            labels[name] = (f"{name} {100 * last:.2f}", colour, (budget, 100 * last))
        ends = [line[-1] for line in lines if line[-1] is not None]
        lowest, highest = min([lowest, *ends]), max([highest, *ends])
    axes.set(xlim=(0, budget), ylim=(100 * (lowest - _SHOWN), 100 * (highest + _SHOWN / 3)))
    label_line_ends(axes, labels)
    axes.set_xlabel("Seconds spent on trials", size=TEXT, color=INK)
    style_axes(axes, grid="y")
    axes.tick_params(labelsize=SMALL, labelcolor=SOFT)
    add_headline(axes, "Best accuracy on the validation images so far, %", subtitle)
    save_small_figure(figure, path)


def _stairs(course: Sequence[tuple[float, float]], moments: Sequence[float]) -> list[float | None]:
    """Returns the best so far at each moment; None before the first."""
    return [next((best for spent, best in reversed(course) if spent <= moment), None) for moment in moments]


def _percent(share: float | None) -> float:
    return float("nan") if share is None else 100 * share

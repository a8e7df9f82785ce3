"""Draws the figure of the part ``search``: the best accuracy of each search over its compute time."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainyard.reporting.plots.learning_curves import LineEnd, label_line_ends
from trainyard.reporting.plots.style import (
    INK,
    SERIES,
    SMALL,
    SOFT,
    TEXT,
    add_headline,
    build_figure,
    save_figure,
    style_axes,
)

_STEPS = 400
_MARGIN = 0.004
"""Accuracy between the lower end of the axis and the worst final accuracy. Lower values are not visible."""


def draw_searches(
    searches: Mapping[str, Sequence[Sequence[tuple[float, float]]]], budget: float, subtitle: str, path: Path
) -> None:
    """Draws the best accuracy so far over the compute time: a thin line per search, a thick line for their mean.

    Args:
        searches: By name, the history of each search: pairs of the compute time in seconds and the best accuracy so
            far (0 to 1), one per completed trial.
        budget: End of the time axis, in seconds.
        subtitle: Description of the searches.
        path: The PNG file to write.
    """
    figure = build_figure(7.6, 4.2)
    axes = figure.add_axes((0.09, 0.13, 0.62, 0.7))
    times = [budget * step / _STEPS for step in range(_STEPS + 1)]
    lowest, highest = 1.0, 0.0
    line_ends = []
    for (name, histories), (colour, _) in zip(searches.items(), SERIES, strict=False):
        lines = [_best_at_times(history, times) for history in histories]
        for line in lines:
            axes.plot(times, [_percent(value) for value in line], color=colour, linewidth=0.9, alpha=0.4)
        columns = list(zip(*lines, strict=True))
        means = [None if None in column else statistics.mean(filter(None, column)) for column in columns]
        axes.plot(times, [_percent(value) for value in means], color=colour, linewidth=2.6, zorder=3)
        if (last := means[-1]) is not None:
            line_ends.append(LineEnd(f"{name} {100 * last:.2f}", colour, (budget, 100 * last)))
        ends = [line[-1] for line in lines if line[-1] is not None]
        lowest, highest = min([lowest, *ends]), max([highest, *ends])
    axes.set(xlim=(0, budget), ylim=(100 * (lowest - _MARGIN), 100 * (highest + _MARGIN / 3)))
    label_line_ends(axes, line_ends)
    axes.set_xlabel("Compute time (total duration of the trials), seconds", size=TEXT, color=INK)
    style_axes(axes, grid="y")
    axes.tick_params(labelsize=SMALL, labelcolor=SOFT)
    add_headline(axes, "Best validation accuracy so far, %", subtitle)
    save_figure(figure, path)


def _best_at_times(history: Sequence[tuple[float, float]], times: Sequence[float]) -> list[float | None]:
    """Returns the best accuracy at each time; None before the first completed trial."""
    return [next((best for spent, best in reversed(history) if spent <= time), None) for time in times]


def _percent(fraction: float | None) -> float:
    return float("nan") if fraction is None else 100 * fraction

"""Draws the figures of the parts ``epoch``, ``grid``, ``run`` and ``sweep``."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from operator import truediv
from pathlib import Path
from typing import Any, NamedTuple

from trainyard.reporting.plots.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SERIES,
    SKY,
    SMALL,
    SOFT,
    TEXT,
    YELLOW,
    add_headline,
    build_figure,
    save_figure,
    style_axes,
)

STAGE_COLOURS = {
    "before": "#8c8c8c",
    "open": YELLOW,
    "start": "#c4c4c4",
    "load": SKY,
    "build": PURPLE,
    "compile": "#00436b",
    "train": BLUE,
    "evaluate": GREEN,
    "log": ORANGE,
    "after": "#4d4d4d",
}
"""Colour of each stage of a run."""

_DARK_STAGES = ("before", "compile", "train", "evaluate", "after")

_GOAL_LINE: dict[str, Any] = {"color": SOFT, "linewidth": 1.1, "linestyle": (0, (4, 3)), "zorder": 0.9}

_MIN_LABELLED_FRACTION = 0.035
"""Shortest stage whose seconds are written into the bar, as a fraction of the longest run."""


class GridSeries(NamedTuple):
    """The results of one batch size.

    Attributes:
        batch_size: The batch size.
        units: Units of the hidden layer.
        speedups: Speedup over plain Keras `fit`, per number of units.
        lower_bound_ratios: Time divided by the time of the matrix products, per number of units.
    """

    batch_size: int
    units: list[int]
    speedups: list[float]
    lower_bound_ratios: list[float]


def draw_epochs(
    ratios: Mapping[str, Sequence[float]], path: Path, *, highlighted: str, lower_bound: str, goal: float, subtitle: str
) -> None:
    """Draws the time of each epoch, divided by the lower bound, as a marker, and the median as a vertical line.

    Args:
        ratios: One value per epoch, by implementation, in the order from top to bottom.
        path: The PNG file to write.
        highlighted: Name of the implementation that the goal applies to.
        lower_bound: Name of the lower bound.
        goal: Largest ratio that meets the goal.
        subtitle: Description of the training.
    """
    figure = build_figure(7.2, 1.3 + 0.4 * len(ratios))
    axes = figure.add_axes((0.23, 0.2, 0.72, 0.6))
    for row, (name, values) in enumerate(ratios.items()):
        colour, marker = (BLUE, "o") if name == highlighted else (SOFT, "s")
        median = statistics.median(values)
        axes.plot(values, [row] * len(values), marker, color=colour, alpha=0.45, markersize=5, markeredgewidth=0)
        axes.plot([median] * 2, [row - 0.27, row + 0.27], color=colour, linewidth=2.4, zorder=3)
        axes.annotate(
            f"{median:.2f}", (max(values), row), (9, 0), textcoords="offset points", size=TEXT, color=colour,
            va="center", weight="bold" if name == highlighted else "normal",
        )  # fmt: skip
    axes.axvline(goal, **_GOAL_LINE)
    axes.axvline(1, color=INK, linewidth=1.2)
    axes.annotate(
        f"goal for {highlighted}: at most {goal:g}", (goal, len(ratios)), (6, 0), textcoords="offset points",
        size=SMALL, color=SOFT, va="center",
    )  # fmt: skip
    axes.set_yticks(range(len(ratios) + 1), [*ratios, lower_bound])
    axes.set(xlim=(0, 1.12 * max(max(values) for values in ratios.values())), ylim=(len(ratios) + 0.5, -0.5))
    axes.set_xlabel("Epoch time divided by the time of its matrix products", size=TEXT, color=INK)
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", labelsize=TEXT, labelcolor=INK, length=0)
    add_headline(axes, "Epoch time relative to the matrix products", subtitle)
    save_figure(figure, path)


def draw_grid(series: Sequence[GridSeries], fit_goal: float, matrix_products_goal: float, path: Path) -> None:
    """Draws both ratios over the hidden units, one line per batch size.

    Args:
        series: The results by batch size, in ascending order.
        fit_goal: Goal for the speedup of the published network, for comparison.
        matrix_products_goal: Goal for the ratio of the published network to the matrix products, for comparison.
        path: The PNG file to write.
    """
    figure = build_figure(8.6, 3.5)
    panels = (
        (
            "Speedup over plain Keras fit",
            "higher is better; dashed: goal for the published network",
            [line.speedups for line in series],
            fit_goal,
        ),
        (
            "Time relative to the matrix products",
            "lower is better, at least 1; dashed: goal for the published network",
            [line.lower_bound_ratios for line in series],
            matrix_products_goal,
        ),
    )
    for column, (title, subtitle, values, goal) in enumerate(panels):
        axes = figure.add_axes((0.06 + 0.5 * column, 0.15, 0.4, 0.66))
        axes.axhline(goal, **_GOAL_LINE)
        axes.annotate(
            f"goal: {goal:g}", (1, goal), (0, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", size=SMALL, color=SOFT, ha="right", va="bottom", zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
        )  # fmt: skip
        for line, ratios, (colour, marker) in zip(series, values, SERIES, strict=False):
            axes.plot(
                line.units, ratios, color=colour, marker=marker, linewidth=1.7, markersize=5.5, zorder=3,
                label=str(line.batch_size),
            )  # fmt: skip
        units = sorted({unit for line in series for unit in line.units})
        axes.set_xscale("log", base=2)
        axes.set_xticks(units, [f"{unit:,}" for unit in units])
        axes.minorticks_off()
        axes.set_ylim(0, 1.1 * max(goal, *(max(ratios) for ratios in values)))
        axes.set_xlabel("Units of the hidden layer", size=TEXT, color=INK)
        style_axes(axes, grid="y")
        add_headline(axes, title, subtitle)
        if column == len(panels) - 1:
            legend = axes.legend(
                title="Batch size", fontsize=SMALL, title_fontsize=SMALL, frameon=False, loc="center left",
                bbox_to_anchor=(1.01, 0.5), labelcolor=INK,
            )  # fmt: skip
            legend.get_title().set_color(INK)
    save_figure(figure, path)


def draw_run_stages(
    bars: Mapping[str, Mapping[str, float]], stages: Mapping[str, str], goal: float, path: Path
) -> None:
    """Draws the duration of complete runs: one bar per run, divided into stages.

    Args:
        bars: Seconds by run and stage; the first run is the plain script.
        stages: Descriptions of the stages, in chronological order.
        goal: Longest duration of the other runs that meets the goal, relative to the first run.
        path: The PNG file to write.
    """
    from matplotlib.patches import Patch

    figure = build_figure(8.6, 1.5 + 0.5 * len(bars))
    axes = figure.add_axes((0.2, 0.38, 0.75, 0.45))
    totals = [sum(seconds.values()) for seconds in bars.values()]
    longest = max(totals)
    for row, seconds in enumerate(bars.values()):
        left = 0.0
        for stage in stages:
            width = seconds.get(stage, 0.0)
            axes.barh(row, width, 0.56, left, color=STAGE_COLOURS[stage], edgecolor="white", linewidth=0.5)
            if width > _MIN_LABELLED_FRACTION * longest:
                axes.text(
                    left + width / 2, row, f"{width:.1f}", size=SMALL, ha="center", va="center",
                    color="white" if stage in _DARK_STAGES else INK,
                )  # fmt: skip
            left += width
        axes.annotate(
            f"{left:.1f} s", (left, row), (5, 0), textcoords="offset points", size=TEXT, color=INK, weight="bold",
            va="center",
        )  # fmt: skip
    axes.axvline(goal * totals[0], **_GOAL_LINE)
    axes.set_yticks(range(len(bars)), list(bars))
    axes.set(xlim=(0, 1.1 * longest), ylim=(len(bars) - 0.5, -0.5))
    axes.set_xlabel("Seconds from the start of the command to its exit", size=TEXT, color=INK)
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", labelsize=TEXT, labelcolor=INK, length=0)
    used = [stage for stage in stages if any(seconds.get(stage, 0) > 0 for seconds in bars.values())]
    patches = [Patch(facecolor=STAGE_COLOURS[stage], edgecolor="white", label=stages[stage]) for stage in used]
    axes.legend(
        handles=patches, ncols=3, fontsize=SMALL, frameon=False, loc="upper left", bbox_to_anchor=(-0.26, -0.3),
        labelcolor=INK, handlelength=1.4, columnspacing=1.4,
    )  # fmt: skip
    subtitle = f"Dashed line: goal, at most {goal:g} times the duration of the plain script"
    add_headline(axes, "Duration of a complete run by stage", subtitle)
    save_figure(figure, path)


def draw_throughputs(
    throughputs: Mapping[str, Sequence[float]],
    goals: Mapping[str, float],
    path: Path,
    *,
    highlighted: str,
    subtitle: str,
) -> None:
    """Draws the trials per minute: a bar per command with the median, and a dot per round.

    A dashed line marks the length that the highlighted bar requires to meet a goal. Goals apply to the median of the
    ratios per round, so the line is drawn at the highlighted median times the goal, divided by the median ratio.

    Args:
        throughputs: Trials per minute in each round, by command, in the order from top to bottom.
        goals: Smallest ratio of the highlighted throughput to that of another command that meets the goal, by command.
        path: The PNG file to write.
        highlighted: Name of the command that the goals apply to.
        subtitle: Description of the sweep.
    """
    figure = build_figure(7.6, 1.5 + 0.5 * len(throughputs))
    axes = figure.add_axes((0.2, 0.2, 0.75, 0.55))
    rows = {name: row for row, name in enumerate(throughputs)}
    medians = {name: statistics.median(values) for name, values in throughputs.items()}
    ratios = {name: statistics.median(map(truediv, throughputs[highlighted], throughputs[name])) for name in goals}
    goal_positions = {name: medians[highlighted] * goal / ratios[name] for name, goal in goals.items()}
    longest = max(*(max(values) for values in throughputs.values()), *goal_positions.values())
    for name, values in throughputs.items():
        axes.barh(rows[name], medians[name], 0.5, color=BLUE if name == highlighted else SOFT, alpha=0.85)
        axes.plot(values, [rows[name]] * len(values), "o", color=INK, markersize=3.5, zorder=3)
        axes.annotate(
            f"{medians[name]:.2f}", (max(values), rows[name]), (8, 0), textcoords="offset points", size=TEXT,
            color=BLUE if name == highlighted else INK, weight="bold" if name == highlighted else "normal", va="center",
        )  # fmt: skip
    for name, goal in goals.items():
        axes.plot([goal_positions[name]] * 2, [rows[name], rows[highlighted] + 0.42], **_GOAL_LINE)
        axes.annotate(
            f"goal: {goal:g} times", (goal_positions[name], rows[name]), (-5, 0),
            textcoords="offset points", size=SMALL, color=SOFT, ha="right", va="center", zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
        )  # fmt: skip
    axes.set_yticks(list(rows.values()), list(rows))
    axes.set(xlim=(0, 1.12 * longest), ylim=(len(throughputs) - 0.5, -0.5))
    axes.set_xlabel("Trials per minute", size=TEXT, color=INK)
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", labelsize=TEXT, labelcolor=INK, length=0)
    add_headline(axes, "Throughput of a complete sweep", subtitle)
    save_figure(figure, path)

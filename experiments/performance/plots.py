"""The pictures of the benchmark: epochs against their floor, the grid, XLA, a run's seconds, a sweep's throughput."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from operator import truediv
from pathlib import Path
from typing import Any, NamedTuple

from trainyard.reporting.plots.style import (
    BLUE,
    FAINT,
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
"""The colour of each stage of a run."""

_DARK_STAGES = ("before", "compile", "train", "evaluate", "after")

_GOAL_LINE: dict[str, Any] = {"color": SOFT, "linewidth": 1.1, "linestyle": (0, (4, 3)), "zorder": 0.9}

_LEAST_WRITTEN = 0.035
"""The share of the axis that a stage must fill to have its seconds written into it."""


class GridLine(NamedTuple):
    """One batch size of the grid: units of the hidden layer, and the two ratios at each."""

    batch_size: int
    units: list[int]
    to_fit: list[float]
    to_floor: list[float]


def draw_epochs(
    ratios: Mapping[str, Sequence[float]], path: Path, *, ours: str, floor: str, goal: float, subtitle: str
) -> None:
    """Draws each epoch of each contestant as a dot, and their median as a line, in times of the floor's epoch.

    Args:
        ratios: One value per epoch, by contestant, from the top down.
        path: The PNG file to write.
        ours: The contestant that stands out.
        floor: What the floor is called.
        goal: The most that it may take, in times of the floor.
        subtitle: What was trained.
    """
    figure = build_figure(7.2, 1.3 + 0.4 * len(ratios))
    axes = figure.add_axes((0.23, 0.2, 0.72, 0.6))
    for place, (name, values) in enumerate(ratios.items()):
        colour, marker = (BLUE, "o") if name == ours else (SOFT, "s")
        median = statistics.median(values)
        axes.plot(values, [place] * len(values), marker, color=colour, alpha=0.45, markersize=5, markeredgewidth=0)
        axes.plot([median] * 2, [place - 0.27, place + 0.27], color=colour, linewidth=2.4, zorder=3)
        axes.annotate(
            f"{median:.2f}", (max(values), place), (9, 0), textcoords="offset points", size=TEXT, color=colour,
            va="center", weight="bold" if name == ours else "normal",
        )  # fmt: skip
    axes.axvline(goal, **_GOAL_LINE)
    axes.axvline(1, color=INK, linewidth=1.2)
    axes.annotate(
        f"goal of {ours}: at most {goal:g}", (goal, len(ratios)), (6, 0), textcoords="offset points", size=SMALL,
        color=SOFT, va="center",
    )  # fmt: skip
    axes.set_yticks(range(len(ratios) + 1), [*ratios, floor])
    axes.set(xlim=(0, 1.12 * max(max(values) for values in ratios.values())), ylim=(len(ratios) + 0.5, -0.5))
    axes.set_xlabel("Time of an epoch, in times of its matrix products", size=TEXT, color=INK)
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", labelsize=TEXT, labelcolor=INK, length=0)
    add_headline(axes, "An epoch, against its floor", subtitle)
    save_figure(figure, path)


def draw_grid(lines: Sequence[GridLine], fit_goal: float, floor_goal: float, path: Path) -> None:
    """Draws both ratios over the hidden units, one line per batch size.

    Args:
        lines: From the smallest batch size to the largest.
        fit_goal: That of the published network, for comparison.
        floor_goal: The same, against the floor.
        path: The PNG file to write.
    """
    figure = build_figure(8.6, 3.5)
    panels = (
        ("Times as fast as plain fit", "more is better", [line.to_fit for line in lines], fit_goal),
        ("Times the matrix products", "less is better, 1 is the floor", [line.to_floor for line in lines], floor_goal),
    )
    for place, (title, subtitle, values, goal) in enumerate(panels):
        axes = figure.add_axes((0.06 + 0.5 * place, 0.15, 0.4, 0.66))
        axes.axhline(goal, **_GOAL_LINE)
        axes.annotate(
            f"goal of the published network, {goal:g}", (1, goal), (0, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", size=SMALL, color=SOFT, ha="right", va="bottom", zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
        )  # fmt: skip
        for line, series, (colour, marker) in zip(lines, values, SERIES, strict=False):
            axes.plot(
                line.units, series, color=colour, marker=marker, linewidth=1.7, markersize=5.5, zorder=3,
                label=str(line.batch_size),
            )  # fmt: skip
        units = sorted({unit for line in lines for unit in line.units})
        axes.set_xscale("log", base=2)
        axes.set_xticks(units, [f"{unit:,}" for unit in units])
        axes.minorticks_off()
        axes.set_ylim(0, 1.1 * max(goal, *(max(series) for series in values)))
        axes.set_xlabel("Hidden units, one layer", size=TEXT, color=INK)
        style_axes(axes, grid="y")
        add_headline(axes, title, subtitle)
        if place == len(panels) - 1:
            legend = axes.legend(
                title="Batch size", fontsize=SMALL, title_fontsize=SMALL, frameon=False, loc="center left",
                bbox_to_anchor=(1.01, 0.5), labelcolor=INK,
            )  # fmt: skip
            legend.get_title().set_color(INK)
    save_figure(figure, path)


def draw_choices(groups: Mapping[str, Mapping[str, float]], chosen: Mapping[str, str], device: str, path: Path) -> None:
    """Draws the seconds of an epoch with each choice of engine and XLA, a group per network, on a logarithmic axis.

    Args:
        groups: Median seconds by choice, by network; all with the same choices.
        chosen: By network, the choice that is taken by itself.
        device: What it ran on.
        path: The PNG file to write.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullLocator

    choices = list(next(iter(groups.values())))
    figure = build_figure(7.6, 1.0 + 0.95 * len(groups))
    axes = figure.add_axes((0.2, 0.2, 0.56, 0.6))
    step = 0.8 / len(choices)
    for number, (choice, (colour, marker)) in enumerate(zip(choices, SERIES, strict=False)):
        for place, (network, seconds) in enumerate(groups.items()):
            height = place + (number - (len(choices) - 1) / 2) * step
            taken = chosen[network] == choice
            axes.plot(
                seconds[choice], height, marker, color=colour, markersize=7, zorder=3, clip_on=False,
                markerfacecolor=colour if taken else "white", markeredgewidth=1.6,
            )  # fmt: skip
            axes.annotate(
                f"{seconds[choice]:.3g} s" + ("  auto" if taken else ""), (seconds[choice], height), (8, 0),
                textcoords="offset points", size=SMALL, color=colour if taken else SOFT, va="center",
                weight="bold" if taken else "normal", annotation_clip=False,
            )  # fmt: skip
        for place in range(1, len(groups)):
            axes.axhline(place - 0.5, color=FAINT, linewidth=0.8)
    everything = [value for seconds in groups.values() for value in seconds.values()]
    axes.set_xscale("log")
    axes.set(xlim=(min(everything) / 1.6, max(everything) * 2.6), ylim=(len(groups) - 0.5, -0.5))
    axes.set_yticks(range(len(groups)), [network.replace(", ", ",\n", 1) for network in groups])
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{seconds:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("Seconds per epoch, logarithmic", size=TEXT, color=INK)
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", labelsize=TEXT, labelcolor=INK, length=0)
    legend = [
        Line2D([], [], linestyle="", marker=marker, color=colour, markersize=7, markerfacecolor="white", label=choice)
        for choice, (colour, marker) in zip(choices, SERIES, strict=False)
    ]
    axes.legend(
        handles=legend, fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5), labelcolor=INK
    )
    add_headline(axes, "With and without XLA", f"{device}; filled: what auto chooses")
    save_figure(figure, path)


def draw_stages(bars: Mapping[str, Mapping[str, float]], stages: Mapping[str, str], goal: float, path: Path) -> None:
    """Draws where the seconds of whole runs go, one bar per run, stage after stage.

    Args:
        bars: Seconds by stage, by run; the first is the plain script.
        stages: The stages in words, in their order.
        goal: The most that the others may take, in times of the first.
        path: The PNG file to write.
    """
    from matplotlib.patches import Patch

    figure = build_figure(8.6, 1.5 + 0.5 * len(bars))
    axes = figure.add_axes((0.2, 0.38, 0.75, 0.45))
    totals = [sum(seconds.values()) for seconds in bars.values()]
    widest = max(totals)
    for place, seconds in enumerate(bars.values()):
        left = 0.0
        for stage in stages:
            width = seconds.get(stage, 0.0)
            axes.barh(place, width, 0.56, left, color=STAGE_COLOURS[stage], edgecolor="white", linewidth=0.5)
            if width > _LEAST_WRITTEN * widest:
                axes.text(
                    left + width / 2, place, f"{width:.1f}", size=SMALL, ha="center", va="center",
                    color="white" if stage in _DARK_STAGES else INK,
                )  # fmt: skip
            left += width
        axes.annotate(
            f"{left:.1f} s", (left, place), (5, 0), textcoords="offset points", size=TEXT, color=INK, weight="bold",
            va="center",
        )  # fmt: skip
    axes.axvline(goal * totals[0], **_GOAL_LINE)
    axes.set_yticks(range(len(bars)), list(bars))
    axes.set(xlim=(0, 1.1 * widest), ylim=(len(bars) - 0.5, -0.5))
    axes.set_xlabel("Seconds from the shell to the exit", size=TEXT, color=INK)
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", labelsize=TEXT, labelcolor=INK, length=0)
    used = [stage for stage in stages if any(seconds.get(stage, 0) > 0 for seconds in bars.values())]
    patches = [Patch(facecolor=STAGE_COLOURS[stage], edgecolor="white", label=stages[stage]) for stage in used]
    axes.legend(
        handles=patches, ncols=3, fontsize=SMALL, frameon=False, loc="upper left", bbox_to_anchor=(-0.26, -0.3),
        labelcolor=INK, handlelength=1.4, columnspacing=1.4,
    )  # fmt: skip
    goal_in_words = f"Broken line: the goal, {goal:g} times the time of the plain script"
    add_headline(axes, "Where the seconds of a run go", goal_in_words)
    save_figure(figure, path)


def draw_throughputs(
    speeds: Mapping[str, Sequence[float]], goals: Mapping[str, float], path: Path, *, ours: str, subtitle: str
) -> None:
    """Draws how many trials are done in a minute: a bar per way to do them, with a dot per round.

    A goal stands where the bar of ours would end if it just reached it, judged as a goal is: by the median of the
    rounds' ratios.

    Args:
        speeds: Trials per minute of each round, by way, from the top down.
        goals: By way, how many times its speed ours has to reach.
        path: The PNG file to write.
        ours: The way that stands out.
        subtitle: What was trained.
    """
    figure = build_figure(7.6, 1.5 + 0.5 * len(speeds))
    axes = figure.add_axes((0.2, 0.2, 0.75, 0.55))
    places = {name: place for place, name in enumerate(speeds)}
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    ratios = {name: statistics.median(map(truediv, speeds[ours], speeds[name])) for name in goals}
    ends = {name: medians[ours] * times / ratios[name] for name, times in goals.items()}
    widest = max(*(max(values) for values in speeds.values()), *ends.values())
    for name, values in speeds.items():
        axes.barh(places[name], medians[name], 0.5, color=BLUE if name == ours else SOFT, alpha=0.85)
        axes.plot(values, [places[name]] * len(values), "o", color=INK, markersize=3.5, zorder=3)
        axes.annotate(
            f"{medians[name]:.2f}", (max(values), places[name]), (8, 0), textcoords="offset points", size=TEXT,
            color=BLUE if name == ours else INK, weight="bold" if name == ours else "normal", va="center",
        )  # fmt: skip
    for name, times in goals.items():
        axes.plot([ends[name]] * 2, [places[name], places[ours] + 0.42], **_GOAL_LINE)
        axes.annotate(
            f"goal: {times:g} times", (ends[name], places[name]), (-5, 0), textcoords="offset points", size=SMALL,
            color=SOFT, ha="right", va="center", zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
        )  # fmt: skip
    axes.set_yticks(list(places.values()), list(places))
    axes.set(xlim=(0, 1.12 * widest), ylim=(len(speeds) - 0.5, -0.5))
    axes.set_xlabel("Trials per minute", size=TEXT, color=INK)
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", labelsize=TEXT, labelcolor=INK, length=0)
    add_headline(axes, "How fast a sweep gets through its trials", subtitle)
    save_figure(figure, path)

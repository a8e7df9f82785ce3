"""The pictures of a sweep: its learning curves and its ranking."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainyard.evaluation.ranking import Place, Ranking, is_share
from trainyard.reporting.plots.learning_curves import epoch_ticks, keep_apart
from trainyard.reporting.plots.style import (
    BLUE,
    CHARACTER,
    INK,
    POINTS,
    SERIES,
    SMALL,
    SOFT,
    TEXT,
    make_figure,
    save_small,
    shorten,
    tidy,
    write_headline,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "#b8b8b8"
LONGEST_LABEL = 40
"""Characters of a point's label; longer ones are cut."""
MOST_ROWS = 20
"""Places that the picture of the ranking shows."""
FENCE = 4.0
"""So many times as far from the best as the middle one is out of sight: it would press all others together."""
LEAST_FALLEN = 1e-4
"""Where the logarithmic axis of losses and errors ends: less is drawn as this."""
LETTERS_HIGH = 12
"""Points that a label takes from the one under it."""
MOST_GREY = 300
"""Lines that don't stand out; of more, as many are drawn, from the best to the worst."""
_ROW = 0.27
"""Inches."""


class Course(NamedTuple):
    """How a point went, epoch by epoch, as far as all its seeds went: its loss, or its share of errors.

    Attributes:
        label: Of the point.
        mean: Over the seeds, float64 (epochs,), above 0.
        low: The least of the seeds, likewise.
        high: The most of the seeds, likewise.
        seeds: How many they are.
    """

    label: str
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


# ------------------------------------------------------------------------------------------------------------
# Learning curves


def draw_curves(
    places: Sequence[Place], objective: str | None, path: Path, pruned: Sequence[Sequence[float]] = ()
) -> bool:
    """Draws the objective over the epochs, a line per point: the best few in colour and labelled, the others in grey.

    A point with several seeds is the line of their mean, as far as all of them went; if it is one of the best, in a
    band from the least to the most. The axis is logarithmic in the loss, or in the share of errors, as good models
    differ by little.

    Args:
        places: The best first.
        objective: What is drawn; None: the loss on the training images, with those that end lowest in colour.
        path: The PNG file to write.
        pruned: The objective of each trial that was pruned, epoch by epoch; drawn in grey, with a cross where it ended.

    Returns:
        Whether it was drawn: not where no epoch tells of it.
    """
    metric = objective or "loss/train"
    courses = [course for place in places if (course := _course(place, metric))]
    if not courses:
        return False
    if objective is None:
        courses.sort(key=lambda course: course.mean[-1])
    best, others = courses[: len(SERIES)], courses[len(SERIES) :]
    figure = make_figure(7.4, 4.0)
    axes = figure.add_axes((0.1, 0.14, 0.64, 0.7))
    last = max(len(course.mean) for course in courses)
    axes.set_xlim((1 - 0.02 * (last - 1), last) if last > 1 else (0.5, 1.5))
    _set_fallen_axis(axes, metric, *_curve_range(best, others))
    _draw_others(axes, others)
    _draw_pruned(axes, [_fallen(np.array(values), metric) for values in pruned if values])
    ends = {}
    for number, course in reversed(list(enumerate(best))):  # the best on top
        colour, marker = SERIES[number]
        epochs = range(1, len(course.mean) + 1)
        if course.seeds > 1:
            axes.fill_between(epochs, course.low, course.high, color=colour, alpha=0.1, linewidth=0, zorder=2)
        axes.plot(
            epochs, course.mean, color=colour, linewidth=1.7, zorder=3, solid_capstyle="round",
            marker=marker if len(course.mean) == 1 else None, markersize=5,
        )  # fmt: skip
        ends[number] = (len(course.mean), float(course.mean[-1]))
    label_ends(axes, {number: (best[number].label, SERIES[number][0], end) for number, end in ends.items()})
    axes.set_xticks(epoch_ticks(last))
    axes.set_xlabel("Epoch", size=TEXT, color=INK)
    tidy(axes, grid="y")
    hidden = sum(course.mean[-1] > max(axes.get_ylim()) for course in others)
    write_headline(axes, in_words(metric), _curves_subtitle(best, len(others), hidden, objective, len(pruned)))
    save_small(figure, path)
    return True


def _course(place: Place, metric: str) -> Course | None:
    """Returns how a point went; None where no epoch of a trial tells of the metric."""
    rows = [[epoch[metric] for epoch in result.history if metric in epoch] for _, result in place.trials]
    epochs = min(map(len, rows))
    if not epochs:
        return None
    values = np.array([row[:epochs] for row in rows])
    values = _fallen(values, metric)
    label = shorten(place.label, LONGEST_LABEL)
    return Course(label, values.mean(axis=0), values.min(axis=0), values.max(axis=0), len(rows))


def _fallen(values: np.ndarray, metric: str) -> np.ndarray:
    """Returns losses, or the shares of errors of accuracies, above 0."""
    fallen: np.ndarray = np.maximum(1 - values if is_share(metric) else values, LEAST_FALLEN)
    return fallen


def _curve_range(best: Sequence[Course], others: Sequence[Course]) -> tuple[float, float]:
    """Returns the limits of the axis: with all of the best, and with the ends of three quarters of the others."""
    ends = [float(course.mean[-1]) for course in others] or [LEAST_FALLEN]
    low = min(float(course.low.min()) for course in [*best, *others])
    high = max(*(float(course.high.max()) for course in best), float(np.quantile(ends, 0.75)))
    margin = (high / low) ** 0.04 if high > low else 1.5
    return low / margin, high * margin


def _set_fallen_axis(axes: Axes, metric: str, low: float, high: float) -> None:
    """Sets a logarithmic axis of losses, or of accuracies by their errors, which then go up."""
    from matplotlib.ticker import MaxNLocator

    accuracy = is_share(metric)
    axes.set_yscale("log")
    axes.set_ylim(*((high, low) if accuracy else (low, high)))
    ticks = [step * 10.0**power for power in range(-5, 6) for step in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    if len(ticks) < 3:  # noqa: PLR2004 - they don't tell that the axis is logarithmic
        ticks = [tick for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]
    axes.set_yticks(ticks, [f"{100 * (1 - tick):.6g} %" if accuracy else f"{tick:.6g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylabel(f"Logarithmic in the {'errors' if accuracy else 'loss'}", size=SMALL, color=SOFT)


def _draw_others(axes: Axes, others: Sequence[Course]) -> None:
    """Draws the points that don't stand out, at most so many as can be seen."""
    from matplotlib.collections import LineCollection

    drawn = others[:: -(-len(others) // MOST_GREY) or 1]
    lines = [np.column_stack((np.arange(1, len(course.mean) + 1), course.mean)) for course in drawn]
    alpha = 0.9 if len(lines) <= 40 else 0.45  # noqa: PLR2004 - many lines lie upon one another
    axes.add_collection(LineCollection(lines, colors=GREY, linewidths=0.7, alpha=alpha, zorder=1))
    alone = [course.mean[0] for course in drawn if len(course.mean) == 1]
    axes.plot([1] * len(alone), alone, "o", color=GREY, markersize=4, zorder=1)


def _draw_pruned(axes: Axes, courses: Sequence[np.ndarray]) -> None:
    """Draws how far the trials came that were pruned, at most so many as can be seen."""
    low, high = sorted(axes.get_ylim())
    for course in courses[:: -(-len(courses) // MOST_GREY) or 1]:
        epochs = np.arange(1, len(course) + 1)
        axes.plot(epochs, course, color=GREY, linewidth=0.7, alpha=0.7, zorder=1)
        if low <= course[-1] <= high:
            axes.plot(epochs[-1], course[-1], "x", color=SOFT, markersize=4.5, markeredgewidth=1, zorder=1.5)


def label_ends(axes: Axes, labels: Mapping[Any, tuple[str, str, tuple[float, float]]]) -> float:
    """Writes labels to the right of the axes, apart from one another, each joined to the end of its line.

    Args:
        axes: With their final limits.
        labels: Text, colour and end of the line in data coordinates, by any key.

    Returns:
        How high the highest stands, in axes fractions.
    """
    to_fraction = axes.transData + axes.transAxes.inverted()
    ends = {key: float(to_fraction.transform(end)[1]) for key, (_, _, end) in labels.items()}
    gap = letters_high(axes)
    heights = keep_apart({key: min(max(end, 0.0), 1.0) for key, end in ends.items()}, gap)
    shift = min(1 - max(heights.values()), 0.0) or max(-min(heights.values()), 0.0)
    for key, (text, colour, (right, _)) in labels.items():
        (across, _) = to_fraction.transform((right, 1.0))
        axes.annotate(
            text, (across, min(max(ends[key], 0.0), 1.0)), (1.045, heights[key] + shift), xycoords="axes fraction",
            size=TEXT, color=colour, va="center", annotation_clip=False, parse_math=False,
            arrowprops={
                "arrowstyle": "-", "color": colour, "linewidth": 0.7, "alpha": 0.7, "shrinkA": 1, "shrinkB": 2,
                "relpos": (0, 0.5),
            },
        )  # fmt: skip
    return max(heights.values()) + shift


def letters_high(axes: Axes) -> float:
    """Returns what a label takes from the one under it, in axes fractions."""
    return LETTERS_HIGH / (axes.get_window_extent().height / axes.figure.dpi * POINTS)


def _curves_subtitle(best: Sequence[Course], others: int, hidden: int, objective: str | None, pruned: int) -> str:
    """Returns what the lines are."""
    seeds = sorted({course.seeds for course in best})
    lines = f"Mean of {span(seeds)} seeds, band: least to most" if seeds[-1] > 1 else "Each line is a trial"
    which = "the best" if objective else "those that end lowest"
    told = f". In colour {which}, in grey {others:,} more" if others else ""
    told += f", {hidden:,} out of sight" if hidden else ""
    return f"{lines}{told}" + (f". Crosses: where {pruned:,} were pruned" if pruned else "")


# ------------------------------------------------------------------------------------------------------------
# Ranking


def draw_ranking(ranking: Ranking, path: Path) -> bool:
    """Draws the first places: the mean with its 95 % interval, each seed as a small dot, the tied ones filled.

    Args:
        ranking: Of a sweep.
        path: The PNG file to write.

    Returns:
        Whether it was drawn: not where nothing is compared, or there is only one point.
    """
    if ranking.objective is None or len(ranking.places) < 2:  # noqa: PLR2004 - one is no ranking
        return False
    shown = ranking.places[:MOST_ROWS]
    labels = [shorten(place.label, LONGEST_LABEL) for place in shown]
    label_inches = max(map(len, labels)) * CHARACTER * TEXT / POINTS + 0.2
    rows = _ROW * (len(shown) + ranking.repeated)
    width, height = label_inches + 5.4, rows + 1.3
    figure = make_figure(width, height)
    axes = figure.add_axes((label_inches / width, 0.55 / height, 4.1 / width, rows / height))
    low, high = value_range(shown, ranking.objective)
    axes.set(xlim=(low, high), ylim=(len(shown) - 0.4, -1.2 if ranking.repeated else -0.6))
    for row, place in enumerate(shown):
        _draw_place(axes, row, place, marked=place.tied or not ranking.repeated)
        axes.annotate(
            _show(place.mean, place.std, ranking.objective), (1, row), (8, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", size=SMALL, va="center", color=INK if place.tied else SOFT,
        )  # fmt: skip
    if ranking.repeated:
        axes.annotate(
            "mean ± std", (1, -0.8), (8, 0), xycoords=("axes fraction", "data"), textcoords="offset points", size=SMALL,
            va="center", color=SOFT,
        )  # fmt: skip
    axes.set_yticks(range(len(shown)), labels=labels, parse_math=False)
    write_values(axes, ranking.objective, "x")
    axes.set_xlabel(in_words(ranking.objective), size=TEXT, color=INK)
    tidy(axes, grid="x")
    axes.tick_params(axis="y", labelsize=TEXT, labelcolor=INK)
    count = len(ranking.places)
    title = f"The first {len(shown)} of {count:,} points" if count > len(shown) else f"The {count} points, ranked"
    write_headline(axes, title, _ranking_subtitle(ranking))
    save_small(figure, path)
    return True


def _draw_place(axes: Axes, row: int, place: Place, *, marked: bool) -> None:
    """Draws a place in its row; one that is too far away becomes an arrow at the edge."""
    low, high = axes.get_xlim()
    mean, colour = statistics.fmean(place.values), BLUE if marked else SOFT
    if not low <= mean <= high:
        edge, arrow = (0.012, "<") if mean < low else (0.988, ">")
        axes.plot(edge, row, arrow, color=SOFT, markersize=6, transform=axes.get_yaxis_transform())
        return
    if place.low is not None and place.high is not None:
        axes.plot((place.low, place.high), (row, row), color=colour, linewidth=1.5, alpha=0.75, zorder=2)
        axes.plot(place.values, [row + 0.24] * place.n, ".", color=colour, markersize=3.2, alpha=0.75, zorder=3)
    axes.plot(
        mean, row, "o", color=colour, markerfacecolor=colour if marked else "white", markersize=6, markeredgewidth=1.3,
        zorder=4,
    )  # fmt: skip


def value_range(places: Sequence[Place], objective: str) -> tuple[float, float]:
    """Returns the limits of the axis of values: all that is not beyond the fence, with the dots of its seeds."""
    means = [statistics.fmean(place.values) for place in places]
    reach = FENCE * abs(means[len(means) // 2] - means[0])
    inside = [place for place, mean in zip(places, means, strict=True) if abs(mean - means[0]) <= reach or reach == 0]
    values = [value for place in inside for value in place.values]
    margin = 0.06 * (max(values) - min(values)) or 1e-3
    low, high = min(values) - margin, max(values) + margin
    return low, min(high, 1.0 + margin / 4) if is_share(objective) and max(values) <= 1 else high


def _ranking_subtitle(ranking: Ranking) -> str:
    """Returns what the marks mean."""
    if not ranking.repeated:
        return "One seed each: differences of this size may be chance"
    seeds = span(sorted({place.n for place in ranking.places[:MOST_ROWS]}))
    return f"Mean of {seeds} seeds with its 95 % interval. Filled: can't be told from the best at 5 %"


# ------------------------------------------------------------------------------------------------------------
# Words and numbers


def in_words(metric: str) -> str:
    """Returns what is measured: ``Validation accuracy``."""
    quantity, _, split = metric.partition("/")
    return f"{ {'val': 'Validation', 'train': 'Training'}.get(split, split.capitalize()) } {quantity}"


def span(counts: Sequence[int]) -> str:
    """Returns sorted counts in words: ``5``, ``3 to 5``."""
    return f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"


def _show(mean: float | None, std: float | None, metric: str) -> str:
    """Returns a mean with its standard deviation, an accuracy in per cent."""
    if mean is None:
        return ""
    factor, unit, digits = (100, " %", 2) if is_share(metric) else (1, "", 4)
    return f"{factor * mean:.{digits}f}" + ("" if std is None else f" ± {factor * std:.{digits}f}") + unit


def write_values(axes: Axes, metric: str, which: str) -> None:
    """Writes round values on an axis, those of an accuracy in per cent."""
    from matplotlib.ticker import MaxNLocator

    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    if is_share(metric):
        axis.set_major_formatter(lambda share, _: f"{100 * share:.6g} %")

"""Plots of records of experiments: accuracies by arm and seed, and published metrics with measured ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainyard.reporting.plots import style

_GREY = "#8c8c8c"
_BAND = "#dcdcdc"
_LINE_HEIGHT, _GROUP_GAP = 0.21, 0.6
"""Height of a metric in inches, and gap between groups of metrics in lines."""
_ROW_HEIGHT, _MAX_SHIFT = 0.62, 0.16
"""Height of an arm in inches, and maximum vertical shift of its dots in rows."""


def draw_arm_accuracies(
    arms: Mapping[str, Sequence[float]], intervals: Mapping[str, tuple[float, float, float]], goal: float, path: Path
) -> None:
    """Draws a dot per seed for each arm and, below the dots, the mean with its confidence interval.

    Args:
        arms: Accuracies (0 to 1, one per seed) by arm. The first arm is the main arm, which is highlighted.
        intervals: Mean, lower and upper end of its confidence interval, by arm.
        goal: Accuracy that the mean of the main arm should reach, 0 to 1.
        path: The PNG file to write.
    """
    axes = style.build_axes(7.6, 1.25 + _ROW_HEIGHT * len(arms), left=1.7, bottom=0.5, right=0.3, top=0.62)
    axes.axvline(100 * goal, color=style.SOFT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    style.annotate(axes, f"target {100 * goal:g}", (100 * goal, -0.5), (4, -2), va="top")
    for row, (name, values) in enumerate(arms.items()):
        colour = _GREY if row else style.BLUE
        heights = row - 0.12 + np.linspace(-_MAX_SHIFT, _MAX_SHIFT, len(values))
        dots: dict[str, Any] = {"color": colour, "alpha": 0.75, "markersize": 5, "markeredgewidth": 0}
        axes.plot(100 * np.asarray(values), heights, "o", zorder=3, **dots)
        mean, low, high = (100 * value for value in intervals[name])
        axes.plot([low, high], [row + 0.24] * 2, color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
        axes.plot([mean], [row + 0.24], "D", color=colour, markersize=5.5, zorder=4)
        emphasis = {"color": style.INK} if row else {"color": style.BLUE, "weight": "bold"}
        style.annotate(axes, f"{mean:.2f}", (high, row + 0.24), (5, 0), size=style.TEXT, **emphasis)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.margins(x=0.06)
    style.label_rows(axes, range(len(arms)), list(arms), style.TEXT, "Accuracy on the test images, %")
    count = len(next(iter(arms.values())))
    subtitle = f"One dot per seed ({count} per arm). Below: mean with 95 % interval"
    style.save_plot(axes, path, "Accuracy of each seed", subtitle)


class PublishedMetric(NamedTuple):
    """A published metric with the measured values, as fractions between 0 and 1."""

    name: str
    rounding: tuple[float, float]
    """Ends of the interval of values that round to the published value."""
    prediction: tuple[float, float]
    """Ends of the prediction interval for one more run."""
    values: Sequence[float]
    """Measured values, one per seed."""
    is_consistent: bool
    """Whether the measurements do not contradict the published value."""


def draw_published_metrics(groups: Sequence[Sequence[PublishedMetric]], title: str, subtitle: str, path: Path) -> None:
    """Draws published metrics as grey bands, with the measured values and the prediction interval for one more run.

    Gaps separate the groups.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    metrics = [metric for group in groups for metric in group]
    group_numbers = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    rows = (np.arange(len(metrics)) + _GROUP_GAP * group_numbers).tolist()
    axes = style.build_axes(7.6, 1.55 + _LINE_HEIGHT * (rows[-1] + 1), left=1.5, bottom=0.62, right=0.3, top=0.93)
    for row, metric in zip(rows, metrics, strict=True):
        colour = style.BLUE if metric.is_consistent else style.VERMILLION
        low, high = (100 * end for end in metric.rounding)
        axes.barh(row, high - low, left=low, color=_BAND, zorder=1)
        axes.plot([100 * end for end in metric.prediction], [row, row], color=colour, linewidth=1.0, zorder=3)
        dots: dict[str, Any] = {"color": colour, "markersize": 4.6, "markeredgecolor": "white", "markeredgewidth": 0.5}
        axes.plot(100 * np.asarray(metric.values), [row] * len(metric.values), "o", zorder=4, **dots)
    axes.set_ylim(rows[-1] + 0.7, -0.7)
    axes.margins(x=0.03)
    style.label_rows(axes, rows, [metric.name for metric in metrics], style.SMALL, "Value, %")
    line: dict[str, Any] = {"linewidth": 1.0, "marker": "o", "markersize": 4.6}
    keys: dict[str, Any] = {
        "rounds to the published value": Patch(facecolor=_BAND),
        "measured seeds and prediction interval": Line2D([], [], color=style.BLUE, **line),
    }
    if not all(metric.is_consistent for metric in metrics):
        keys["contradicted"] = Line2D([], [], color=style.VERMILLION, **line)
    style.add_legend(axes, list(keys.values()), list(keys), columns=len(keys), handlelength=1.6)
    style.save_plot(axes, path, title, subtitle, over=18)

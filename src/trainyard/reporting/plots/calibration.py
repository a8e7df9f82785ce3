"""Reliability diagram."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainyard.evaluation import CONFIDENCE_LEVEL, Calibration, compute_proportion_interval
from trainyard.reporting.plots import style


def draw_calibration(calibration: Calibration, path: Path) -> None:
    """Draws accuracy against confidence and, below it, the number of predictions in each confidence bin.

    Points on the diagonal are perfectly calibrated. The model is overconfident at points below it, and underconfident
    at points above it. The area of a point shows the fraction of predictions in its bin. A vertical line is the
    confidence interval of the accuracy of its bin: with few predictions, it is long. The numbers are on a logarithmic
    axis, because most predictions of a good model are in the last bin.
    """
    figure = style.build_figure(6.8, 5.4)
    upper = figure.add_axes((0.11, 0.36, 0.87, 0.5))
    lower = figure.add_axes((0.11, 0.1, 0.87, 0.18))
    nonempty = calibration.counts > 0
    counts, confidence, accuracy = (
        values[nonempty] for values in (calibration.counts, calibration.confidence, calibration.accuracy)
    )
    correct = counts * accuracy
    intervals = [compute_proportion_interval(hits, n - hits) for hits, n in zip(correct, counts, strict=True)]
    start = min(0.9, np.floor(10 * min(confidence.min(), accuracy.min())) / 10)

    upper.plot((0, 1), (0, 1), color=style.SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    upper.vlines(confidence, *zip(*intervals, strict=True), color=style.BLUE, linewidth=1.2, alpha=0.5, zorder=2)
    upper.scatter(
        confidence, accuracy, s=16 + 240 * counts / counts.sum(), zorder=3, clip_on=False, color=style.BLUE,
        edgecolor="white", linewidth=0.8,
    )  # fmt: skip
    upper.set(xlim=(start, 1), ylim=(start, 1))

    width = calibration.edges[1] - calibration.edges[0]
    lower.bar(calibration.edges[:-1][nonempty], counts, width=width, align="edge", color=style.BLUE, edgecolor="white")
    lower.set(xlim=(start, 1), yscale="log", ylim=(0.5, 2 * float(counts.max())))
    for axes, name in ((upper, "Accuracy"), (lower, "Images")):
        style.style_axes(axes, grid="both", xlabel="Confidence" if axes is lower else "")
        axes.set_ylabel(name, size=style.TEXT, color=style.INK)
        style.format_value_axis(axes.xaxis, "accuracy")
    style.format_value_axis(upper.yaxis, "accuracy")
    lower.yaxis.set_major_formatter("{x:,.0f}")
    lower.minorticks_off()
    title = f"Expected calibration error {100 * calibration.error:.2f} %"
    subtitle = f"Dashed line: perfect calibration. Vertical lines: {100 * CONFIDENCE_LEVEL:g} % intervals of accuracies"
    style.save_plot(upper, path, title, subtitle)

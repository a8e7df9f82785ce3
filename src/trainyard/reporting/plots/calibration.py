"""Reliability diagram."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trainyard.evaluation import Calibration
from trainyard.reporting.plots import style


def draw_calibration(calibration: Calibration, path: Path) -> None:
    """Draws accuracy against confidence and, below it, the percentage of predictions in each confidence bin.

    Points on the diagonal are perfectly calibrated. The model is overconfident at points below it, and underconfident
    at points above it. The area of a point shows the fraction of predictions in its bin. A thin vertical line shows
    its distance from the diagonal.
    """
    figure = style.build_figure(6.8, 5.4)
    upper = figure.add_axes((0.1, 0.36, 0.88, 0.5))
    lower = figure.add_axes((0.1, 0.1, 0.88, 0.18))
    nonempty = calibration.counts > 0
    confidence, accuracy = calibration.confidence[nonempty], calibration.accuracy[nonempty]
    share = calibration.counts[nonempty] / calibration.counts.sum()

    upper.plot((0, 1), (0, 1), color=style.SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    upper.vlines(confidence, confidence, accuracy, color=style.VERMILLION, linewidth=1.2, zorder=2)
    dots: dict[str, Any] = {"color": style.BLUE, "edgecolor": "white", "linewidth": 0.8}
    upper.scatter(confidence, accuracy, s=16 + 240 * share, zorder=3, clip_on=False, **dots)
    start = min(0.9, np.floor(10 * min(confidence.min(), accuracy.min())) / 10)
    upper.set(xlim=(start, 1), ylim=(start, 1))

    width = calibration.edges[1] - calibration.edges[0]
    left = calibration.edges[:-1][nonempty]
    lower.bar(left, share, width=width, align="edge", color=style.BLUE, edgecolor="white")
    lower.set(xlim=(start, 1), ylim=(0, float(share.max()) * 1.05))
    for axes, name in ((upper, "Accuracy"), (lower, "Share")):
        style.style_axes(axes, grid="both", xlabel="Confidence" if axes is lower else "")
        axes.set_ylabel(name, size=style.TEXT, color=style.INK)
        style.format_value_axis(axes.xaxis, "accuracy")
        style.format_value_axis(axes.yaxis, "accuracy")
    title = f"Expected calibration error {100 * calibration.error:.2f} %"
    style.save_plot(upper, path, title, "Dashed line: perfect calibration. Area of a point: share of the predictions")

"""Reliability diagram."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainyard.evaluation import Calibration
from trainyard.reporting.plots.style import (
    BLUE,
    FAINT,
    INK,
    SMALL,
    SOFT,
    TEXT,
    VERMILLION,
    add_headline,
    build_figure,
    save_figure,
)


def draw_calibration(calibration: Calibration, path: Path) -> None:
    """Draws accuracy against confidence and, below it, the percentage of predictions in each confidence bin.

    Points on the diagonal are perfectly calibrated. The model is overconfident at points below it, and underconfident
    at points above it. The area of a point shows the fraction of predictions in its bin. A thin vertical line shows
    its distance from the diagonal.

    Args:
        calibration: Confidence and accuracy by bin.
        path: The PNG file to write.
    """
    figure = build_figure(4.6, 5.4)
    upper = figure.add_axes((0.14, 0.36, 0.82, 0.5))
    lower = figure.add_axes((0.14, 0.1, 0.82, 0.18))
    nonempty = calibration.counts > 0
    confidence, accuracy = calibration.confidence[nonempty], calibration.accuracy[nonempty]
    share = calibration.counts[nonempty] / calibration.counts.sum()

    upper.plot((0, 1), (0, 1), color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    upper.vlines(confidence, confidence, accuracy, color=VERMILLION, linewidth=1.2, zorder=2)
    upper.scatter(
        confidence, accuracy, s=16 + 240 * share, color=BLUE, edgecolor="white", linewidth=0.8, zorder=3, clip_on=False
    )
    start = min(0.9, np.floor(10 * min(confidence.min(), accuracy.min())) / 10)
    upper.set(xlim=(start, 1), ylim=(start, 1))
    upper.set_ylabel("Accuracy", size=TEXT, color=INK)
    title = f"Expected calibration error {100 * calibration.error:.2f} %"
    add_headline(upper, title, "Dashed line: perfect calibration. Area of a point: share of the predictions")

    width = calibration.edges[1] - calibration.edges[0]
    lower.bar(calibration.edges[:-1][nonempty], 100 * share, width=width, align="edge", color=BLUE, edgecolor="white")
    lower.set(xlim=(start, 1), ylim=(0, 100 * float(share.max()) * 1.05))
    lower.set_xlabel("Confidence", size=TEXT, color=INK)
    lower.set_ylabel("Share", size=TEXT, color=INK)
    lower.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    for axes in (upper, lower):
        axes.grid(color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=SMALL, labelcolor=SOFT, color=FAINT, length=3)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["bottom", "left"]].set_color(FAINT)
    upper.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    save_figure(figure, path)

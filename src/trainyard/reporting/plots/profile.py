"""Plot of the time that each part of a training step takes."""

from __future__ import annotations

from pathlib import Path

from trainyard.reporting.plots.style import (
    BLUE,
    CHARACTER_WIDTH,
    FAINT,
    INK,
    MAX_NAME_LENGTH,
    POINTS_PER_INCH,
    SKY,
    SMALL,
    SOFT,
    TEXT,
    VERMILLION,
    add_headline,
    build_figure,
    save_figure,
    shorten,
)
from trainyard.training import StepProfile

_COLOURS = {"forward": SKY, "backward": BLUE, "update": VERMILLION, "other": SOFT}
_MAX_PARTS = 16
_ROW_HEIGHT = 0.3
"""Height of a row in inches."""


def draw_profile(profile: StepProfile, path: Path) -> None:
    """Draws the time of each part of a training step by phase (forward, backward, update), the longest first.

    Args:
        profile: Measured times of the steps of an epoch.
        path: The PNG file to write.
    """
    parts = profile.group_by_part()
    drawn_parts = dict(list(parts.items())[:_MAX_PARTS])
    names = [shorten(part, MAX_NAME_LENGTH) for part in drawn_parts]
    label_inches = max(map(len, names)) * CHARACTER_WIDTH * TEXT / POINTS_PER_INCH + 0.2
    height = _ROW_HEIGHT * len(drawn_parts)
    figure = build_figure(label_inches + 4.6, height + 1.3)
    axes = figure.add_axes(
        (label_inches / (label_inches + 4.6), 0.5 / (height + 1.3), 3.8 / (label_inches + 4.6), height / (height + 1.3))
    )
    microseconds = 1e6 / profile.steps
    used = [phase for phase in _COLOURS if any(phase in phases for phases in drawn_parts.values())]
    for row, phases in enumerate(drawn_parts.values()):
        left = 0.0
        for phase in used:
            width = phases.get(phase, 0.0) * microseconds
            axes.barh(row, width, left=left, height=0.62, color=_COLOURS[phase], edgecolor="white", linewidth=0.6)
            left += width
        share = sum(phases.values()) / profile.busy_seconds
        axes.annotate(
            f"{100 * share:.1f} %", (left, row), (4, 0), textcoords="offset points", size=SMALL, color=SOFT, va="center"
        )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("Microseconds per step, summed over all threads", size=TEXT, color=INK)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", labelsize=SMALL, labelcolor=SOFT, color=FAINT, length=3)
    axes.tick_params(axis="y", labelsize=TEXT, labelcolor=INK, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    handles = [axes.barh(0, 0, color=_COLOURS[phase], label=phase) for phase in used]
    axes.legend(handles=handles, loc="lower right", fontsize=SMALL, frameon=False, labelcolor=INK)
    busy = profile.busy_seconds / profile.seconds
    selection = f". The {len(drawn_parts)} longest of {len(parts)} parts" if len(parts) > len(drawn_parts) else ""
    add_headline(
        axes,
        "Time by part of a training step",
        f"{profile.seconds * microseconds:,.0f} microseconds per step, {busy:.1f} threads busy on average{selection}",
    )
    save_figure(figure, path)

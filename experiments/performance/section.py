"""The section of a part on the results page, and the reasons why a measurement is not compared with its goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.performance.summary_statistics import Goal, Quartiles
from trainyard.reporting.markdown import Table

_LOWER_BOUND_TOLERANCE, _MAX_QUARTILE_RATIO = 0.05, 1.5
"""Relative distance below the lower bound that is still accepted; largest accepted ratio of upper to lower quartile."""


@dataclass(frozen=True, slots=True)
class Section:
    """The results of one part, for the page and the terminal.

    Attributes:
        name: Name of the part.
        title: Heading of the section.
        method: What was measured and how, in Markdown.
        tables: The results.
        goals: The measurements that have a goal.
        notes: Additional results, one sentence or two each.
        provenance: Machine, versions, commit, time and command of the measurement.
        figure: File name of the figure; empty if the part has none.
    """

    name: str
    title: str
    method: str
    tables: list[Table]
    goals: list[Goal]
    notes: list[str]
    provenance: dict[str, Any]
    figure: str = ""


def not_judged_reason(provenance: dict[str, Any]) -> str:
    """Returns why a measurement is not compared with the goals, which apply to full-size data on a CPU; or empty."""
    if provenance["quick"]:
        return "quick check with small data"
    return "the goals apply to a CPU" if provenance["machine"]["gpus"] else ""


def disturbance_reason(measured: Quartiles, lower_bound: float = 0) -> str:
    """Returns why a ratio is unreliable, or an empty string.

    A ratio is unreliable if it is below its lower bound or if its rounds differ too much.
    """
    if measured.median < lower_bound * (1 - _LOWER_BOUND_TOLERANCE):
        return "the lower bound took longer than the training; other programs probably disturbed the measurement"
    if measured.high > _MAX_QUARTILE_RATIO * measured.low:
        return "the rounds differ too much; other programs probably disturbed the measurement"
    return ""

"""Builds the section of the part ``trials``."""

from __future__ import annotations

import statistics
from typing import Any

from experiments.performance.measure_trials import BASE, THIS
from experiments.performance.section import Section, disturbance_reason, not_judged_reason
from experiments.performance.summary_statistics import Goal, compute_quartiles, ratio_quartiles
from trainyard.reporting.markdown import Table

TRIAL_GOAL, TIME_GOAL, SIZE_GOAL = 1.2, 0.34, 0.5
"""Maximum CPU seconds of a trial without its training; maximum time relative to the base; maximum size in MB of a trial
in the folder of the sweep and in the store together."""


def trials_section(part: dict[str, Any]) -> Section:
    """Returns the section of the part ``trials``."""
    names = [name for name in (THIS, BASE) if name in part["rounds"][0]]
    stages = {name: _compute_stage_medians(part, name) for name in names}
    reason = not_judged_reason(part["about"])
    overhead = compute_quartiles([_compute_overhead(measured[THIS]["stages"]) for measured in part["rounds"]])
    sizes = compute_quartiles([_compute_trial_size(part, measured[THIS]) for measured in part["rounds"]])
    goals = [
        Goal("CPU time of a trial without its training", overhead, TRIAL_GOAL, unit=" s", not_judged_reason=reason),
        Goal("size of a trial in the sweep and the store", sizes, SIZE_GOAL, unit=" MB", not_judged_reason=reason),
    ]
    if BASE in names:
        ratio = ratio_quartiles(*([measured[name]["wall_seconds"] for measured in part["rounds"]] for name in names))
        goals.append(
            Goal("time relative to the base", ratio, TIME_GOAL, not_judged_reason=reason or disturbance_reason(ratio))
        )
    return Section(
        name="trials",
        title="A sweep of small trials",
        method=(
            "Measures `trainyard sweep experiment=quickstart dataset.validation_fraction=0.2 training.epochs=5 "
            f"model.hidden_units=[16]` with {part['trials']} learning rates. Each sweep starts without a store and "
            "with an empty cache of compiled programs. The CPU time of the command includes all its processes; that of "
            "a stage is the median over the trials. The stage `train` consists of compiling and of `epochs`. The stage "
            "`total` contains everything from the start of the process to the end of logging. Number of rounds: "
            f"{len(part['rounds'])}."
        ),
        tables=[
            Table(
                ["version", "s per command", "CPU s per command", "MB in the sweep's folder", "MB in the store"],
                [
                    [name, *(f"{_median(part, name, key) / scale:.1f}" for key, scale in (
                        ("wall_seconds", 1), ("cpu_seconds", 1), ("sweep_bytes", 1e6), ("store_bytes", 1e6),
                    ))]
                    for name in names
                ],
            ),
            Table(
                ["CPU s per trial", *names],
                [[stage, *(f"{stages[name].get(stage, 0):.2f}" for name in names)] for stage in stages[THIS]],
            ),
        ],
        goals=goals,
        notes=[],
        provenance=part["about"],
    )  # fmt: skip


def _median(part: dict[str, Any], name: str, key: str) -> float:
    """Returns the median over the rounds of a measurement of a version."""
    return statistics.median(float(measured[name][key]) for measured in part["rounds"])


def _compute_stage_medians(part: dict[str, Any], name: str) -> dict[str, float]:
    """Returns the median CPU seconds of each stage over the trials of all rounds of a version."""
    seconds: dict[str, list[float]] = {}
    for measured in part["rounds"]:
        for stage, values in measured[name]["stages"].items():
            seconds.setdefault(stage, []).extend(values)
    return {stage: statistics.median(values) for stage, values in seconds.items()}


def _compute_overhead(stages: dict[str, list[float]]) -> float:
    """Returns the median CPU seconds of a trial without its epochs: compiling is overhead, so it counts."""
    total, epochs = (statistics.median(stages[name]) for name in ("total", "epochs"))
    return float(total - epochs)


def _compute_trial_size(part: dict[str, Any], measured: dict[str, Any]) -> float:
    """Returns the megabytes per trial in the sweep's folder and the store."""
    return (float(measured["sweep_bytes"]) + float(measured["store_bytes"])) / int(part["trials"]) / 1e6

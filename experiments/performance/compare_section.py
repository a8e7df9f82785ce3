"""Builds the section of the part ``compare``."""

from __future__ import annotations

from typing import Any

from experiments.performance.measure_compare import MLFLOW_SEARCH, SIZES, TRAINYARD_COMPARE
from experiments.performance.section import Section, not_judged_reason
from experiments.performance.summary_statistics import Goal, compute_quartiles, ratio_quartiles
from trainyard.reporting.markdown import Table

GOAL = 10.0
"""Maximum time of ``trainyard compare`` on the smaller store, in seconds."""


def compare_section(part: dict[str, Any]) -> Section:
    """Returns the section of the part ``compare``."""
    rows, goals = [], []
    for measured in part["sizes"]:
        times = {name: [seconds[name] for seconds in measured["rounds"]] for name in (TRAINYARD_COMPARE, MLFLOW_SEARCH)}
        for name, values in times.items():
            quartiles = compute_quartiles(values)
            quartile_range = f"{quartiles.low:.1f} to {quartiles.high:.1f}"
            label = f"{measured['runs']:,} runs, {name}"
            rows.append(
                [label, f"{quartiles.median:.1f}", quartile_range, str(ratio_quartiles(values, times[MLFLOW_SEARCH]))]
            )
        if measured["runs"] == SIZES[0]:
            label = f"time to compare {measured['runs']:,} runs, in seconds"
            goals.append(
                Goal(
                    label,
                    compute_quartiles(times[TRAINYARD_COMPARE]),
                    GOAL,
                    not_judged_reason=not_judged_reason(part["about"]),
                )
            )
    return Section(
        name="compare",
        title="Comparing the runs of a large store",
        method=(
            "Measures `trainyard compare --experiment compared --best 3 --by accuracy/test` on a SQLite store, "
            "alternately with a script that fetches the same runs with `mlflow.search_runs`, ordered by test accuracy, "
            "and prints the best three. The runs are copies of one real run of the experiment `quickstart`, with "
            f"{part['params']} params and {part['metric_values']} metric values each. The metric values of each copy "
            f"are changed at random, and each config has {part['seeds']} seeds. `trainyard compare` additionally "
            "groups the runs by config, reports the spread over the seeds, and reports which configs do not differ "
            "significantly from the best one. Times are wall-clock times from the start of a command to its exit. "
            f"Number of rounds: {len(part['sizes'][0]['rounds'])}."
        ),
        tables=[Table(["command", "s", "quartiles", "time / mlflow.search_runs"], rows)],
        goals=goals,
        notes=[],
        provenance=part["about"],
    )

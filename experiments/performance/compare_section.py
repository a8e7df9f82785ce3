"""What comparing many runs took, in words and tables."""

from __future__ import annotations

from typing import Any

from experiments.performance.measure_compare import OURS, PLAIN, SIZES
from experiments.performance.section import Section, not_judged
from experiments.performance.summary_statistics import Goal, ratio, spread
from trainyard.reporting.markdown import Table

GOAL = 10.0
"""Seconds at most, for the smaller of the sizes."""


def compare_section(part: dict[str, Any]) -> Section:
    """Returns the section of the part ``compare``."""
    rows, goals = [], []
    for measured in part["sizes"]:
        took = {name: [one[name] for one in measured["rounds"]] for name in (OURS, PLAIN)}
        for name, seconds in took.items():
            found = spread(seconds)
            around = f"{found.low:.1f} to {found.high:.1f}"
            what = f"{measured['runs']:,} runs, {name}"
            rows.append([what, f"{found.median:.1f}", around, str(ratio(seconds, took[PLAIN]))])
        if measured["runs"] == SIZES[0]:
            what = f"seconds among {measured['runs']:,} runs"
            goals.append(Goal(what, spread(took[OURS]), GOAL, not_judged=not_judged(part["about"])))
    return Section(
        name="compare",
        title="Comparing the runs of a large store",
        how=(
            "`trainyard compare --experiment compared --best 3 --by accuracy/test` on a sqlite store, in turns with a "
            "script that has `mlflow.search_runs` fetch the same runs, the best first, and prints three. The runs are "
            f"what a real run of the quickstart left, {part['params']} params and {part['metric_values']} values of "
            f"metrics each, the values drawn anew, in configs of {part['seeds']} seeds; ours groups them, tells the "
            "spread, and which can't be told from the best. Whole commands, from the shell to the exit; rounds: "
            f"{len(part['sizes'][0]['rounds'])}."
        ),
        tables=[Table(["what", "s", "quartiles", "it / the script"], rows)],
        goals=goals,
        notes=[],
        about=part["about"],
    )

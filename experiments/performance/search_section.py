"""What searches found, in words and tables."""

from __future__ import annotations

import statistics
from typing import Any

from experiments.performance.measure_search import CLEVER, POINTS, RANDOM, course, equal_budget
from experiments.performance.section import Section
from trainyard.evaluation.intervals import estimate_difference
from trainyard.reporting.formatting import format_duration
from trainyard.reporting.markdown import Table

_SHARES = (0.25, 0.5, 1.0)
"""Of the equal budget, at which the searches are compared."""


def search_section(part: dict[str, Any]) -> Section:
    """Returns the section of the part ``search``."""
    budget, rounds = equal_budget(part), part["rounds"]
    trials = {name: [len(one[name]["trials"]) for one in rounds] for name in POINTS}
    pruned = [sum(trial["validation"] is None for trial in one[CLEVER]["trials"]) for one in rounds]
    counts = (
        f"Trials of a search: random {_range(trials[RANDOM])}, TPE {_range(trials[CLEVER])}, of which {_range(pruned)} "
        "were pruned. TPE's first ten points are drawn at random, by the seed that random search has, too."
    )
    return Section(
        name="search",
        title="TPE with pruning and random search, at equal compute",
        how=(
            f"`trainyard sweep sweep=mnist_mlp`, {part['epochs']} epochs a trial, in turns by `sweep.sampler=random` "
            "without pruning and by `sweep.sampler=tpe` with `sweep.pruner=median`, each with "
            f"{len(rounds)} seeds, of points, split, weights and batches. What a search has spent is the time of its "
            f"trials, pruned ones among them; all are compared at what the cheapest of all spent, "
            f"{format_duration(budget)}, and at parts of that. What it has found is the trial that is best on the "
            "validation images, 12,000 that were kept back; the test images decide nothing. Accuracies in percent: "
            "means over the seeds, with their standard deviation; the last column is the difference of the means with "
            "its 95 % interval (Welch's t)."
        ),
        tables=[_table(part, "validation", budget), _table(part, "test", budget)],
        goals=[],
        notes=[counts, *_time_to_match(part, budget)],
        about=part["about"],
        picture="search.png",
    )


def found_at(part: dict[str, Any], name: str, which: str, budget: float) -> list[float]:
    """Returns what the searches of a kind had found for a budget: an accuracy in percent per seed.

    Args:
        part: What was measured.
        name: Of the kind.
        which: ``validation`` or ``test``.
        budget: In seconds.
    """
    courses = [course(one[name]["trials"], budget) for one in part["rounds"]]
    return [100 * getattr(found[-1], which) for found in courses if found]


def _table(part: dict[str, Any], which: str, budget: float) -> Table:
    rows = []
    for share in _SHARES:
        found = {name: found_at(part, name, which, share * budget) for name in POINTS}
        least = min(map(len, found.values()))
        rows.append(
            [
                f"{which}, after {format_duration(share * budget)}",
                *(_mean(values, len(part["rounds"])) for values in found.values()),
                _difference(found[CLEVER], found[RANDOM]) if least > 1 else "",
            ]
        )
    return Table([f"best by then, on the {which} images", *POINTS, "difference"], rows)


def _mean(values: list[float], searches: int) -> str:
    if not values:
        return "none yet"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    of = "" if len(values) == searches else f" ({len(values)} of {searches})"
    return f"{statistics.mean(values):.3f}{spread}{of}"


def _difference(ours: list[float], theirs: list[float]) -> str:
    found = estimate_difference(ours, theirs)
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _time_to_match(part: dict[str, Any], budget: float) -> list[str]:
    """Says when the clever search had found what the blind one had at its end, seed by seed."""
    times = []
    for one in part["rounds"]:
        wanted = max((found.validation for found in course(one[RANDOM]["trials"], budget)), default=0.0)
        times.append(next((f.spent for f in course(one[CLEVER]["trials"], budget) if f.validation >= wanted), None))
    reached = [time for time in times if time is not None]
    if not reached:
        return [f"Within that time no {CLEVER} found as good a point as {RANDOM} of its seed had at the end."]
    told = (
        f"{CLEVER} had found as good a point as {RANDOM} of its seed had at the end in {len(reached)} of {len(times)}"
    )
    return [f"{told} searches; there after {100 * statistics.median(reached) / budget:.0f} % of the time (median)."]


def _range(values: list[int]) -> str:
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"

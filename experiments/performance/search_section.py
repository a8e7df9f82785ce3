"""Builds the section of the part ``search``."""

from __future__ import annotations

import statistics
from typing import Any

from experiments.performance.measure_search import POINTS, RANDOM, TPE, compute_best_so_far, compute_equal_budget
from experiments.performance.section import Section
from trainyard.evaluation import estimate_difference
from trainyard.reporting.formatting import format_duration
from trainyard.reporting.markdown import Table

_BUDGET_FRACTIONS = (0.25, 0.5, 1.0)
"""Fractions of the equal budget at which the searches are compared."""


def search_section(part: dict[str, Any]) -> Section:
    """Returns the section of the part ``search``."""
    budget, rounds = compute_equal_budget(part), part["rounds"]
    trials = {name: [len(searches[name]["trials"]) for searches in rounds] for name in POINTS}
    pruned = [sum(trial["validation"] is None for trial in searches[TPE]["trials"]) for searches in rounds]
    counts = (
        f"Trials per search: {RANDOM} {_range(trials[RANDOM])}; {TPE} {_range(trials[TPE])}, of which "
        f"{_range(pruned)} were pruned. TPE draws its first ten points at random, with the same seed as {RANDOM}."
    )
    return Section(
        name="search",
        title="TPE with pruning and random search, at equal compute time",
        method=(
            f"Measures `trainyard sweep sweep=mnist_mlp` with {part['epochs']} epochs per trial, alternately with "
            "random search without pruning (`sweep.sampler=random`) and with TPE and the median pruner "
            f"(`sweep.sampler=tpe sweep.pruner=median`). Each search is repeated with {len(rounds)} seeds. The seed "
            "determines the sampled points, the validation split, the initial weights and the batches. The compute "
            "time of a search is the total duration of its trials, including pruned trials. The searches are compared "
            f"at the compute time of the cheapest search, {format_duration(budget)}, and at fractions of it. "
            "The result of a search is the trial with the best accuracy on the 12,000 validation images, which are not "
            "used for training. The test images do not influence this selection. The accuracies are in percent: mean ± "
            "standard deviation over the seeds. The difference is the mean of TPE minus the mean of random search, in "
            "percentage points, with its 95 % confidence interval (Welch's t)."
        ),
        tables=[_table(part, "validation", budget), _table(part, "test", budget)],
        goals=[],
        notes=[counts, *_time_to_match(part, budget)],
        provenance=part["about"],
        figure="search.png",
    )


def compute_best_accuracies(part: dict[str, Any], name: str, split: str, budget: float) -> list[float]:
    """Returns the accuracy of the best trial of each search within a budget, in percent.

    Args:
        part: The measurements.
        name: `RANDOM` or `TPE`.
        split: ``validation`` or ``test``. The best trial is always selected on the validation images.
        budget: Compute time in seconds. Searches without a completed trial within the budget are left out.
    """
    histories = [compute_best_so_far(searches[name]["trials"], budget) for searches in part["rounds"]]
    return [100 * getattr(history[-1], split) for history in histories if history]


def _table(part: dict[str, Any], split: str, budget: float) -> Table:
    rows = []
    for fraction in _BUDGET_FRACTIONS:
        accuracies = {name: compute_best_accuracies(part, name, split, fraction * budget) for name in POINTS}
        fewest = min(map(len, accuracies.values()))
        rows.append(
            [
                f"{split}, after {format_duration(fraction * budget)}",
                *(_mean(values, len(part["rounds"])) for values in accuracies.values()),
                _difference(accuracies[TPE], accuracies[RANDOM]) if fewest > 1 else "",
            ]
        )
    return Table([f"best trial so far, accuracy on the {split} images", *POINTS, "difference"], rows)


def _mean(values: list[float], searches: int) -> str:
    if not values:
        return "no trial completed"
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    count = "" if len(values) == searches else f" ({len(values)} of {searches})"
    return f"{statistics.mean(values):.3f}{deviation}{count}"


def _difference(tpe: list[float], random_search: list[float]) -> str:
    difference = estimate_difference(tpe, random_search)
    return f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


def _time_to_match(part: dict[str, Any], budget: float) -> list[str]:
    """Returns a note on how soon TPE reached the final accuracy of the random search with the same seed."""
    times = []
    for searches in part["rounds"]:
        target = max((best.validation for best in compute_best_so_far(searches[RANDOM]["trials"], budget)), default=0.0)
        times.append(
            next(
                (
                    tpe_best.spent
                    for tpe_best in compute_best_so_far(searches[TPE]["trials"], budget)
                    if tpe_best.validation >= target
                ),
                None,
            )
        )
    reached = [time for time in times if time is not None]
    if not reached:
        return [f"{TPE} did not reach the final validation accuracy of {RANDOM} with any seed."]
    message = f"{TPE} reached the final validation accuracy of {RANDOM} with {len(reached)} of {len(times)} seeds"
    return [f"{message}, after {100 * statistics.median(reached) / budget:.0f} % of the compute time (median)."]


def _range(values: list[int]) -> str:
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"

"""The page of a target: a README in Markdown that is generated from the results."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterator
from typing import Any, cast

from trainyard.analysis.claims.results import RESULTS_FILE, Arm, Results
from trainyard.analysis.claims.spec import Target
from trainyard.evaluation import estimate_difference, estimate_mean
from trainyard.reporting import Table, format_duration, format_provenance, format_value

PLOT_FILE = "accuracies.png"


def render_target_page(results: Results) -> str:
    """Returns the page of a target, in Markdown."""
    target = get_target(results)
    blocks = [
        f"# {target.title}",
        f"Written by `trainyard reproduce` from `{RESULTS_FILE}`. Do not edit this page by hand.",
        target.about,
        "## Results",
        "\n".join(describe_verdict(results)),
        _render_arms(results),
        f"![Test accuracies]({PLOT_FILE})",
        *_render_differences(results),
        *(_render_search(results.search) if results.search else ()),
        "## All runs",
        _render_runs(results),
        format_provenance(results.about),
    ]
    return "\n\n".join(block.strip() for block in blocks) + "\n"


def get_target(results: Results) -> Target:
    """Returns the spec of results that belong to a target, with that type. It is not checked."""
    return cast("Target", results.spec)


def is_met(results: Results) -> bool:
    """Returns True if the first arm's mean accuracy reaches the goal within the limits on parameters and time."""
    target = get_target(results)
    within_parameters = target.most_parameters is None or results.main_arm.parameters <= target.most_parameters
    within_minutes = target.most_minutes is None or results.about["seconds"] <= 60 * target.most_minutes
    return within_parameters and within_minutes and statistics.mean(results.main_arm.accuracies) >= target.goal


def describe_verdict(results: Results) -> list[str]:
    """Returns whether the target is met, and how the first arm compares to the other arms, as lines of Markdown."""
    main_arm, target = results.main_arm, get_target(results)
    estimate = estimate_mean(main_arm.accuracies, results.accuracy_step)
    met = "met" if is_met(results) else "missed"
    interval = f"{_format_percent(estimate.low)} % to {_format_percent(estimate.high)} %"
    summary = (
        f"**{main_arm.name}: {_format_percent(estimate.value)} % mean test accuracy over {len(main_arm.runs)} seeds.** "
        f"The 95 % confidence interval of the mean is {interval}. The target, {100 * target.goal:g} %, is {met}."
    )
    lines = [summary]
    if target.most_parameters is not None:
        limit = "over the limit of" if main_arm.parameters > target.most_parameters else "within the limit of"
        lines.append(f"Its model has {main_arm.parameters:,} parameters, {limit} {target.most_parameters:,}.")
    if target.most_minutes is not None:
        limit = "over the limit of" if results.about["seconds"] > 60 * target.most_minutes else "within the limit of"
        duration = format_duration(results.about["seconds"])
        lines.append(
            f"All runs together took {duration} (wall time), {limit} {format_duration(60 * target.most_minutes)}."
        )
    for other_arm in results.arms[1:]:
        estimate = estimate_difference(main_arm.accuracies, other_arm.accuracies, results.accuracy_step)
        direction = "higher than" if estimate.value > 0 else "lower than"
        significance = "significant" if estimate.low > 0 or estimate.high < 0 else "not significant"
        difference = (
            f"{_format_points(abs(estimate.value))} percentage points {direction} the mean of {other_arm.name}"
            if estimate.value
            else f"equal to the mean of {other_arm.name}"
        )
        lines.append(
            f"The mean is {difference}: the difference is {significance} (standard error "
            f"{_format_points(estimate.standard_error)})."
        )
    return lines


def _render_arms(results: Results) -> str:
    """Returns the table of the arms in Markdown, with mean accuracies in percent, and a list of their recipes."""
    rows = []
    for arm in results.arms:
        values = arm.accuracies
        estimate = estimate_mean(values, results.accuracy_step)
        rows.append(
            [
                arm.name,
                f"{len(values)}",
                _format_percent(estimate.value),
                _format_points(statistics.stdev(values)),
                f"{_format_percent(estimate.low)} to {_format_percent(estimate.high)}",
                f"{100 * min(values):.2f} to {100 * max(values):.2f}",
                f"{statistics.mean(run.loss for run in arm.runs):.4f}",
                f"{arm.parameters:,}",
                f"{arm.epochs}",
                f"{statistics.median(run.seconds for run in arm.runs):.1f}",
            ]
        )
    columns = ["arm", "seeds", "mean accuracy, %", "standard deviation, %", "95 % confidence interval, %",
               "range, %", "mean loss", "parameters", "epochs", "median seconds per run"]  # fmt: skip
    recipes = [f"- {arm.name}: `{shlex.join(arm.overrides)}`, {_describe_held_out_images(arm)}" for arm in results.arms]
    return "\n\n".join([Table(columns, rows).to_markdown(), "\n".join(recipes)])


def _describe_held_out_images(arm: Arm) -> str:
    """Returns the percentage of training images held out for validation, as text, or that all are used for training."""
    held_out = arm.validation_fraction
    return f"{100 * held_out:g} % of the training images held out" if held_out else "trained on all training images"


def _render_differences(results: Results) -> Iterator[str]:
    """Yields a section that compares the first arm with the other arms. Yields nothing if there is only one arm."""
    main_arm, other_arms = results.main_arm, results.arms[1:]
    if not other_arms:
        return
    yield f"## Comparison of {main_arm.name} with the other arms"
    yield (
        f"The table shows the mean accuracy of {main_arm.name} minus the mean accuracy of the other arm, in percentage "
        "points, with Welch's t-test. The test treats all runs as independent: with different recipes, runs of the "
        "same seed still have different initial weights and a different order of the images."
    )
    rows = []
    for other_arm in other_arms:
        estimate = estimate_difference(main_arm.accuracies, other_arm.accuracies, results.accuracy_step)
        interval = f"{100 * estimate.low:+.3f} to {100 * estimate.high:+.3f}"
        rows.append(
            [other_arm.name, f"{100 * estimate.value:+.3f}", _format_points(estimate.standard_error), interval,
             f"{estimate.p_value:.2g}", f"{_compute_errors_per_10000(other_arm):.0f}",
             f"{_compute_errors_per_10000(main_arm):.0f}"]
        )  # fmt: skip
    columns = ["other arm", "difference, %", "standard error, %", "95 % confidence interval, %", "p-value",
               "its errors per 10,000 images", f"errors of {main_arm.name} per 10,000 images"]  # fmt: skip
    yield Table(columns, rows).to_markdown()


def _compute_errors_per_10000(arm: Arm) -> float:
    """Returns the mean number of misclassified images per 10,000 test images."""
    return 10_000 * (1 - statistics.mean(arm.accuracies))


def _render_search(search: dict[str, Any]) -> Iterator[str]:
    """Yields a section on the sweep that chose the recipe."""
    cost, trials, winner = search["cost"], search["trials"], search["winner"]
    work = cost["done_seconds"] + cost["pruned_seconds"] + cost["failed_seconds"]
    pruned = f" and {trials['pruned']:,} were pruned" if trials["pruned"] else ""
    saved = f" Pruning saved {cost['spared']:,} epochs." if cost["spared"] else ""
    seeds = f"{winner['seeds']} seeds" if winner["seeds"] > 1 else "one seed"
    card = f" The [sweep card]({search['card']}) has the details." if search["card"] else ""
    yield "## How the recipe was chosen"
    yield (
        f"The sweep `{shlex.join(['trainyard', 'sweep', *search['overrides']])}` chose the recipe "
        f"({search['chosen_by']}). It ranked its trials only by {search['objective']}, on images held out from "
        f"training, and did not use the test images. {trials['finished']:,} trials finished{pruned}, with "
        f"{cost['epochs']:,} epochs in total.{saved} The durations of all trials add up to {format_duration(work)}; "
        f"the wall time of the sweep was {format_duration(cost['wall_seconds'])}. The best configuration reached "
        f"{search['objective']} {winner['value']:.4f} with {seeds}. This value is too optimistic, because it is the "
        f"best of many; therefore the runs above use other seeds.{card}"
    )
    varied = winner["varied"]
    rows = [
        [f"`{path}`", values, format_value(varied[path]) if path in varied else ""]
        for path, values in search["swept"].items()
    ]
    yield Table(["setting", "possible values", "chosen"], rows).to_markdown()


def _render_runs(results: Results) -> str:
    """Returns the table of all runs of all arms, in Markdown."""
    rows = [
        [
            arm.name,
            f"{run.seed}",
            f"{run.accuracy:.4f}",
            f"{run.loss:.4f}",
            f"{run.seconds:.1f}",
            f"`{run.run_id}`" if run.run_id else "",
        ]
        for arm in results.arms
        for run in arm.runs
    ]
    return Table(["arm", "seed", "accuracy", "loss", "seconds", "run ID"], rows).to_markdown()


def _format_percent(fraction: float) -> str:
    """Returns a fraction, 0 to 1, in percent with three decimals, without a percent sign."""
    return f"{100 * fraction:.3f}"


def _format_points(fraction: float) -> str:
    """Returns a difference of two fractions in percentage points, with three decimals."""
    return f"{100 * fraction:.3f}"

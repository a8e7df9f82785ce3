"""The page of a target: the accuracy of each arm, the differences between them, and the verdict."""

from __future__ import annotations

import shlex
import statistics
from typing import Any, cast

from trainyard.analysis.claims.results import Results, build_run_cells
from trainyard.analysis.claims.spec import Target
from trainyard.evaluation import estimate_difference, estimate_mean
from trainyard.reporting import Table, format_duration, format_value

PLOT_FILE = "accuracies.png"


def render_body(results: Results) -> list[str]:
    """Returns the sections of the page between introduction and provenance, as blocks of Markdown."""
    return [
        "## Results",
        "\n".join(describe_verdict(results)),
        *_render_arms(results),
        f"![Test accuracies]({PLOT_FILE})",
        *(_render_differences(results) if len(results.arms) > 1 else ()),
        *(_render_search(results.search) if results.search else ()),
        "## All runs",
        _render_runs(results),
    ]


def _get_target(results: Results) -> Target:
    return cast("Target", results.spec)


def is_met(results: Results) -> bool:
    """Returns True if the first arm's mean accuracy reaches the goal within the limits on parameters and time."""
    target = _get_target(results)
    within_parameters = target.most_parameters is None or results.main_arm.parameters <= target.most_parameters
    within_minutes = target.most_minutes is None or results.about["seconds"] <= 60 * target.most_minutes
    return within_parameters and within_minutes and statistics.mean(results.main_arm.accuracies) >= target.goal


def describe_verdict(results: Results) -> list[str]:
    """Returns whether the target is met, and how the first arm compares to the other arms, as lines of Markdown."""
    main_arm, target, seconds = results.main_arm, _get_target(results), results.about["seconds"]
    mean = estimate_mean(main_arm.accuracies, results.accuracy_step)
    summary = (
        f"**{main_arm.name}: {_format_percent(mean.value)} % mean test accuracy over {len(main_arm.runs)} seeds.** "
        f"The 95 % confidence interval of the mean is {_format_percent(mean.low)} % to {_format_percent(mean.high)} %. "
        f"The target, {100 * target.goal:g} %, is {'met' if is_met(results) else 'missed'}."
    )
    lines = [summary]
    if target.most_parameters is not None:
        limit = _describe_limit(exceeded=main_arm.parameters > target.most_parameters)
        lines.append(f"Its model has {main_arm.parameters:,} parameters, {limit} {target.most_parameters:,}.")
    if target.most_minutes is not None:
        limit = _describe_limit(exceeded=seconds > 60 * target.most_minutes)
        lines.append(
            f"All runs together took {format_duration(seconds)} (wall time), {limit} "
            f"{format_duration(60 * target.most_minutes)}."
        )
    for other_arm in results.arms[1:]:
        estimate = estimate_difference(main_arm.accuracies, other_arm.accuracies, results.accuracy_step)
        direction = "higher than" if estimate.value > 0 else "lower than"
        significance = "significant" if estimate.low > 0 or estimate.high < 0 else "not significant"
        difference = (
            f"{_format_percent(abs(estimate.value))} percentage points {direction} the mean of {other_arm.name}"
            if estimate.value
            else f"equal to the mean of {other_arm.name}"
        )
        lines.append(
            f"The mean is {difference}: the difference is {significance} (standard error "
            f"{_format_percent(estimate.standard_error)})."
        )
    return lines


def _describe_limit(*, exceeded: bool) -> str:
    return "over the limit of" if exceeded else "within the limit of"


def _render_arms(results: Results) -> list[str]:
    """Returns the table of the arms, with mean accuracies in percent, and a list of their recipes."""
    columns = ["arm", "seeds", "mean accuracy, %", "standard deviation, %", "95 % confidence interval, %",
               "range, %", "mean loss", "parameters", "epochs", "median seconds per run"]  # fmt: skip
    rows, recipes = [], []
    for arm in results.arms:
        values = arm.accuracies
        estimate = estimate_mean(values, results.accuracy_step)
        rows.append(
            [
                arm.name,
                f"{len(values)}",
                _format_percent(estimate.value),
                _format_percent(statistics.stdev(values)),
                f"{_format_percent(estimate.low)} to {_format_percent(estimate.high)}",
                f"{100 * min(values):.2f} to {100 * max(values):.2f}",
                f"{statistics.mean(run.loss for run in arm.runs):.4f}",
                f"{arm.parameters:,}",
                f"{arm.epochs}",
                f"{statistics.median(run.seconds for run in arm.runs):.1f}",
            ]
        )
        held_out = f"{100 * arm.validation_fraction:g} % of the training images held out"
        images = held_out if arm.validation_fraction else "trained on all training images"
        recipes.append(f"- {arm.name}: `{shlex.join(arm.overrides)}`, {images}")
    return [Table(columns, rows).to_markdown(), "\n".join(recipes)]


def _render_differences(results: Results) -> list[str]:
    """Returns a section that compares the first arm with the other arms."""
    main_arm = results.main_arm
    columns = ["other arm", "difference, %", "standard error, %", "95 % confidence interval, %", "p-value",
               "its errors per 10,000 images", f"errors of {main_arm.name} per 10,000 images"]  # fmt: skip
    rows = []
    for other_arm in results.arms[1:]:
        estimate = estimate_difference(main_arm.accuracies, other_arm.accuracies, results.accuracy_step)
        errors = [f"{10_000 * (1 - statistics.mean(arm.accuracies)):.0f}" for arm in (other_arm, main_arm)]
        rows.append(
            [
                other_arm.name,
                f"{100 * estimate.value:+.3f}",
                _format_percent(estimate.standard_error),
                f"{100 * estimate.low:+.3f} to {100 * estimate.high:+.3f}",
                f"{estimate.p_value:.2g}",
                *errors,
            ]
        )
    method = (
        f"The table shows the mean accuracy of {main_arm.name} minus the mean accuracy of the other arm, in percentage "
        "points, with Welch's t-test. The test treats all runs as independent: with different recipes, runs of the "
        "same seed still have different initial weights and a different order of the images."
    )
    return [
        f"## Comparison of {main_arm.name} with the other arms",
        method,
        Table(columns, rows).to_markdown(),
    ]


def _render_search(search: dict[str, Any]) -> list[str]:
    """Returns a section on the sweep that chose the recipe."""
    cost, trials, winner = search["cost"], search["trials"], search["winner"]
    work = cost["done_seconds"] + cost["pruned_seconds"] + cost["failed_seconds"]
    pruned = f" and {trials['pruned']:,} were pruned" if trials["pruned"] else ""
    saved = f" Pruning saved {cost['spared']:,} epochs." if cost["spared"] else ""
    seeds = f"{winner['seeds']} seeds" if winner["seeds"] > 1 else "one seed"
    card = f" The [sweep card]({search['card']}) has the details." if search["card"] else ""
    varied = winner["varied"]
    rows = [
        [f"`{path}`", values, format_value(varied[path]) if path in varied else ""]
        for path, values in search["swept"].items()
    ]
    description = (
        f"The sweep `{shlex.join(['trainyard', 'sweep', *search['overrides']])}` chose the recipe "
        f"({search['chosen_by']}). It ranked its trials only by {search['objective']}, on images held out from "
        f"training, and did not use the test images. {trials['finished']:,} trials finished{pruned}, with "
        f"{cost['epochs']:,} epochs in total.{saved} The durations of all trials add up to {format_duration(work)}; "
        f"the wall time of the sweep was {format_duration(cost['wall_seconds'])}. The best configuration reached "
        f"{search['objective']} {winner['value']:.4f} with {seeds}. This value is too optimistic, because it is the "
        f"best of many; therefore the runs above use other seeds.{card}"
    )
    return [
        "## How the recipe was chosen",
        description,
        Table(["setting", "possible values", "chosen"], rows).to_markdown(),
    ]


def _render_runs(results: Results) -> str:
    """Returns the table of all runs of all arms, in Markdown."""
    rows = [
        [arm.name, *build_run_cells(f"{run.seed}", run.accuracy, run.loss, run.seconds, run.run_id)]
        for arm in results.arms
        for run in arm.runs
    ]
    return Table(["arm", "seed", "accuracy", "loss", "seconds", "run ID"], rows).to_markdown()


def _format_percent(fraction: float) -> str:
    """Returns a fraction, or a difference of two, in percent with three decimals, without a percent sign."""
    return f"{100 * fraction:.3f}"

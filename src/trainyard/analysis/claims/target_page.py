"""The page of a target: a README in Markdown, generated from its results and never written by hand."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterator
from typing import Any, cast

from trainyard.analysis.claims.results import FILE, Arm, Results
from trainyard.analysis.claims.spec import Target
from trainyard.evaluation.intervals import estimate_difference, estimate_mean
from trainyard.reporting.formatting import show_seconds, show_value
from trainyard.reporting.markdown import Table
from trainyard.reporting.provenance import origin_in_words

PICTURE = "accuracies.png"


def write_target_page(results: Results) -> str:
    """Returns the page."""
    target = target_of(results)
    blocks = [
        f"# {target.title}",
        f"Written by `trainyard reproduce` from `{FILE}`; nothing here was typed by hand.",
        target.about,
        "## What came out",
        "\n".join(describe_verdict(results)),
        _arms(results),
        f"![Accuracies on the test images]({PICTURE})",
        *_differences(results),
        *(_choice(results.search) if results.search else ()),
        "## Every run",
        _runs(results),
        origin_in_words(results.about),
    ]
    return "\n\n".join(block.strip() for block in blocks) + "\n"


def target_of(results: Results) -> Target:
    """Returns the target that results are held against."""
    return cast("Target", results.aim)


def is_met(results: Results) -> bool:
    """Whether the first arm's mean reaches the goal, with no more parameters and in no more time than it may have."""
    target = target_of(results)
    small = target.most_parameters is None or results.ours.parameters <= target.most_parameters
    quick = target.most_minutes is None or results.about["seconds"] <= 60 * target.most_minutes
    return small and quick and statistics.mean(results.ours.accuracies) >= target.goal


def describe_verdict(results: Results) -> list[str]:
    """Returns in a few lines whether the target is met, and what the first arm is ahead of the others."""
    ours, target = results.ours, target_of(results)
    found = estimate_mean(ours.accuracies)
    met = "met" if is_met(results) else "missed"
    interval = f"{_percent(found.low)} to {_percent(found.high)}"
    first = (
        f"**{ours.name}: {_percent(found.value)} % of the test images right, on average over {len(ours.runs)} seeds.** "
        f"The 95 % interval of the mean is {interval}; the target, {100 * target.goal:g} %, is {met}."
    )
    lines = [first]
    if target.most_parameters is not None:
        more = "more than the" if ours.parameters > target.most_parameters else "of at most"
        lines.append(f"Its model has {ours.parameters:,} parameters, {more} {target.most_parameters:,}.")
    if target.most_minutes is not None:
        more = "more than the" if results.about["seconds"] > 60 * target.most_minutes else "of at most"
        took = show_seconds(results.about["seconds"])
        lines.append(f"All runs together took {took} by the clock, {more} {show_seconds(60 * target.most_minutes)}.")
    for other in results.arms[1:]:
        found = estimate_difference(ours.accuracies, other.accuracies)
        word = "ahead of" if found.value > 0 else "behind"
        sure = "more than chance" if found.low > 0 or found.high < 0 else "which may be chance"
        far = f"{_points(abs(found.value))} points {word} {other.name}" if found.value else f"level with {other.name}"
        lines.append(f"It is {far}, standard error {_points(found.error)}: {sure}.")
    return lines


def _arms(results: Results) -> str:
    rows = []
    for arm in results.arms:
        values, found = arm.accuracies, estimate_mean(arm.accuracies)
        rows.append(
            [
                arm.name,
                f"{len(values)}",
                _percent(found.value),
                _points(statistics.stdev(values)),
                f"{_percent(found.low)} to {_percent(found.high)}",
                f"{100 * min(values):.2f} to {100 * max(values):.2f}",
                f"{statistics.mean(run.loss for run in arm.runs):.4f}",
                f"{arm.parameters:,}",
                f"{arm.epochs}",
                f"{statistics.median(run.seconds for run in arm.runs):.1f}",
            ]
        )
    columns = ["what", "seeds", "mean, %", "standard deviation", "95 % interval of the mean", "range", "mean loss",
               "parameters", "epochs", "s per run"]  # fmt: skip
    trained = [f"- {arm.name}: `{shlex.join(arm.overrides)}`, {_images(arm)}" for arm in results.arms]
    return "\n\n".join([Table(columns, rows).to_markdown(), "\n".join(trained)])


def _images(arm: Arm) -> str:
    share = arm.validation_fraction
    return f"all training images but {100 * share:g} %" if share else "trained on all training images"


def _differences(results: Results) -> Iterator[str]:
    """Yields what the first arm is ahead of the others, where there are any."""
    ours, others = results.ours, results.arms[1:]
    if not others:
        return
    yield f"## {ours.name} and the others"
    yield (
        f"Differences of mean accuracy in points of percent, {ours.name} less the other, by Welch's t-test, which "
        "takes all runs as independent: equal seeds of two recipes draw other weights and other orders of the images."
    )
    rows = []
    for other in others:
        found = estimate_difference(ours.accuracies, other.accuracies)
        interval = f"{100 * found.low:+.3f} to {100 * found.high:+.3f}"
        rows.append(
            [other.name, f"{100 * found.value:+.3f}", _points(found.error), interval, f"{found.chance:.2g}",
             f"{_errors(other):.0f}", f"{_errors(ours):.0f}"]
        )  # fmt: skip
    columns = ["less", "difference", "standard error", "95 % interval", "p", "wrong in 10,000 images",
               f"those of {ours.name}"]  # fmt: skip
    yield Table(columns, rows).to_markdown()


def _errors(arm: Arm) -> float:
    return 10_000 * (1 - statistics.mean(arm.accuracies))


def _choice(search: dict[str, Any]) -> Iterator[str]:
    """Yields how the recipe was chosen."""
    cost, trials, winner = search["cost"], search["trials"], search["winner"]
    work = cost["done_seconds"] + cost["pruned_seconds"] + cost["failed_seconds"]
    pruned = f", {trials['pruned']:,} were pruned" if trials["pruned"] else ""
    spared = f"; pruning spared {cost['spared']:,} more" if cost["spared"] else ""
    seeds = f"{winner['seeds']} seeds" if winner["seeds"] > 1 else "one seed"
    card = f" The [sweep card]({search['card']}) shows all of it." if search["card"] else ""
    yield "## How the recipe was chosen"
    yield (
        f"By the sweep `{shlex.join(['trainyard', 'sweep', *search['overrides']])}`: {search['chosen_by']}; by "
        f"{search['objective']} alone, on images that were kept back from training. The test images had no part in it. "
        f"{trials['finished']:,} trials came to their end{pruned}: {cost['epochs']:,} epochs{spared}, "
        f"{show_seconds(work)} of work in {show_seconds(cost['wall_seconds'])}. The first place had "
        f"{search['objective']} {winner['value']:.4f}, with {seeds}; "
        f"as the best of so many it is flattered, which is why the runs above have seeds of their own.{card}"
    )
    varied = winner["varied"]
    rows = [
        [f"`{path}`", told, show_value(varied[path]) if path in varied else ""]
        for path, told in search["swept"].items()
    ]
    yield Table(["setting", "could be", "chosen"], rows).to_markdown()


def _runs(results: Results) -> str:
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
    return Table(["what", "seed", "accuracy", "loss", "s", "run"], rows).to_markdown()


def _percent(share: float) -> str:
    return f"{100 * share:.3f}"


def _points(share: float) -> str:
    return f"{100 * share:.3f}"

"""The page of a claim: every published figure beside what our seeds came to, and what is to be said of it.

Generated from the results, and never written by hand.
"""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence
from typing import cast

from trainyard.analysis.claims.judging import (
    LEAST_SEEDS,
    LEVEL,
    WIDEST_ACCURACY,
    WIDEST_CELL,
    Cell,
    Judgement,
    Verdict,
    conclude,
    judge,
)
from trainyard.analysis.claims.power import REPEATS, normal, share_contradicted
from trainyard.analysis.claims.results import FILE, Results
from trainyard.analysis.claims.spec import SCORED, Claim
from trainyard.reporting.markdown import Table
from trainyard.reporting.provenance import origin_in_words

PICTURE = "cells.png"
_NEIGHBOURS = 3
"""So many figures on either side of ours are told the power against."""


def write_claim_page(results: Results) -> str:
    """Returns the page."""
    claim, ours = claim_of(results), results.ours
    judgements = judge(cells_of(results))
    blocks = [
        f"# {claim.title}",
        f"Written by `trainyard reproduce` from `{FILE}`; nothing here was typed by hand.",
        claim.about,
        f"Source: {claim.source}",
        "## Does it hold?",
        "\n\n".join(describe_verdict(results)),
        f"![Published figures and prediction intervals]({PICTURE})",
        "## Cell by cell",
        _criterion(results, judgements),
        _table(judgements),
        "## What such a test can't see",
        _power(results, judgements[0]),
        "## Every run",
        f"`{shlex.join(ours.overrides)}`, {ours.epochs} epochs, {ours.parameters:,} parameters:",
        _runs(results),
        origin_in_words(results.about),
    ]
    return "\n\n".join(block.strip() for block in blocks) + "\n"


def claim_of(results: Results) -> Claim:
    """Returns the claim that results are held against."""
    return cast("Claim", results.aim)


def cells_of(results: Results) -> list[Cell]:
    """Returns the published figures with what our runs came to: the accuracy, then the rows of the report.

    Raises:
        KeyError: If the runs have no row of a name that was published.
    """
    claim, runs = claim_of(results), results.ours.runs
    images = max((scores.support for scores in runs[0].report.values()), default=1)
    accuracies = tuple(run.accuracy for run in runs)
    cells = [
        Cell(
            name="accuracy",
            published=claim.accuracy,
            decimals=claim.decimals,
            values=accuracies,
            step=1 / max(images, 1),
            is_primary=True,
        )
    ]
    cells += [
        Cell(
            name=f"{row} {column}",
            published=getattr(scores, column),
            decimals=claim.decimals,
            values=tuple(getattr(run.report[row], column) for run in runs),
            step=1 / max(runs[0].report[row].support, 1),
        )
        for row, scores in claim.classification_report.items()
        for column in SCORED
    ]
    return cells


def wrong_counts(results: Results) -> list[str]:
    """Returns a line for each row whose number of images is not the published one."""
    measured = results.ours.runs[0].report
    return [
        f"{row}: {scores.support:,} images were published, and there are {measured[row].support:,}"
        for row, scores in claim_of(results).classification_report.items()
        if scores.support != measured[row].support
    ]


def verdict_of(results: Results) -> Verdict:
    """Returns what is to be said of the whole claim."""
    return conclude(judge(cells_of(results)), same_counts=not wrong_counts(results))


def describe_verdict(results: Results) -> list[str]:
    """Returns in a few lines what is to be said of the claim, and why."""
    claim, judgements = claim_of(results), judge(cells_of(results))
    verdict, counts = verdict_of(results), wrong_counts(results)
    first = judgements[0]
    numbers = ", ".join(f"{sum(one.verdict is each for one in judgements)} {each}" for each in Verdict)
    accuracy = (
        f"Accuracy: published {_published(first)}; ours {first.mean:.4f} on average over {len(first.cell.values)} "
        f"seeds, {_range(first)}; one more run would lie in {_interval(first)}."
    )
    lines = [f"**The claim is {verdict}.** Of {len(judgements)} figures {numbers}.", accuracy]
    lines += [f"{line}." for line in counts]
    lines += [f"{one.cell.name}: {_why(one)}." for one in judgements if one.verdict is Verdict.CONTRADICTED]
    if len(results.ours.runs) < LEAST_SEEDS:
        more = f"--seeds {max(LEAST_SEEDS, claim.seeds)}"
        lines.append(f"Fewer than {LEAST_SEEDS} seeds can contradict a figure, and support none: {more}.")
    else:
        lines += [f"{one.cell.name}: {_why(one)}." for one in judgements if one.verdict is Verdict.UNDECIDED]
    return lines


def _why(judgement: Judgement) -> str:
    if judgement.verdict is Verdict.CONTRADICTED:
        return f"published {_published(judgement)}, and one more run would lie in {_interval(judgement)}"
    return f"one more run would lie in {_interval(judgement)}, which is too wide to tell"


def _published(judgement: Judgement) -> str:
    return f"{judgement.cell.published:.{judgement.cell.decimals}f}"


def _interval(judgement: Judgement) -> str:
    return f"{judgement.low:.4f} to {judgement.high:.4f}"


def _range(judgement: Judgement) -> str:
    return f"{min(judgement.cell.values):.4f} to {max(judgement.cell.values):.4f}"


def _criterion(results: Results, judgements: Sequence[Judgement]) -> str:
    others = len(judgements) - 1
    share = f"; the other {others} cells share another {LEVEL:g} (Bonferroni)" if others else ""
    return (
        "A published figure is the interval of all that rounds to it, from one run with a seed that nobody knows. "
        "Against it stands the prediction interval of one more run, by Student's t from "
        f"{len(results.ours.runs)} seeds. Accuracy has the level {LEVEL:g}{share}. *Contradicted*: the intervals have "
        f"nothing in common. *Undecided*: fewer than {LEAST_SEEDS} seeds, or a half-width above {WIDEST_ACCURACY:g} "
        f"(accuracy) or {WIDEST_CELL:g} (the others). Else *supported*. Numbers of images are compared exactly."
    )


def _power(results: Results, accuracy: Judgement) -> str:
    """Returns how often figures around ours would be contradicted, were our seeds like the recipe's."""
    count, decimals = len(results.ours.runs), accuracy.cell.decimals
    draw = normal(accuracy.mean, accuracy.std)
    nearest, step = round(accuracy.mean, decimals), 10**-decimals
    figures = [nearest + away * step for away in range(-_NEIGHBOURS, _NEIGHBOURS + 1) if nearest + away * step <= 1]
    rows = [
        [
            f"{figure:.{decimals}f}",
            f"{100 * share_contradicted(draw, count, published=figure, decimals=decimals):.1f} %",
        ]
        for figure in figures
    ]
    true = share_contradicted(draw, count, decimals=decimals)
    told = (
        "How often this test contradicts a claim of another accuracy, if runs of the recipe are normal with the mean "
        f"and the standard deviation of ours, {accuracy.mean:.4f} and {accuracy.std:.4f}; by {REPEATS:,} simulations "
        f"of {count} seeds. What is not contradicted is not thereby proven: it is a figure that one run may come to. "
        f"The true figure of one more such run is contradicted in {100 * true:.1f} % (at most {100 * LEVEL:g} % are "
        "promised)."
    )
    return f"{told}\n\n{Table(['claimed accuracy', 'contradicted'], rows).to_markdown()}"


def _table(judgements: Sequence[Judgement]) -> str:
    rows = [
        [
            one.cell.name,
            _published(one),
            f"{one.mean:.4f}",
            f"{one.std:.4f}",
            _range(one),
            _interval(one),
            f"{100 * one.share:.0f} %",
            one.verdict if one.verdict is Verdict.SUPPORTED else f"**{one.verdict}**",
        ]
        for one in judgements
    ]
    columns = ["figure", "published", "mean", "standard deviation", "range", "one more run", "round to it", "verdict"]
    return Table(columns, rows).to_markdown()


def _runs(results: Results) -> str:
    runs = results.ours.runs
    rows = [
        [*_figures(f"{run.seed}", run.accuracy, run.loss, run.seconds), f"`{run.run_id}`" if run.run_id else ""]
        for run in runs
    ]
    means = (statistics.mean(getattr(run, name) for run in runs) for name in ("accuracy", "loss", "seconds"))
    rows.append([*_figures("mean", *means), ""])
    return Table(["seed", "accuracy", "loss", "s", "run"], rows).to_markdown()


def _figures(what: str, accuracy: float, loss: float, seconds: float) -> list[str]:
    return [what, f"{accuracy:.4f}", f"{loss:.4f}", f"{seconds:.1f}"]

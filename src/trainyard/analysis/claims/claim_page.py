"""The page of a claim: each published value next to the values measured with several seeds, and the verdict."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence
from functools import partial
from typing import cast

from trainyard.analysis.claims.judging import (
    MAX_ACCURACY_HALF_WIDTH,
    MAX_METRIC_HALF_WIDTH,
    MIN_SEEDS,
    SIMULATIONS,
    ClaimedMetric,
    Judgement,
    Verdict,
    build_normal_sampler,
    combine_verdicts,
    judge,
    simulate_contradiction_rate,
)
from trainyard.analysis.claims.results import Results, build_run_cells
from trainyard.analysis.claims.spec import SCORE_NAMES, Claim
from trainyard.evaluation import SIGNIFICANCE_LEVEL
from trainyard.reporting import Table

PLOT_FILE = "cells.png"
_NEIGHBORS = 3
"""Number of rounded values on either side of the measured mean for which the power is simulated."""


def render_body(results: Results) -> list[str]:
    """Returns the sections of the page between introduction and provenance, as blocks of Markdown."""
    main_arm, judgements = results.main_arm, judge_claim(results)
    return [
        f"Source: {_get_claim(results).source}",
        "## Is the claim supported?",
        "\n\n".join(describe_verdict(results)),
        f"![Published values and prediction intervals]({PLOT_FILE})",
        "## All metrics",
        _describe_criterion(len(main_arm.runs), len(judgements) - 1),
        _render_metrics(judgements),
        "## Power of the test",
        *_render_power(judgements[0]),
        "## All runs",
        f"`{shlex.join(main_arm.overrides)}`, {main_arm.epochs} epochs, {main_arm.parameters:,} parameters:",
        _render_runs(results),
    ]


def _get_claim(results: Results) -> Claim:
    return cast("Claim", results.spec)


def judge_claim(results: Results) -> list[Judgement]:
    """Judges the published metrics: the accuracy, then the rows of the report.

    Raises:
        KeyError: If a published row is missing in the reports of the runs.
    """
    claim, runs = _get_claim(results), results.main_arm.runs
    report = runs[0].report
    accuracy = ClaimedMetric(
        name="accuracy",
        published=claim.accuracy,
        decimals=claim.decimals,
        values=tuple(results.main_arm.accuracies),
        step=1 / max((scores.support for scores in report.values()), default=1),
        is_primary=True,
    )
    others = [
        ClaimedMetric(
            name=f"{row} {column}",
            published=getattr(scores, column),
            decimals=claim.decimals,
            values=tuple(getattr(run.report[row], column) for run in runs),
            step=1 / max(report[row].support, 1),
        )
        for row, scores in claim.classification_report.items()
        for column in SCORE_NAMES
    ]
    return judge([accuracy, *others])


def find_wrong_counts(results: Results) -> list[str]:
    """Returns a line for each row whose number of images differs from the published number."""
    measured = results.main_arm.runs[0].report
    return [
        f"{row}: the published number of images is {scores.support:,}, the measured number is {measured[row].support:,}"
        for row, scores in _get_claim(results).classification_report.items()
        if scores.support != measured[row].support
    ]


def determine_verdict(results: Results) -> Verdict:
    """Returns the verdict on the whole claim."""
    return combine_verdicts(judge_claim(results), same_counts=not find_wrong_counts(results))


def describe_verdict(results: Results) -> list[str]:
    """Returns the verdict on the claim and the reasons for it, as a few lines of Markdown."""
    judgements = judge_claim(results)
    accuracy = judgements[0]
    verdicts = [judgement.verdict for judgement in judgements]
    numbers = ", ".join(f"{verdicts.count(option)} {option}" for option in Verdict)
    summary = (
        f"Accuracy: the published value is {_format_published(accuracy)}. The measured mean is {accuracy.mean:.4f} "
        f"over {len(accuracy.metric.values)} seeds, with a range from {_format_measured_range(accuracy)}. "
        f"The prediction interval of one more run is {_format_interval(accuracy)}."
    )
    lines = [
        f"**The claim is {determine_verdict(results)}.** Metrics: {len(judgements)} in total, {numbers}.",
        summary,
        *(f"{line}." for line in find_wrong_counts(results)),
    ]
    lines += [
        f"{judgement.metric.name}: the published value is {_format_published(judgement)}, but the prediction interval "
        f"of one more run is {_format_interval(judgement)}."
        for judgement in judgements
        if judgement.verdict is Verdict.CONTRADICTED
    ]
    if len(results.main_arm.runs) < MIN_SEEDS:
        option = f"--seeds {max(MIN_SEEDS, results.spec.seeds)}"
        lines.append(f"With fewer than {MIN_SEEDS} seeds no metric can be supported, only contradicted: use {option}.")
    else:
        lines += [
            f"{judgement.metric.name}: the prediction interval of one more run is {_format_interval(judgement)}, which "
            "is too wide to decide."
            for judgement in judgements
            if judgement.verdict is Verdict.UNDECIDED
        ]
    return lines


def _format_published(judgement: Judgement) -> str:
    """Returns the published value with as many decimals as were published."""
    return f"{judgement.metric.published:.{judgement.metric.decimals}f}"


def _format_interval(judgement: Judgement) -> str:
    """Returns the prediction interval of one more run: ``0.9750 to 0.9790``."""
    return f"{judgement.low:.4f} to {judgement.high:.4f}"


def _format_measured_range(judgement: Judgement) -> str:
    """Returns the smallest and the largest measured value: ``0.9760 to 0.9785``."""
    return f"{min(judgement.metric.values):.4f} to {max(judgement.metric.values):.4f}"


def _describe_criterion(seeds: int, secondary_count: int) -> str:
    """Returns the paragraph that explains the statistical test and the three verdicts."""
    shared = (
        f"; the other {secondary_count} metrics share a level of {SIGNIFICANCE_LEVEL:g} (Bonferroni)"
        if secondary_count
        else ""
    )
    return (
        "A published value is rounded, so it represents the interval of all values that round to it. It comes from one "
        "run with an unknown seed. The test compares it with the prediction interval of one more run, computed with "
        f"Student's t-distribution from {seeds} seeds. The significance level of the accuracy is "
        f"{SIGNIFICANCE_LEVEL:g}{shared}. A metric is *contradicted* if the two intervals do not overlap. It is "
        f"*undecided* if there are fewer than {MIN_SEEDS} seeds, or if the half-width of the prediction interval is "
        f"larger than {MAX_ACCURACY_HALF_WIDTH:g} (accuracy) or {MAX_METRIC_HALF_WIDTH:g} (other metrics). Otherwise "
        "it is *supported*. The numbers of images must match exactly."
    )


def _render_power(accuracy: Judgement) -> list[str]:
    """Returns how often claims of accuracies near the measured mean would be contradicted, by simulation."""
    count, decimals = len(accuracy.metric.values), accuracy.metric.decimals
    draw = build_normal_sampler(accuracy.mean, accuracy.std)
    simulate = partial(simulate_contradiction_rate, draw, count, decimals=decimals, step=accuracy.metric.step)
    nearest, step = round(accuracy.mean, decimals), 10**-decimals
    claims = [nearest + away * step for away in range(-_NEIGHBORS, _NEIGHBORS + 1) if nearest + away * step <= 1]
    rows = [[f"{claimed:.{decimals}f}", f"{100 * simulate(published=claimed):.1f} %"] for claimed in claims]
    text = (
        "The table shows how often the test contradicts a claim of a different accuracy. It assumes that runs of the "
        f"recipe are normally distributed with the measured mean {accuracy.mean:.4f} and standard deviation "
        f"{accuracy.std:.4f}, and uses {SIMULATIONS:,} simulations with {count} seeds each. A claim that is not "
        "contradicted is not proven: it is a value that a single run can produce. A true claim, the rounded accuracy "
        f"of one more such run, is contradicted in {100 * simulate():.1f} % of the simulations (the test "
        f"guarantees at most {100 * SIGNIFICANCE_LEVEL:g} %)."
    )
    return [text, Table(["claimed accuracy", "contradicted"], rows).to_markdown()]


def _render_metrics(judgements: Sequence[Judgement]) -> str:
    """Returns the table of all metrics in Markdown: a row per metric, in the order of the judgements."""
    columns = ["metric", "published", "mean", "standard deviation", "range", "prediction interval",
               "seeds that round to the published value", "verdict"]  # fmt: skip
    rows = [
        [
            judgement.metric.name,
            _format_published(judgement),
            f"{judgement.mean:.4f}",
            f"{judgement.std:.4f}",
            _format_measured_range(judgement),
            _format_interval(judgement),
            f"{100 * judgement.share:.0f} %",
            judgement.verdict if judgement.verdict is Verdict.SUPPORTED else f"**{judgement.verdict}**",
        ]
        for judgement in judgements
    ]
    return Table(columns, rows).to_markdown()


def _render_runs(results: Results) -> str:
    """Returns the table of all runs in Markdown: a row per seed, then a row with the means."""
    runs = results.main_arm.runs
    means = (statistics.mean(getattr(run, name) for run in runs) for name in ("accuracy", "loss", "seconds"))
    rows = [build_run_cells(f"{run.seed}", run.accuracy, run.loss, run.seconds, run.run_id) for run in runs]
    rows.append(build_run_cells("mean", *means))
    return Table(["seed", "accuracy", "loss", "seconds", "run ID"], rows).to_markdown()

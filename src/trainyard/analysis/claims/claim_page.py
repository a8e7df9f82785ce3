"""The page of a claim: each published value next to the values measured with several seeds, and the verdict."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trainyard.analysis.claims import judging
from trainyard.analysis.claims.judging import (
    MIN_SEEDS,
    ClaimedMetric,
    Judgement,
    Verdict,
    combine_verdicts,
    compute_contradiction_rate,
    judge,
)
from trainyard.analysis.claims.results import Results, build_run_cells
from trainyard.analysis.claims.spec import SCORE_NAMES, Claim
from trainyard.evaluation import SIGNIFICANCE_LEVEL
from trainyard.reporting import Table, plots

_SIMULATIONS = 20_000
_NEIGHBORS = 3
"""Number of rounded values on either side of the measured mean for which the power is simulated."""


@dataclass(frozen=True)
class ClaimPage:
    """The page of the results of a claim."""

    results: Results
    claim: Claim
    template: ClassVar = "claim.md"
    plot_file: ClassVar = "cells.png"

    @cached_property
    def judgements(self) -> list[Judgement]:
        """The judgements of the published metrics: the accuracy, then the rows of the report.

        Raises:
            KeyError: If a published row is missing in the reports of the runs.
        """
        claim, runs = self.claim, self.results.main_arm.runs
        report = runs[0].report
        accuracy = ClaimedMetric(
            name="accuracy",
            published=claim.accuracy,
            decimals=claim.decimals,
            values=tuple(self.results.main_arm.accuracies),
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

    @property
    def wrong_counts(self) -> list[str]:
        """A line for each row whose number of images differs from the published number."""
        measured = self.results.main_arm.runs[0].report
        return [
            f"{row}: the published number of images is {scores.support:,}, the measured number is "
            f"{measured[row].support:,}"
            for row, scores in self.claim.classification_report.items()
            if scores.support != measured[row].support
        ]

    @property
    def verdict(self) -> Verdict:
        """The verdict on the whole claim."""
        return combine_verdicts(self.judgements, same_counts=not self.wrong_counts)

    def describe_verdict(self) -> list[str]:
        """Returns the verdict on the claim and the reasons for it, as a few lines of Markdown."""
        accuracy = self.judgements[0]
        verdicts = [judgement.verdict for judgement in self.judgements]
        numbers = ", ".join(f"{verdicts.count(option)} {option}" for option in Verdict)
        lines = [
            f"**The claim is {self.verdict}.** Metrics: {len(verdicts)} in total, {numbers}.",
            (
                f"Accuracy: the published value is {_format_published(accuracy)}. The measured mean is "
                f"{accuracy.mean:.4f} over {len(accuracy.values)} seeds, with a range from "
                f"{_format_measured_range(accuracy)}. The prediction interval of one more run is "
                f"{_format_interval(accuracy)}."
            ),
            *(f"{line}." for line in self.wrong_counts),
        ]
        lines += [
            f"{judgement.name}: the published value is {_format_published(judgement)}, but the prediction interval "
            f"of one more run is {_format_interval(judgement)}."
            for judgement in self.judgements
            if judgement.verdict is Verdict.CONTRADICTED
        ]
        if len(self.results.main_arm.runs) < MIN_SEEDS:
            option = f"--seeds {max(MIN_SEEDS, self.claim.seeds)}"
            return [
                *lines,
                f"With fewer than {MIN_SEEDS} seeds no metric can be supported, only contradicted: use {option}.",
            ]
        return lines + [
            f"{judgement.name}: the prediction interval of one more run is {_format_interval(judgement)}, which is too "
            "wide to decide."
            for judgement in self.judgements
            if judgement.verdict is Verdict.UNDECIDED
        ]

    def build_values(self) -> dict[str, Any]:
        """Returns the values for the template, in addition to those of every page."""
        accuracy = self.judgements[0]
        true_claims, power = _simulate_power(accuracy)
        return {
            "criterion": judging,
            "level": SIGNIFICANCE_LEVEL,
            "secondary_count": len(self.judgements) - 1,
            "metrics": _render_metrics(self.judgements),
            "accuracy": accuracy,
            "simulations": _SIMULATIONS,
            "true_claims": true_claims,
            "power": power,
            "runs": self._render_runs(),
        }

    def _render_runs(self) -> str:
        """Returns the table of all runs in Markdown: a row per seed, then a row with the means."""
        runs = self.results.main_arm.runs
        means = (statistics.mean(getattr(run, name) for run in runs) for name in ("accuracy", "loss", "seconds"))
        rows = [build_run_cells(f"{run.seed}", run.accuracy, run.loss, run.seconds, run.run_id) for run in runs]
        rows.append(build_run_cells("mean", *means))
        return Table(["seed", "accuracy", "loss", "seconds", "run ID"], rows).to_markdown()

    def draw_plot(self, folder: Path) -> None:
        """Draws the published metrics with their prediction intervals."""
        metrics = [
            plots.PublishedMetric(
                judgement.name,
                (judgement.rounding_low, judgement.rounding_high),
                (judgement.low, judgement.high),
                judgement.values,
                judgement.verdict is not Verdict.CONTRADICTED,
            )
            for judgement in self.judgements
        ]
        rows = groupby(metrics, lambda metric: metric.name.rpartition(" ")[0])
        subtitle = f"{len(metrics)} metrics, {len(self.results.main_arm.runs)} seeds"
        plots.draw_published_metrics(
            [list(row) for _, row in rows], self.claim.title, subtitle, folder / self.plot_file
        )


def _format_published(judgement: Judgement) -> str:
    """Returns the published value with as many decimals as were published."""
    return f"{judgement.published:.{judgement.decimals}f}"


def _format_interval(judgement: Judgement) -> str:
    """Returns the prediction interval of one more run: ``0.9750 to 0.9790``."""
    return f"{judgement.low:.4f} to {judgement.high:.4f}"


def _format_measured_range(judgement: Judgement) -> str:
    """Returns the smallest and the largest measured value: ``0.9760 to 0.9785``."""
    return f"{min(judgement.values):.4f} to {max(judgement.values):.4f}"


def _simulate_power(accuracy: Judgement) -> tuple[str, str]:
    """Simulates how often claims are contradicted: true claims, in percent, and a table of other accuracies."""
    decimals, step = accuracy.decimals, 10**-accuracy.decimals
    generator = np.random.default_rng(0)
    values = generator.normal(accuracy.mean, accuracy.std, (_SIMULATIONS, len(accuracy.values)))
    one_more = np.round(generator.normal(accuracy.mean, accuracy.std, _SIMULATIONS), decimals)

    def format_rate(published: NDArray[np.float64] | float) -> str:
        return f"{100 * compute_contradiction_rate(values, published, decimals, accuracy.step):.1f} %"

    nearest = round(accuracy.mean, decimals)
    claims = [nearest + away * step for away in range(-_NEIGHBORS, _NEIGHBORS + 1) if nearest + away * step <= 1]
    rows = [[f"{claimed:.{decimals}f}", format_rate(claimed)] for claimed in claims]
    return format_rate(one_more), Table(["claimed accuracy", "contradicted"], rows).to_markdown()


def _render_metrics(judgements: list[Judgement]) -> str:
    """Returns the table of all metrics in Markdown: a row per metric, in the order of the judgements."""
    columns = ["metric", "published", "mean", "standard deviation", "range", "prediction interval",
               "seeds that round to the published value", "verdict"]  # fmt: skip
    rows = [
        [
            judgement.name,
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

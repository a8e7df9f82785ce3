"""The page of a claim: each published value next to the values measured with several seeds, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import ClassVar

import numpy as np

from trainyard.analysis.claims.judging import (
    MIN_SEEDS,
    SIMULATIONS,
    ClaimedMetric,
    Judgement,
    Verdict,
    compute_contradiction_rate,
    judge,
)
from trainyard.analysis.claims.results import Results
from trainyard.analysis.claims.spec import SCORE_NAMES, Claim
from trainyard.config import format_suggestion
from trainyard.errors import ConfigError
from trainyard.reporting import plots

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
            decimals=claim.get_decimals("accuracy"),
            values=tuple(self.results.main_arm.accuracies),
            images=self.results.main_arm.images,
            is_primary=True,
        )
        others = [
            ClaimedMetric(
                name=f"{row} {column}",
                published=getattr(scores, column),
                decimals=claim.get_decimals(f"{row} {column}"),
                values=tuple(getattr(run.report[row], column) for run in runs),
                images=max(report[row].support, 1),
            )
            for row, scores in claim.classification_report.items()
            for column in SCORE_NAMES
        ]
        return judge([accuracy, *others])

    def check_rows(self) -> None:
        """Raises ConfigError if the reports of the runs lack a row of the claim; lists the available rows."""
        rows = list(self.results.main_arm.runs[0].report)
        problems = [
            f"classification_report.{row}: the data set has no such class.{format_suggestion(row, rows)} "
            f"Available: {', '.join(rows)}"
            for row in self.claim.classification_report
            if row not in rows
        ]
        if problems:
            raise ConfigError(*problems)

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
        verdicts = {judgement.verdict for judgement in self.judgements}
        if self.wrong_counts or Verdict.CONTRADICTED in verdicts:
            return Verdict.CONTRADICTED
        return Verdict.UNDECIDED if Verdict.UNDECIDED in verdicts else Verdict.SUPPORTED

    def describe_verdict(self) -> list[str]:
        """Returns the verdict on the claim and the reasons for it, as a few lines of Markdown."""
        accuracy = self.judgements[0]
        verdicts = [judgement.verdict for judgement in self.judgements]
        numbers = ", ".join(f"{verdicts.count(option)} {option}" for option in Verdict)
        lines = [
            f"**The claim is {self.verdict}.** Metrics: {len(verdicts)} in total, {numbers}.",
            (
                f"Accuracy: the published value is {accuracy.published_text}. The measured mean is "
                f"{accuracy.mean:.4f} over {len(accuracy.values)} seeds, {_describe_difference(accuracy)}, with a "
                f"range from {accuracy.range_text}. The prediction interval of one more run is "
                f"{accuracy.interval_text}."
            ),
            *(f"{line}." for line in self.wrong_counts),
        ]
        lines += [
            f"{judgement.name}: the published value is {judgement.published_text}, but the prediction interval "
            f"of one more run is {judgement.interval_text}."
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
            f"{judgement.name}: the prediction interval of one more run is {judgement.interval_text}, which is too "
            "wide to decide."
            for judgement in self.judgements
            if judgement.verdict is Verdict.UNDECIDED
        ]

    def simulate_power(self) -> tuple[float, dict[str, float]]:
        """Simulates the fraction of contradicted claims, if runs have the measured mean and standard deviation.

        Returns the fraction of true claims, and that of claims of other accuracies, by the claimed accuracy.
        """
        accuracy = self.judgements[0]
        decimals, images, step = accuracy.decimals, accuracy.images, 10**-accuracy.decimals
        while step < accuracy.std / 2:  # the test does not distinguish claims that are closer
            step *= 10
        generator = np.random.default_rng(0)
        values = generator.normal(accuracy.mean, accuracy.std, (SIMULATIONS, len(accuracy.values)))
        one_more = np.round(generator.normal(accuracy.mean, accuracy.std, SIMULATIONS), decimals)
        nearest = round(accuracy.mean, decimals)
        claims = [nearest + away * step for away in range(-_NEIGHBORS, _NEIGHBORS + 1) if nearest + away * step <= 1]
        other_claims = {
            f"{claimed:.{decimals}f}": compute_contradiction_rate(values, claimed, decimals, images)
            for claimed in claims
        }
        return compute_contradiction_rate(values, one_more, decimals, images), other_claims

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
        subtitle = (
            f"{len(metrics)} metrics, {len(self.results.main_arm.runs)} seeds. "
            "A published value is contradicted if the line does not reach the grey band"
        )
        plots.draw_published_metrics(
            [list(row) for _, row in rows], self.claim.title, subtitle, folder / self.plot_file
        )


def _describe_difference(metric: Judgement) -> str:
    """Returns how much the measured mean is above or below the published value: ``0.0006 below it``."""
    difference = f"{abs(metric.mean - metric.published):.4f}"
    if not float(difference):
        return "equal to it"
    return f"{difference} {'above' if metric.mean > metric.published else 'below'} it"

"""The verdict on an experiment, whether it has a target or a claim: as a word, as text, and as data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from trainyard.analysis.claims import claim_page, target_page
from trainyard.analysis.claims.judging import judge
from trainyard.analysis.claims.results import Results
from trainyard.analysis.claims.spec import Claim
from trainyard.config import format_suggestion
from trainyard.errors import ConfigError


def determine_verdict(results: Results) -> str:
    """Returns ``met`` or ``missed`` for a target; ``supported``, ``contradicted`` or ``undecided`` for a claim."""
    if isinstance(results.spec, Claim):
        return claim_page.determine_verdict(results)
    return "met" if target_page.is_met(results) else "missed"


def describe_verdict(results: Results) -> list[str]:
    """Returns the verdict and the reasons for it, as a few lines of Markdown."""
    if isinstance(results.spec, Claim):
        return claim_page.describe_verdict(results)
    return target_page.describe_verdict(results)


def check_report_rows(results: Results) -> None:
    """Checks that the classification reports of the runs have every row of the claim.

    Does nothing if the experiment has a target instead of a claim.

    Raises:
        ConfigError: If a row is missing; lists the available rows.
    """
    if not isinstance(results.spec, Claim):
        return
    rows = list(results.main_arm.runs[0].report)
    problems = [
        f"classification_report.{row}: the data set has no such class.{format_suggestion(row, rows)} "
        f"Available: {', '.join(rows)}"
        for row in results.spec.classification_report
        if row not in rows
    ]
    if problems:
        raise ConfigError(*problems)


def render_page(results: Results) -> str:
    """Returns the README of a record, in Markdown."""
    if isinstance(results.spec, Claim):
        return claim_page.render_claim_page(results)
    return target_page.render_target_page(results)


def build_summary(results: Results) -> dict[str, Any]:
    """Returns the verdict with all values that it is based on, as JSON-compatible data."""
    summary: dict[str, Any] = {
        "title": results.spec.title,
        "verdict": str(determine_verdict(results)),
        "about": results.about,
    }
    if isinstance(results.spec, Claim):
        summary["wrong_counts"] = claim_page.find_wrong_counts(results)
        summary["cells"] = [
            {**asdict(judgement.metric), **{key: value for key, value in asdict(judgement).items() if key != "metric"}}
            for judgement in judge(claim_page.build_claimed_metrics(results))
        ]
    return {**summary, "arms": [asdict(arm) for arm in results.arms]}

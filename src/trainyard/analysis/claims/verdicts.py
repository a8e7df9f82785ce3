"""What is to be said of an experiment, whichever it is held against: in a word, in lines, and as data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from trainyard.analysis.claims import claim_page, target_page
from trainyard.analysis.claims.judging import judge
from trainyard.analysis.claims.results import Results
from trainyard.analysis.claims.spec import Claim
from trainyard.config.registry import did_you_mean
from trainyard.errors import ConfigError


def verdict_of(results: Results) -> str:
    """Returns ``met`` or ``missed`` of a target; ``supported``, ``contradicted`` or ``undecided`` of a claim."""
    if isinstance(results.aim, Claim):
        return claim_page.verdict_of(results)
    return "met" if target_page.is_met(results) else "missed"


def describe_verdict(results: Results) -> list[str]:
    """Returns the verdict in a few lines of Markdown, with what it rests on."""
    if isinstance(results.aim, Claim):
        return claim_page.describe_verdict(results)
    return target_page.describe_verdict(results)


def refuse_other_rows(results: Results) -> None:
    """Checks that our runs have every row that was published.

    Raises:
        ConfigError: If one is missing; names those that there are.
    """
    if not isinstance(results.aim, Claim):
        return
    rows = list(results.ours.runs[0].report)
    problems = [
        f"classification_report.{row}: there is no such class.{did_you_mean(row, rows)} There are: {', '.join(rows)}"
        for row in results.aim.classification_report
        if row not in rows
    ]
    if problems:
        raise ConfigError(*problems)


def write_page(results: Results) -> str:
    """Returns the whole page."""
    if isinstance(results.aim, Claim):
        return claim_page.write_claim_page(results)
    return target_page.write_target_page(results)


def summarise(results: Results) -> dict[str, Any]:
    """Returns the verdict with all that it rests on, as JSON holds it."""
    told: dict[str, Any] = {"title": results.aim.title, "verdict": str(verdict_of(results)), "about": results.about}
    if isinstance(results.aim, Claim):
        told["wrong_counts"] = claim_page.wrong_counts(results)
        told["cells"] = [
            {**asdict(one.cell), **{key: value for key, value in asdict(one).items() if key != "cell"}}
            for one in judge(claim_page.cells_of(results))
        ]
    return {**told, "arms": [asdict(arm) for arm in results.arms]}

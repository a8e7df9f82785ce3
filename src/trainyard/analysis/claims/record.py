"""The record of an experiment: verdict, page, plot and results, and the card of the sweep that chose its recipe."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from trainyard.analysis.claims import claim_page, target_page
from trainyard.analysis.claims.judging import Verdict
from trainyard.analysis.claims.provenance import check_recipe_matches_search
from trainyard.analysis.claims.results import RESULTS_FILE, Results, load_results, write_results
from trainyard.analysis.claims.spec import Claim
from trainyard.config import format_suggestion
from trainyard.errors import ConfigError
from trainyard.evaluation import estimate_mean
from trainyard.reporting import format_provenance, plots
from trainyard.system import atomic_write

PAGE = "README.md"


def determine_verdict(results: Results) -> str:
    """Returns ``met`` or ``missed`` for a target; ``supported``, ``contradicted`` or ``undecided`` for a claim."""
    if isinstance(results.spec, Claim):
        return claim_page.determine_verdict(results)
    return "met" if target_page.is_met(results) else "missed"


def describe_verdict(results: Results) -> list[str]:
    """Returns the verdict and the reasons for it, as a few lines of Markdown."""
    is_claim = isinstance(results.spec, Claim)
    return claim_page.describe_verdict(results) if is_claim else target_page.describe_verdict(results)


def check_report_rows(results: Results) -> None:
    """Raises ConfigError if the classification reports of the runs lack a row of the claim; lists the available rows.

    Does nothing if the experiment has a target instead of a claim.
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
    is_claim = isinstance(results.spec, Claim)
    blocks = [
        f"# {results.spec.title}",
        f"Written by `trainyard reproduce` from `{RESULTS_FILE}`. Do not edit this page by hand.",
        results.spec.about,
        *(claim_page.render_body(results) if is_claim else target_page.render_body(results)),
        format_provenance(results.about),
    ]
    return "\n\n".join(block.strip() for block in blocks) + "\n"


def build_summary(results: Results) -> dict[str, Any]:
    """Returns the verdict with all values that it is based on, as JSON-compatible data."""
    summary: dict[str, Any] = {
        "title": results.spec.title,
        "verdict": str(determine_verdict(results)),
        "about": results.about,
    }
    if isinstance(results.spec, Claim):
        cells = [asdict(judgement) for judgement in claim_page.judge_claim(results)]
        summary["wrong_counts"] = claim_page.find_wrong_counts(results)
        summary["cells"] = [cell.pop("metric") | cell for cell in cells]
    return {**summary, "arms": [asdict(arm) for arm in results.arms]}


def write_record(out: Path, results: Results, card: Path | None = None) -> None:
    """Writes all files of a record.

    Args:
        out: The folder of the record. It is created if it does not exist.
        results: The results of the experiment. If they have no search, the search of the existing record is used.
        card: The card of the sweep that chose the recipe, which is copied. None leaves the existing card unchanged.
    """
    out.mkdir(parents=True, exist_ok=True)
    if results.search is None:
        results = replace(results, search=_load_existing_search(out, results))
    write_results(out, results)
    if card and results.search and results.search["card"]:
        shutil.copyfile(card, out / results.search["card"])
    with atomic_write(out / PAGE) as partial:
        partial.write_text(render_page(results))
    _draw_plot(results, out)


def _load_existing_search(out: Path, results: Results) -> dict[str, Any] | None:
    """Returns the search of the existing record, or None if its sweep or its recipe has changed."""
    if isinstance(results.spec, Claim) or results.spec.search is None:
        return None
    try:
        search = load_results(out).search
        if search and search["name"] == results.spec.search:
            check_recipe_matches_search(search, results.spec.arms[results.spec.main_arm_name])
            return search
    except ConfigError:  # there is no record, its format is outdated, or the recipe has changed
        pass
    return None


def _draw_plot(results: Results, out: Path) -> None:
    """Draws the plot of a record into its folder."""
    if not isinstance(results.spec, Claim):
        means = {arm.name: estimate_mean(arm.accuracies, results.accuracy_step) for arm in results.arms}
        plots.draw_arm_accuracies(
            {arm.name: arm.accuracies for arm in results.arms},
            {name: (mean.value, mean.low, mean.high) for name, mean in means.items()},
            results.spec.goal,
            out / target_page.PLOT_FILE,
        )
        return
    metrics = [
        plots.PublishedMetric(
            judgement.metric.name,
            (judgement.rounding_low, judgement.rounding_high),
            (judgement.low, judgement.high),
            judgement.metric.values,
            judgement.verdict is not Verdict.CONTRADICTED,
        )
        for judgement in claim_page.judge_claim(results)
    ]
    rows = groupby(metrics, lambda metric: metric.name.rpartition(" ")[0])
    subtitle = f"{len(metrics)} metrics, {len(results.main_arm.runs)} seeds"
    plots.draw_published_metrics(
        [list(row) for _, row in rows], results.spec.title, subtitle, out / claim_page.PLOT_FILE
    )

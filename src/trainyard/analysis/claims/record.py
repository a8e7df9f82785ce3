"""Writes the files of a record: results, page, plot, and the card of the sweep that chose its recipe."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from trainyard.analysis.claims import claim_page, target_page
from trainyard.analysis.claims.judging import Judgement, Verdict, judge
from trainyard.analysis.claims.results import Results, load_results, write_results
from trainyard.analysis.claims.selection import check_recipe_matches_search
from trainyard.analysis.claims.spec import Claim
from trainyard.analysis.claims.verdicts import render_page
from trainyard.errors import ConfigError
from trainyard.evaluation import estimate_mean
from trainyard.reporting import plots
from trainyard.system import atomic_write

PAGE = "README.md"


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
    draw_plot(results, out)


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


def draw_plot(results: Results, out: Path) -> None:
    """Draws the plot of a record into its folder."""
    if isinstance(results.spec, Claim):
        judgements = judge(claim_page.build_claimed_metrics(results))
        rows = groupby(judgements, lambda judgement: judgement.metric.name.rpartition(" ")[0])
        groups = [[_build_published_metric(judgement) for judgement in row] for _, row in rows]
        subtitle = f"{len(judgements)} metrics, {len(results.main_arm.runs)} seeds"
        plots.draw_published_metrics(groups, results.spec.title, subtitle, out / claim_page.PLOT_FILE)
        return
    estimates = {arm.name: estimate_mean(arm.accuracies, results.accuracy_step) for arm in results.arms}
    plots.draw_arm_accuracies(
        {arm.name: arm.accuracies for arm in results.arms},
        {name: (mean.value, mean.low, mean.high) for name, mean in estimates.items()},
        results.spec.goal,
        out / target_page.PLOT_FILE,
    )


def _build_published_metric(judgement: Judgement) -> plots.PublishedMetric:
    """Converts a judgement to the data that the plot of a claim draws for one metric."""
    return plots.PublishedMetric(
        judgement.metric.name,
        (judgement.rounding_low, judgement.rounding_high),
        (judgement.low, judgement.high),
        judgement.metric.values,
        judgement.verdict is not Verdict.CONTRADICTED,
    )

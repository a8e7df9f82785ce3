"""A record's files: results, page, picture, and the card of the sweep that chose its recipe."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from trainyard.analysis.claims import claim_page, target_page
from trainyard.analysis.claims.judging import Judgement, Verdict, judge
from trainyard.analysis.claims.results import Results, load_results, save_results
from trainyard.analysis.claims.selection import refuse_other_recipe
from trainyard.analysis.claims.spec import Claim
from trainyard.analysis.claims.verdicts import write_page
from trainyard.errors import ConfigError
from trainyard.evaluation.intervals import estimate_mean
from trainyard.reporting import plots
from trainyard.system.files import whole_file

PAGE = "README.md"


def write_record(out: Path, results: Results, card: Path | None = None) -> None:
    """Writes all files of a record.

    Args:
        out: The folder; it is made.
        results: What they are made of. Without a search those of an earlier record there keep theirs.
        card: Of the sweep that chose the recipe, to be copied; None: what is there stays.
    """
    out.mkdir(parents=True, exist_ok=True)
    if results.search is None:
        results = replace(results, search=_kept_search(out, results))
    save_results(out, results)
    if card and results.search and results.search["card"]:
        shutil.copyfile(card, out / results.search["card"])
    with whole_file(out / PAGE) as partial:
        partial.write_text(write_page(results))
    draw_picture(results, out)


def _kept_search(out: Path, results: Results) -> dict[str, Any] | None:
    """Returns how an earlier record's recipe was chosen, where that is still the sweep and the recipe."""
    if isinstance(results.aim, Claim) or results.aim.search is None:
        return None
    try:
        search = load_results(out).search
        if search and search["name"] == results.aim.search:
            refuse_other_recipe(search, results.aim.arms[results.aim.ours])
            return search
    except ConfigError:  # there is none, it is of an older format, or the recipe is another by now
        pass
    return None


def draw_picture(results: Results, out: Path) -> None:
    """Draws the picture of a record."""
    if isinstance(results.aim, Claim):
        judgements = judge(claim_page.cells_of(results))
        rows = groupby(judgements, lambda judgement: judgement.cell.name.rpartition(" ")[0])
        groups = [[_band(judgement) for judgement in row] for _, row in rows]
        subtitle = f"{len(judgements)} figures; {len(results.ours.runs)} seeds of ours each"
        plots.draw_bands(groups, results.aim.title, subtitle, out / claim_page.PICTURE)
        return
    found = {arm.name: estimate_mean(arm.accuracies) for arm in results.arms}
    plots.draw_arms(
        {arm.name: arm.accuracies for arm in results.arms},
        {name: (mean.value, mean.low, mean.high) for name, mean in found.items()},
        results.aim.goal,
        out / target_page.PICTURE,
    )


def _band(judgement: Judgement) -> plots.Band:
    return plots.Band(
        judgement.cell.name,
        (judgement.rounding_low, judgement.rounding_high),
        (judgement.low, judgement.high),
        judgement.cell.values,
        judgement.verdict is not Verdict.CONTRADICTED,
    )

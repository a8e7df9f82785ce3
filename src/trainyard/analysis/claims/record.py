"""The record of an experiment: verdict, page, plot and results, and the card of the sweep that chose its recipe."""

from __future__ import annotations

import shlex
import shutil
import statistics
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainyard.analysis.claims import judging
from trainyard.analysis.claims.claim_page import ClaimPage
from trainyard.analysis.claims.provenance import check_recipe_matches_search
from trainyard.analysis.claims.results import Results, load_results, to_percent, write_results
from trainyard.analysis.claims.spec import Claim
from trainyard.analysis.claims.target_page import TargetPage
from trainyard.errors import ConfigError
from trainyard.reporting import format_count, format_duration, format_provenance, format_value
from trainyard.system import atomic_write

PAGE = "README.md"


def get_page(results: Results) -> ClaimPage | TargetPage:
    """Returns the page of a record, with the verdict."""
    spec = results.spec
    return ClaimPage(results, spec) if isinstance(spec, Claim) else TargetPage(results, spec)


def render_page(results: Results) -> str:
    """Returns the README of a record, in Markdown."""
    page = get_page(results)
    return render_markdown(
        page.template,
        results=results,
        spec=results.spec,
        arm=results.main_arm,
        page=page,
        criterion=judging,
        provenance=format_provenance(results.about),
    )


def render_markdown(template: str, **values: Any) -> str:  # noqa: ANN401 - template values can be of any type
    """Returns a Markdown page from a template of this package."""
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("trainyard.analysis.claims"),
        autoescape=False,  # noqa: S701 - the pages are Markdown, not HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {
        "count": format_count,
        "cell": lambda text: text.replace("|", "\\|"),
        "duration": format_duration,
        "percent": to_percent,
        "shell": shlex.join,
        "value": format_value,
    }
    templates.globals["statistics"] = statistics
    return templates.get_template(template).render(**values)


def write_record(out: Path, results: Results, card: Path | None = None) -> None:
    """Writes all files of a record into a folder, which is created if it does not exist.

    If the results have no search, the search of the existing record is used. `card` is the card of the sweep that chose
    the recipe, which is copied; None leaves the existing card unchanged.
    """
    out.mkdir(parents=True, exist_ok=True)
    if results.search is None:
        results = replace(results, search=_load_existing_search(out, results))
    write_results(out, results)
    if card and results.search and results.search["card"]:
        shutil.copyfile(card, out / results.search["card"])
    with atomic_write(out / PAGE) as partial:
        partial.write_text(render_page(results))
    get_page(results).draw_plot(out)


def _load_existing_search(out: Path, results: Results) -> dict[str, Any] | None:
    """Returns the search of the existing record, or None if its sweep or its recipe has changed."""
    if isinstance(results.spec, Claim) or results.spec.search is None:
        return None
    with suppress(ConfigError):  # there is no record, its format is outdated, or the recipe has changed
        search = load_results(out).search
        if search and search["name"] == results.spec.search:
            check_recipe_matches_search(search, results.spec.arms[results.spec.main_arm_name])
            return search
    return None

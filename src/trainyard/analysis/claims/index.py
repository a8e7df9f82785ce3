"""The overview of all experiments: ``experiments/README.md``, generated from the records."""

from __future__ import annotations

import statistics
from pathlib import Path

from trainyard.analysis.claims.claim_page import ClaimPage
from trainyard.analysis.claims.record import PAGE, get_page, render_markdown
from trainyard.analysis.claims.results import RESULTS_FILE, load_results
from trainyard.analysis.claims.spec import CLAIM_FILE, TARGET_FILE, Claim, load_spec
from trainyard.analysis.claims.target_page import TargetPage
from trainyard.reporting import Table, format_duration
from trainyard.system import atomic_write

_MARK = "Written by `trainyard reproduce --record`"
"""Identifies a generated page. A page without this text is never overwritten."""


def write_index(folder: Path) -> bool:
    """Writes the overview into the folder of all experiments. Returns False if its README was not generated.

    Raises:
        ConfigError: If a record cannot be read.
    """
    page = folder / PAGE
    if page.exists() and _MARK not in page.read_text():
        return False
    text = render_index_page(folder)
    with atomic_write(page) as partial:
        partial.write_text(text)
    return True


def render_index_page(folder: Path) -> str:
    """Returns the overview of all experiments, in Markdown.

    Raises:
        ConfigError: If a record cannot be read.
    """
    specs = {file.parent.name: file for name in (CLAIM_FILE, TARGET_FILE) for file in sorted(folder.glob(f"*/{name}"))}
    pages = {
        name: get_page(load_results(folder / name)) for name in sorted(specs) if (folder / name / RESULTS_FILE).exists()
    }
    columns = ["experiment", "expected, %", "test accuracy, %", "verdict", "seeds", "parameters", "epochs",
               "time of all runs", "date"]  # fmt: skip
    return render_markdown(
        "index.md",
        mark=_MARK,
        table=Table(columns, [_build_row(name, page) for name, page in pages.items()]).to_markdown(),
        pages=pages,
        waiting={name: load_spec(specs[name]) for name in sorted(specs) if name not in pages},
        headings={
            file.parent.name: _find_heading(file)
            for file in sorted(folder.glob(f"*/{PAGE}"))
            if file.parent.name not in pages
        },
    )


def _build_row(name: str, page: ClaimPage | TargetPage) -> list[str]:
    """Returns the cells of an experiment's row. Accuracies are in percent, with mean and standard deviation."""
    spec, main_arm, about = page.results.spec, page.results.main_arm, page.results.about
    expected = f"{100 * spec.accuracy:g} (claim)" if isinstance(spec, Claim) else f"at least {100 * spec.goal:g}"
    std = statistics.stdev(main_arm.accuracies)
    return [
        f"[`{name}`]({name}/{PAGE})",
        expected,
        f"{100 * statistics.mean(main_arm.accuracies):.3f} ± {100 * std:.3f}",
        page.verdict,
        f"{len(main_arm.runs)}",
        f"{main_arm.parameters:,}",
        f"{main_arm.epochs}",
        format_duration(about["seconds"]),
        about["date"].split()[0],
    ]


def _find_heading(page: Path) -> str:
    """Returns the first heading of a page."""
    headings = (line.lstrip("# ").strip() for line in page.read_text().splitlines() if line.startswith("# "))
    return next(headings, "no heading")

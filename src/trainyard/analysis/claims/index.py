"""The overview of all experiments: ``experiments/README.md``, generated from the records."""

from __future__ import annotations

from pathlib import Path

from trainyard.analysis.claims.record import PAGE, get_page, render_markdown
from trainyard.analysis.claims.results import RESULTS_FILE, load_results
from trainyard.analysis.claims.spec import CLAIM_FILE, TARGET_FILE, load_spec
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
    """Returns the overview of all experiments, in Markdown. Raises ConfigError if a record cannot be read."""
    specs = {file.parent.name: file for name in (CLAIM_FILE, TARGET_FILE) for file in sorted(folder.glob(f"*/{name}"))}
    pages = {
        name: get_page(load_results(folder / name)) for name in sorted(specs) if (folder / name / RESULTS_FILE).exists()
    }
    return render_markdown(
        "index.md",
        mark=_MARK,
        pages=pages,
        waiting={name: load_spec(specs[name]) for name in sorted(specs) if name not in pages},
        headings={
            file.parent.name: _find_heading(file)
            for file in sorted(folder.glob(f"*/{PAGE}"))
            if file.parent.name not in pages
        },
    )


def _find_heading(page: Path) -> str:
    """Returns the first heading of a page."""
    headings = (line.lstrip("# ").strip() for line in page.read_text().splitlines() if line.startswith("# "))
    return next(headings, "no heading")

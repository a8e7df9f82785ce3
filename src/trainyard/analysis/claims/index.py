"""The table across experiments: ``experiments/README.md``, made of all records and never written by hand."""

from __future__ import annotations

import statistics
from pathlib import Path

from trainyard.analysis.claims.record import PAGE
from trainyard.analysis.claims.results import FILE, Results, load_results
from trainyard.analysis.claims.spec import CLAIM, TARGET, Claim, read_aim
from trainyard.analysis.claims.verdicts import describe_verdict, verdict_of
from trainyard.reporting.formatting import show_seconds
from trainyard.reporting.markdown import Table
from trainyard.system.files import whole_file

_MARK = "Written by `trainyard reproduce --record`"
"""What tells a page of ours from one that somebody wrote."""

_ABOUT = (
    "What was published (`claim.yaml`) or is aimed at (`target.yaml`), and what our own runs came to. Behind each "
    "name: every run with its seed, versions and machine, the pictures, and the command that makes them again. "
    "`trainyard reproduce NAME` trains an experiment anew and judges what comes out."
)


def write_index(folder: Path) -> bool:
    """Writes the table across experiments into the folder that holds theirs.

    Args:
        folder: Of all experiments.

    Returns:
        Whether it was written; not where a page stands there that somebody wrote.

    Raises:
        ConfigError: If a record can't be read.
    """
    page = folder / PAGE
    if page.exists() and _MARK not in page.read_text():
        return False
    text = write_index_page(folder)
    with whole_file(page) as partial:
        partial.write_text(text)
    return True


def write_index_page(folder: Path) -> str:
    """Returns the table across experiments, in Markdown.

    Raises:
        ConfigError: If a record can't be read.
    """
    aims = sorted(file for kind in (CLAIM, TARGET) for file in folder.glob(f"*/{kind}"))
    records = {file.parent.name: load_results(file.parent) for file in aims if (file.parent / FILE).exists()}
    waiting = [f"- `{file.parent.name}`: {read_aim(file).title}" for file in aims if file.parent.name not in records]
    pages = sorted(file for file in folder.glob(f"*/{PAGE}") if file.parent.name not in records)
    beside = [f"- [`{page.parent.name}/`]({page.parent.name}/{PAGE}): {_heading(page)}" for page in pages]
    blocks = [
        "# Experiments",
        f"{_MARK} from the `{FILE}` of every experiment; nothing here was typed by hand.",
        _ABOUT,
        _table(records),
        *(
            f"## {name}: {results.aim.title}\n\n{_lines(describe_verdict(results))}"
            for name, results in records.items()
        ),
        *(["## Not measured yet", "\n".join(waiting)] if waiting else ()),
        *(["## Beside them", "\n".join(beside)] if beside else ()),
    ]
    return "\n\n".join(blocks) + "\n"


def _table(records: dict[str, Results]) -> str:
    columns = ["experiment", "wanted, %", "test accuracy, %", "verdict", "seeds", "parameters", "epochs", "all runs",
               "measured"]  # fmt: skip
    return Table(columns, [_row(name, results) for name, results in records.items()]).to_markdown()


def _row(name: str, results: Results) -> list[str]:
    aim, ours = results.aim, results.ours
    wanted = f"{100 * aim.accuracy:g} published" if isinstance(aim, Claim) else f"{100 * aim.goal:g} or more"
    spread = statistics.stdev(ours.accuracies)
    return [
        f"[`{name}`]({name}/{PAGE})",
        wanted,
        f"{100 * statistics.mean(ours.accuracies):.3f} ± {100 * spread:.3f}",
        f"{verdict_of(results)}",
        f"{len(ours.runs)}",
        f"{ours.parameters:,}",
        f"{ours.epochs}",
        show_seconds(results.about["seconds"]),
        results.about["date"].split()[0],
    ]


def _lines(verdict: list[str]) -> str:
    return "\n".join(f"- {line.replace('**', '')}" for line in verdict if line)


def _heading(page: Path) -> str:
    """Returns the first heading of a page."""
    headings = (line.lstrip("# ").strip() for line in page.read_text().splitlines() if line.startswith("# "))
    return next(headings, "no heading")

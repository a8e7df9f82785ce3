"""The overview of all experiments: ``experiments/README.md``, generated from the records."""

from __future__ import annotations

import statistics
from pathlib import Path

from trainyard.analysis.claims.record import PAGE, get_page
from trainyard.analysis.claims.results import RESULTS_FILE, Results, load_results
from trainyard.analysis.claims.spec import CLAIM_FILE, TARGET_FILE, Claim, load_spec
from trainyard.reporting import Table, format_duration
from trainyard.system import atomic_write

_MARK = "Written by `trainyard reproduce --record`"
"""Identifies a generated page. A page without this text is never overwritten."""

_ABOUT = (
    "Each experiment compares runs with a published result (`claim.yaml`) or with a target (`target.yaml`). The page "
    "of an experiment lists every run with its seed, and has the plots, the package versions, the machine, and the "
    "command that repeats the runs. `trainyard reproduce NAME` trains an experiment again and judges the new results."
)


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
    specs = sorted(file for file_name in (CLAIM_FILE, TARGET_FILE) for file in folder.glob(f"*/{file_name}"))
    records = {file.parent.name: load_results(file.parent) for file in specs if (file.parent / RESULTS_FILE).exists()}
    waiting = [f"- `{file.parent.name}`: {load_spec(file).title}" for file in specs if file.parent.name not in records]
    pages = sorted(file for file in folder.glob(f"*/{PAGE}") if file.parent.name not in records)
    other_pages = [f"- [`{page.parent.name}/`]({page.parent.name}/{PAGE}): {_find_heading(page)}" for page in pages]
    blocks = [
        "# Experiments",
        f"{_MARK} from the `{RESULTS_FILE}` of each experiment. Do not edit this page by hand.",
        _ABOUT,
        _render_table(records),
        *(f"## {name}: {results.spec.title}\n\n{_render_verdict(results)}" for name, results in records.items()),
        *(["## Not measured yet", "\n".join(waiting)] if waiting else ()),
        *(["## Other pages", "\n".join(other_pages)] if other_pages else ()),
    ]
    return "\n\n".join(blocks) + "\n"


def _render_table(records: dict[str, Results]) -> str:
    """Returns the table of all records in Markdown: a row per experiment, in the order of the dictionary."""
    columns = ["experiment", "expected, %", "test accuracy, %", "verdict", "seeds", "parameters", "epochs",
               "time of all runs", "date"]  # fmt: skip
    return Table(columns, [_build_experiment_row(name, results) for name, results in records.items()]).to_markdown()


def _build_experiment_row(name: str, results: Results) -> list[str]:
    """Returns the cells of an experiment's row. Accuracies are in percent, with mean and standard deviation."""
    spec, main_arm = results.spec, results.main_arm
    expected = f"{100 * spec.accuracy:g} (claim)" if isinstance(spec, Claim) else f"at least {100 * spec.goal:g}"
    std = statistics.stdev(main_arm.accuracies)
    return [
        f"[`{name}`]({name}/{PAGE})",
        expected,
        f"{100 * statistics.mean(main_arm.accuracies):.3f} ± {100 * std:.3f}",
        get_page(results).verdict,
        f"{len(main_arm.runs)}",
        f"{main_arm.parameters:,}",
        f"{main_arm.epochs}",
        format_duration(results.about["seconds"]),
        results.about["date"].split()[0],
    ]


def _render_verdict(results: Results) -> str:
    """Returns the verdict as a Markdown list, without bold text."""
    return "\n".join(f"- {line.replace('**', '')}" for line in get_page(results).describe_verdict())


def _find_heading(page: Path) -> str:
    """Returns the first heading of a page."""
    headings = (line.lstrip("# ").strip() for line in page.read_text().splitlines() if line.startswith("# "))
    return next(headings, "no heading")

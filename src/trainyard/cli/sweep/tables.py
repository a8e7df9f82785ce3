"""Prints the plan, the ranking and the summary of a sweep, and the list of sweeps.

In a terminal, long tables are shortened, and cells that do not fit are cut. Elsewhere tables are complete, with one
line per row, for files and `grep`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from omegaconf import OmegaConf
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainyard.config import find_component
from trainyard.evaluation import Ranking, Trial
from trainyard.reporting import SHOWN_TEST_METRICS, format_duration, format_metric, format_value

if TYPE_CHECKING:
    from trainyard.config import ModelConfig
    from trainyard.sweep import TrialStatus, Winner

Columns = Mapping[str, Sequence[str]]
"""A table of texts: the cells of each column by its title."""

_FIRST, _LAST = 50, 5
"""Number of trials at the beginning and at the end of a plan that a terminal shows."""
_MIN_TITLE = 5
_MAX_RANKED = 20
_MAX_FAILURES = 20
"""Maximum number of rows of a ranking and of failures that a terminal shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """The contents of the summary that is printed at the end of a sweep.

    Attributes:
        name: Name of the sweep.
        folder: Path of the sweep's folder, relative to the working directory.
        columns: Column titles of the ranking, whose rows are in `ranking`, the best first.
        verdict: The conclusion from the ranking, in a few sentences.
        winner: The best trial; None if the sweep has no objective, or no trial is done.
        failed: The trials that failed finally, with reasons and logs.
        ui: The command that opens the sweep in MLflow; None if nothing is tracked.
    """

    name: str
    folder: str
    columns: Sequence[str]
    ranking: Sequence[Sequence[str]]
    verdict: str
    winner: Winner | None
    failed: Sequence[TrialStatus]
    ui: str | None


def print_table(console: Console, columns: Columns) -> None:
    """Prints a table. Numbers are aligned to the right."""
    if console.is_terminal:
        console.print(build_table(columns))
        return
    padded = []  # Rich needs half a millisecond for a line, too much for ten thousand
    for title, cells in columns.items():
        column = [title, *cells]
        width = max(map(cell_len, column))
        is_number = is_numeric(cells)
        spaces = [" " * (width - cell_len(text)) for text in column]
        padded.append([s + text if is_number else text + s for s, text in zip(spaces, column, strict=True)])
    console.out("\n".join("  ".join(line).rstrip() for line in zip(*padded, strict=True)), highlight=False)


def build_table(columns: Columns, *, cut_titles: bool = False) -> Table:
    """Returns a table for a terminal. If it is too narrow, texts are cut. `cut_titles` cuts titles of numbers first."""
    table = start_table()
    for title, cells in columns.items():
        if is_numeric(cells):
            longest = max((len(cell) for cell in cells), default=0)
            max_width = max(longest, _MIN_TITLE) if cut_titles else None
            table.add_column(_build_cell(title), justify="right", no_wrap=True, max_width=max_width)
        else:
            table.add_column(_build_cell(title))
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(_build_cell, row))
    return table


def start_table() -> Table:
    """Returns an empty table without borders."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", collapse_padding=True)


def _build_cell(text: str) -> Text:
    """Returns a cell that is cut if its column is too narrow."""
    return Text(text, no_wrap=True, overflow="ellipsis")


def is_numeric(cells: Iterable[str]) -> bool:
    """Returns whether all texts but empty ones and ``...`` are numbers, possibly with commas between thousands."""
    try:
        for cell in cells:
            float(cell.replace(",", "").replace("...", "") or 0)
    except ValueError:
        return False
    return True


def build_setting_columns(trials: Sequence[Trial]) -> dict[str, list[str]]:
    """Returns a column per swept setting, and one for the seed if trials have different seeds."""
    paths = list(dict.fromkeys(path for trial in trials for path in trial.varied))
    columns = {
        title: [format_value(trial.varied[path]) if path in trial.varied else "" for trial in trials]
        for path, title in zip(paths, shorten_paths(paths), strict=True)
    }
    if "seed" not in paths and len({trial.seed for trial in trials}) > 1:
        columns["seed"] = [str(trial.seed) for trial in trials]
    return columns


def shorten_paths(paths: Sequence[str]) -> list[str]:
    """Returns the shortest ends of dotted paths that are unique among these paths."""
    titles = []
    for path in paths:
        parts = path.split(".")
        ends = [".".join(parts[start:]) for start in reversed(range(len(parts)))]
        titles.append(next((end for end in ends if sum(f".{o}".endswith(f".{end}") for o in paths) == 1), path))
    return titles


def print_plan(
    trials: Sequence[Trial],
    duplicates: int,
    name: str,
    slots: int | None,
    threads: int | None,
    *,
    console: Console | None = None,
) -> None:
    """Prints the trials that a sweep would run, without `duplicates` identical ones, and how they are run.

    `slots` trials run in parallel, or None if the launcher or its cluster decides. By default, each has a number of
    `threads`; None: it may use all cores.
    """
    console = console or Console(highlight=False)
    _print_plan_table(console, trials)
    skipped = f"; {_format_count(duplicates, 'duplicate')} skipped" if duplicates else ""
    parallelism = "one at a time" if slots == 1 else f"{slots} in parallel"
    if slots is None:
        parallelism = "as many in parallel as the launcher or its cluster allows"
    console.print()
    print_text(console, f"sweep {name}: {_format_count(len(trials), 'trial')}{_describe_points(trials)}{skipped}")
    print_text(console, parallelism + (f", with {_format_count(threads, 'thread')} each" if threads else ""))


def _print_plan_table(console: Console, trials: Sequence[Trial]) -> None:
    """Prints a row per trial. In a narrow terminal, labels replace the settings and the network."""
    is_shortened = console.is_terminal and len(trials) > _FIRST + _LAST + 1
    shown = [*trials[:_FIRST], *trials[-_LAST:]] if is_shortened else trials
    networks: dict[str, str] = {}
    columns = {
        "trial": [str(trial.number) for trial in shown],
        **build_setting_columns(shown),
        "network": [_format_network(trial, networks) for trial in shown],
        "parameters": ["" if trial.parameters is None else f"{trial.parameters:,}" for trial in shown],
    }
    if not fits(console, columns):
        del columns["network"]
    if not fits(console, columns):
        labels = {"settings": [trial.label for trial in shown]}
        columns = {"trial": columns["trial"]} | labels | {"parameters": columns["parameters"]}
    if is_shortened:
        for title, cells in columns.items():
            cells.insert(_FIRST, "..." if title == "trial" else "")
    print_table(console, columns)
    if is_shortened:
        print_text(console, f"not shown: {_format_count(len(trials) - len(shown), 'trial')}", "dim")


def fits(console: Console, columns: Columns) -> bool:
    """Returns whether a table can be printed without cutting its cells."""
    unlimited = console.options.update(max_width=10_000)
    return not console.is_terminal or console.measure(build_table(columns), options=unlimited).maximum <= console.width


def print_summary(summary: SweepReport, *, console: Console | None = None) -> None:
    """Prints the summary of a sweep: ranking, winner, commands, folder and failed trials."""
    console = console or Console(highlight=False)
    console.print()
    if summary.ranking:
        print_ranking(summary.ranking, summary.columns, console=console)
        console.print()
    print_text(console, summary.verdict)
    console.print()
    if summary.winner:
        _print_line(console, "winner", summary.winner.label, "bold")
        _print_line(console, "recipe", os.path.relpath(summary.winner.recipe))
        _print_line(console, "train it", summary.winner.command, is_command=True)
    _print_line(console, "files", summary.folder)
    if summary.ui:
        _print_line(console, "see it", summary.ui, is_command=True)
    print_failures(console, summary.failed, summary.name)


def print_ranking(rows: Sequence[Sequence[str]], columns: Sequence[str], *, console: Console | None = None) -> None:
    """Prints the rows of a ranking, the best first; in a terminal only its first rows."""
    console = console or Console(highlight=False)
    listed_rows = rows[:_MAX_RANKED] if console.is_terminal else rows
    table = dict(zip(columns, zip(*listed_rows, strict=True), strict=True))
    if fits(console, table):
        print_table(console, table)
    else:
        console.print(build_table(table, cut_titles=True))
    if len(listed_rows) < len(rows):
        console.print(Text(f"and {len(rows) - len(listed_rows):,} more", style="dim"))


def build_ranking_table(
    ranking: Ranking, label_title: str = "trial", *, settings: Sequence[str] = (), runs: Sequence[str] = ()
) -> tuple[list[str], list[list[str]]]:
    """Returns the column titles and the rows of a ranking, the best first.

    If points have several seeds, a mark (≈) shows which ones do not differ significantly from the best. Optional
    columns are the `settings`, by their keys in `RankedPoint.varied`, and `runs`, a text for each point.
    """
    objective, seeds = ranking.objective, ["seeds", "95 %"] if ranking.has_repeats else []
    tests = [name for name in SHOWN_TEST_METRICS if name != objective]
    titles = ["", label_title, *shorten_paths(settings), *([objective, *seeds] if objective else []), *tests]
    titles += ["parameters", "time", *(["run"] if runs else [])]
    rows = []
    for number, ranked in enumerate(ranking.points, start=1):
        mark = " ≈" if ranked.tied and ranking.n_tied > 1 and ranking.has_repeats else ""
        interval = "" if ranked.low is None or ranked.high is None else f"{ranked.low:.4f} to {ranked.high:.4f}"
        value = [ranked.describe(), *([str(ranked.n), interval] if seeds else [])] if objective else []
        rows.append(
            [
                f"{number}{mark}",
                ranked.label,
                *(format_value(ranked.varied[key]) if key in ranked.varied else "" for key in settings),
                *value,
                *(format_metric(name, ranked.metrics.get(name)) for name in tests),
                f"{ranked.parameters:,}" if ranked.parameters else "",
                format_duration(ranked.seconds) if ranked.seconds else "",
                *runs[number - 1 : number],
            ]
        )
    return titles, rows


def print_failures(console: Console, failed: Sequence[TrialStatus], sweep: str) -> None:
    """Prints one line per failed trial of a sweep; in a terminal only the first ones."""
    listed = failed[:_MAX_FAILURES] if console.is_terminal else failed
    lines = [
        f"trial {status.trial.number}, {status.trial.label}: {status.reason}"
        + (f" (log: {status.log})" if status.log else "")
        for status in listed
    ]
    if hidden_count := len(failed) - len(listed):
        lines.append(f"{hidden_count:,} more; to list all: trainyard sweep --status {sweep} | grep failed")
    for line in lines:
        _print_line(console, "failed", line, "red")


def _print_line(console: Console, title: str, text: str, style: str = "", *, is_command: bool = False) -> None:
    """Prints a labelled line; commands are not wrapped, so that they can be copied."""
    line = Text.assemble((f"{title:9} ", "dim"), (text, style))
    console.print(line, soft_wrap=is_command or not console.is_terminal)


def print_text(console: Console, text: str, style: str = "") -> None:
    """Prints a line of text; it is wrapped only in a terminal."""
    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)


def _format_network(trial: Trial, cache: dict[str, str]) -> str:
    """Returns the label of a trial's architecture. Trials share architectures, so labels are cached."""
    settings = trial.config["model"]
    key = repr(settings)
    if key not in cache:
        component = OmegaConf.structured(find_component("model", settings["name"]))
        cache[key] = cast("ModelConfig", OmegaConf.to_object(OmegaConf.merge(component, settings))).label
    return cache[key]


def _describe_points(trials: Sequence[Trial]) -> str:
    """Returns the number of points and of seeds; empty if every trial is a separate point."""
    counts = Counter(trial.point for trial in trials)
    if len(counts) == len(trials):
        return ""
    seeds = set(counts.values())
    per_point = f" with {_format_count(seeds.pop(), 'seed')} each" if len(seeds) == 1 else ""
    return f" ({_format_count(len(counts), 'point')}{per_point})"


def _format_count(number: int, noun: str) -> str:
    """Returns a number with its noun: ``'1 trial'``, ``'2 trials'``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

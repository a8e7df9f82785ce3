"""Prints the plan, the ranking and the summary of a sweep, and the list of sweeps.

In a terminal, long tables are shortened, and columns that do not fit are left out. Elsewhere tables are complete, with
one line per row, for files and `grep`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from omegaconf import OmegaConf
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainyard.config import find_component, shorten_paths
from trainyard.evaluation import Ranking, Trial
from trainyard.reporting import (
    SHOWN_TEST_METRICS,
    build_mark,
    format_count,
    format_duration,
    format_metric,
    format_value,
)
from trainyard.sweep import SweepFolder, SweepResult
from trainyard.system import print_labelled, print_rows, print_styled

if TYPE_CHECKING:
    from trainyard.config import ModelConfig

Columns = Mapping[str, Sequence[str]]
"""A table of texts: the cells of each column by its title."""

_FIRST, _LAST = 50, 5
"""Number of trials at the beginning and at the end of a plan that a terminal shows."""
_FIRST_REMOVED = ("parameters", "loss/test", "95 %")
_LAST_REMOVED = ("accuracy/test", "run", "seeds", "time")
"""The columns of a ranking that are left out in a narrow terminal, in this order; the settings are between them."""
_MAX_RANKED = 20
_MAX_FAILURES = 20
"""Maximum number of rows of a ranking and of failures that a terminal shows."""


def print_table(console: Console, columns: Columns) -> None:
    """Prints a table. Numbers are aligned to the right. A terminal that is too narrow has a block of lines per row."""
    if console.is_terminal:
        print_rows(build_table(columns), console=console)
        return
    padded = []  # Rich needs half a millisecond for a line, too much for ten thousand
    for title, cells in columns.items():
        column = [title, *cells]
        width, is_number = max(map(cell_len, column)), is_numeric(cells)
        spaces = [" " * (width - cell_len(text)) for text in column]
        padded.append([s + text if is_number else text + s for s, text in zip(spaces, column, strict=True)])
    console.out("\n".join("  ".join(line).rstrip() for line in zip(*padded, strict=True)), highlight=False)


def build_table(columns: Columns) -> Table:
    """Returns a table for a terminal. If it is too narrow, texts are cut."""
    table = start_table()
    for title, cells in columns.items():
        if is_numeric(cells):
            table.add_column(_build_cell(title), justify="right", no_wrap=True)
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
    columns = _build_value_columns(paths, [trial.varied for trial in trials])
    if "seed" not in paths and len({trial.seed for trial in trials}) > 1:
        columns["seed"] = [str(trial.seed) for trial in trials]
    return columns


def _build_value_columns(paths: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Returns a column per setting. The rows have the values by dotted path; a missing value is an empty cell."""
    return {
        title: [format_value(row[path]) if path in row else "" for row in rows]
        for path, title in zip(paths, shorten_paths(paths), strict=True)
    }


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
    skipped = f"; {format_count(duplicates, 'duplicate')} skipped" if duplicates else ""
    parallelism = "one at a time" if slots == 1 else f"{slots} in parallel"
    if slots is None:
        parallelism = "as many in parallel as the launcher or its cluster allows"
    console.print()
    number = f"{format_count(len(trials), 'trial')}{_describe_points(trials)}"
    print_styled(f"sweep {name}: {number}{skipped}", console=console)
    print_styled(parallelism + (f", with {format_count(threads, 'thread')} each" if threads else ""), console=console)


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
        print_styled(f"not shown: {format_count(len(trials) - len(shown), 'trial')}", "dim", console=console)


def fits(console: Console, columns: Columns) -> bool:
    """Returns whether a table can be printed without cutting its cells."""
    unlimited = console.options.update(max_width=10_000)
    return not console.is_terminal or console.measure(build_table(columns), options=unlimited).maximum <= console.width


def print_summary(name: str, result: SweepResult, *, console: Console | None = None) -> None:
    """Prints the ranking, the winner, the files and the failed trials of a sweep."""
    console = console or Console(highlight=False)
    console.print()
    if result.ranking.points:
        print_ranking(build_ranking_columns(result.ranking), result.ranking.objective, console=console)
        console.print()
    print_styled(result.verdict, console=console)
    console.print()
    if result.winner:
        print_labelled(console, "winner", result.winner.label, "bold")
        print_labelled(console, "recipe", os.path.relpath(result.winner.recipe))
    print_labelled(console, "files", os.path.relpath(result.folder))
    folder = SweepFolder(result.folder)
    failed = [(trial, reason, os.path.relpath(folder.get_log_file(trial.number))) for trial, reason in result.failed]
    print_failures(console, failed, name)


def print_ranking(columns: Columns, objective: str | None, *, console: Console | None = None) -> None:
    """Prints a ranking, the best first; in a terminal only its first rows, and the columns that fit."""
    console = console or Console(highlight=False)
    count = len(columns[""])
    shown = min(count, _MAX_RANKED) if console.is_terminal else count
    table = {title: cells[:shown] for title, cells in columns.items()}
    _rank, _label, *others = table
    settings = [title for title in others if title not in (objective, *_FIRST_REMOVED, *_LAST_REMOVED)]
    for title in (*_FIRST_REMOVED, *settings, *_LAST_REMOVED):
        if title != objective and not fits(console, table):
            table.pop(title, None)
    if fits(console, table):
        print_table(console, table)
    else:  # a line with rank and label, and one with the value
        for rank, text, *values in zip(*table.values(), strict=True):
            print_styled(f"{rank:4} {text}", console=console)
            print_styled(f"     {'  '.join(values)}", "bold", console=console)
    if shown < count:
        print_styled(f"and {count - shown:,} more", "dim", console=console)


def build_ranking_columns(
    ranking: Ranking, label_title: str = "point", *, settings: Sequence[str] = (), runs: Sequence[str] = ()
) -> dict[str, Sequence[str]]:
    """Returns the columns of a ranking, the best first. The title of the column with the ranks is empty.

    If points have several seeds, ≈ marks those that do not differ significantly from the best, and ? those that have
    too few seeds to be tested. Optional columns are the `settings`, by their keys in `RankedPoint.varied`, and `runs`,
    a text for each point.
    """
    points, objective = ranking.points, ranking.objective
    marks = [build_mark(ranking, point) for point in points]
    columns: dict[str, Sequence[str]] = {
        "": [f"{number}{mark}" for number, mark in enumerate(marks, start=1)],
        label_title: [point.label for point in points],
        **_build_value_columns(settings, [point.varied for point in points]),
    }
    if objective:
        columns[objective] = [point.describe() for point in points]
    if objective and ranking.has_repeats:
        columns["seeds"] = [f"{point.n}, pruned" if point.is_pruned else str(point.n) for point in points]
        columns["95 %"] = [
            "" if point.low is None or point.high is None else f"{point.low:.4f} to {point.high:.4f}"
            for point in points
        ]
    for name in SHOWN_TEST_METRICS:
        if name != objective:
            columns[name] = [format_metric(name, point.metrics.get(name)) for point in points]
    columns["parameters"] = [f"{point.parameters:,}" if point.parameters else "" for point in points]
    columns["time"] = [format_duration(point.seconds) if point.seconds else "" for point in points]
    return columns | ({"run": runs} if runs else {})


def print_failures(console: Console, failed: Sequence[tuple[Trial, str, str]], sweep: str) -> None:
    """Prints a line per failed trial, from its reason and its log file; in a terminal only the first ones."""
    listed = failed[:_MAX_FAILURES] if console.is_terminal else failed
    for trial, reason, log in listed:
        suffix = f" (log: {log})" if log else ""
        print_labelled(console, "failed", f"trial {trial.number}, {trial.label}: {reason}{suffix}", "red")
    if hidden_count := len(failed) - len(listed):
        text = f"{hidden_count:,} more; to list all: trainyard sweep --status {sweep} | grep failed"
        print_labelled(console, "failed", text, "red")


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
    per_point = f" with {format_count(seeds.pop(), 'seed')} each" if len(seeds) == 1 else ""
    return f" ({format_count(len(counts), 'point')}{per_point})"

"""What is printed about a sweep that does not run: what it would do, how it stands, and what it came to.

In a terminal long tables are cut to what can be read; elsewhere they are whole, one line per row, for `grep` and files.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, cast

from omegaconf import OmegaConf
from rich.console import Console
from rich.text import Text

from trainyard.cli.sweep.columns import (
    Column,
    TrialColumns,
    build_table,
    column,
    label_column,
    print_table,
    setting_columns,
    show_metric,
    table_width,
    whole_columns,
)
from trainyard.cli.sweep.screen import draw_standing
from trainyard.config.registry import look_up
from trainyard.evaluation.ranking import Ranking
from trainyard.evaluation.trials import Trial
from trainyard.reporting.formatting import show_seconds
from trainyard.sweep.progress import Standing, TrialStatus

if TYPE_CHECKING:
    from trainyard.config.schema import ModelConfig
    from trainyard.sweep.recipe import Winner

_FIRST, _LAST = 50, 5
"""How many trials of a plan a terminal is given."""

_RANKED = 20
_FAILURES = 20
_TRIALS = 40
"""How many rows of a ranking, failures, and trials of a sweep a terminal is given."""

_TEST = ("accuracy/test", "loss/test")
"""What of the test images stands in a ranking."""

_COMMANDS = ("train it", "see it")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStatus:
    """How a sweep of this folder stands.

    Attributes:
        name: Its folder's.
        state: ``running``, ``interrupted``, ``failed`` or ``done``.
        pid: Of the process that runs it.
        done: How many trials are done.
        pruned: How many were pruned.
        failed: How many failed.
        todo: How many are left.
        objective: What it compares; None: nothing.
        best: The best value so far.
        best_label: What distinguishes the trial that has it.
        changed: When something last happened.
    """

    name: str
    state: str
    pid: int | None = None
    done: int
    pruned: int = 0
    failed: int
    todo: int
    objective: str | None
    best: float | None = None
    best_label: str = ""
    changed: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSummary:
    """What a sweep came to.

    Attributes:
        name: Its name.
        folder: Where all of it is, as the user would name it.
        columns: The titles of the ranking.
        ranking: Its rows, the best first.
        verdict: What the ranking comes to, in a few sentences.
        winner: None where nothing is compared, or nothing is done.
        failed: The trials that failed for good, with reasons and logs.
        ui: The command that shows it in MLflow; None where nothing is tracked.
    """

    name: str
    folder: str
    columns: Sequence[str]
    ranking: Sequence[Sequence[str]]
    verdict: str
    winner: Winner | None
    failed: Sequence[TrialStatus]
    ui: str | None


def print_plan(
    trials: Sequence[Trial],
    duplicates: int,
    name: str,
    side_by_side: int,
    threads: int | None,
    *,
    console: Console | None = None,
) -> None:
    """Prints what a sweep would run: a table of its trials, and how many run at a time.

    Args:
        trials: In the order of the plan.
        duplicates: How many more there would be if equal ones were not run once.
        name: Of the sweep.
        side_by_side: How many run at a time.
        threads: How many each is given that does not say so itself; None: it may take as many as there are cores.
        console: Where to print; else to stdout.
    """
    console = console or Console(highlight=False)
    columns = _plan_columns(trials, console.width if console.is_terminal else None)
    if console.is_terminal and len(trials) > _FIRST + _LAST + 1:
        console.print(build_table(columns, trials[:_FIRST]))
        console.print(Text(f"... {_count(len(trials) - _FIRST - _LAST, 'more trial')} ...", style="dim"))
        rest = build_table(columns, trials[-_LAST:])
        rest.show_header = False
        console.print(rest)
    else:
        print_table(console, columns, trials)
    left_out = f"; {_count(duplicates, 'duplicate')} left out" if duplicates else ""
    at_a_time = f"{side_by_side} at a time" if side_by_side > 1 else "one after the other"
    console.print()
    _print_text(console, f"sweep {name}: {_count(len(trials), 'trial')}{_of_points(trials)}{left_out}")
    _print_text(console, at_a_time + (f", with {_count(threads, 'thread')} each" if threads else ""))


def print_status(rows: Sequence[SweepStatus], *, console: Console | None = None) -> None:
    """Prints the sweeps of this folder, in the order given.

    Args:
        rows: One per sweep.
        console: Where to print; else to stdout.
    """
    console = console or Console(highlight=False)
    if not rows:
        command = "trainyard sweep optimizer.learning_rate=0.01,0.001"
        _print_text(console, f"There is no sweep in sweeps/ yet. Start one: {command}")
        return
    columns = [
        column("sweep", lambda row: row.name, rows),
        column("state", _state, rows),
        column("done", lambda row: f"{row.done:,}", rows),
        *([column("pruned", lambda row: f"{row.pruned:,}", rows)] if any(row.pruned for row in rows) else []),
        column("failed", lambda row: f"{row.failed:,}", rows),
        column("to do", lambda row: f"{row.todo:,}", rows),
        column("last change", lambda row: f"{row.changed:%Y-%m-%d %H:%M}", rows),
        column("best", _best, rows),
    ]
    if console.is_terminal:
        if table_width(columns) > console.width:
            columns = [each for each in columns if each.title != "last change"]
        over = max(0, table_width(columns) - console.width)
        columns[-1] = replace(columns[-1], width=max(len("best"), columns[-1].width - over))
    print_table(console, columns, rows)


def print_sweep_status(
    status: SweepStatus, trials: Sequence[TrialStatus], places: int, *, console: Console | None = None
) -> None:
    """Prints how the trials of one sweep stand, and why those failed that did.

    Args:
        status: The sweep.
        trials: Its trials, in the order of the plan; `began` is a time of `time.time`.
        places: How many run at a time.
        console: Where to print; else to stdout.
    """
    console = console or Console(highlight=False)
    standing = Standing(trials, status.objective, places=places, clock=time.time)
    if console.is_terminal:
        _print_text(console, f"sweep {status.name}: {_state(status)}", "bold")
        columns = TrialColumns([each.trial for each in trials], standing)
        console.print(draw_standing(standing, columns, width=console.width, limit=_TRIALS))
        _print_failures(console, standing.failed, status.name)
    else:
        print_table(console, whole_columns(trials, standing), trials)


def print_summary(summary: SweepSummary, *, console: Console | None = None) -> None:
    """Prints what a sweep came to: the ranking, the winner and how to train it, where all is, and what failed.

    Args:
        summary: Of the sweep.
        console: Where to print; else to stdout.
    """
    console = console or Console(highlight=False)
    console.print()
    if summary.ranking:
        print_ranking(summary.ranking, summary.columns, console=console)
        console.print()
    _print_text(console, summary.verdict)
    console.print()
    if summary.winner:
        _print_line(console, "winner", summary.winner.label, "bold")
        _print_line(console, "recipe", os.path.relpath(summary.winner.recipe))
        _print_line(console, "train it", summary.winner.command)
    _print_line(console, "files", summary.folder)
    if summary.ui:
        _print_line(console, "see it", summary.ui)
    _print_failures(console, summary.failed, summary.name)


def print_ranking(rows: Sequence[Sequence[str]], columns: Sequence[str], *, console: Console | None = None) -> None:
    """Prints a ranking, the best first; a terminal is given its head.

    Args:
        rows: The cells of each.
        columns: The titles.
        console: Where to print; else to stdout.
    """
    console = console or Console(highlight=False)
    shown = rows[:_RANKED] if console.is_terminal else rows
    made = [column(title, itemgetter(place), rows) for place, title in enumerate(columns)]
    print_table(console, made, shown)
    if len(shown) < len(rows):
        console.print(Text(f"and {len(rows) - len(shown):,} more", style="dim"))


def ranking_table(ranking: Ranking) -> tuple[list[str], list[list[str]]]:
    """Returns the titles and the rows of a ranking, the best first.

    Where points have several seeds, those that can't be told from the best are marked.
    """
    objective = ranking.objective
    compared = [objective, *(["seeds", "95 %"] if ranking.repeated else [])] if objective else []
    columns = ["", "trial", *compared, *_TEST, "parameters", "time"]
    rows = []
    for number, place in enumerate(ranking.places, start=1):
        mark = " ≈" if place.tied and ranking.tied > 1 and ranking.repeated else ""
        interval = "" if place.low is None or place.high is None else f"{place.low:.4f} to {place.high:.4f}"
        value = [place.describe(), *([str(place.n), interval] if ranking.repeated else [])] if objective else []
        tests = [show_metric(place.metrics[name]) if name in place.metrics else "" for name in _TEST]
        size = f"{place.parameters:,}"
        rows.append([f"{number}{mark}", place.label, *value, *tests, size, show_seconds(place.seconds)])
    return columns, rows


def _print_failures(console: Console, failed: Sequence[TrialStatus], name: str) -> None:
    """Names the trials that failed, a line each."""
    shown = failed[:_FAILURES] if console.is_terminal else failed
    for status in shown:
        trial = status.trial
        log = f" (log: {status.log})" if status.log else ""
        _print_line(console, "failed", f"trial {trial.number}, {trial.label}: {status.reason}{log}", "red")
    if len(shown) < len(failed):
        more = len(failed) - len(shown)
        _print_line(
            console, "failed", f"{more:,} more; all of them: trainyard sweep --status {name} | grep failed", "red"
        )


def _print_line(console: Console, title: str, text: str, style: str = "") -> None:
    """Prints what something is; commands stay in one piece, to be copied."""
    line = Text.assemble((f"{title:9} ", "dim"), (text, style))
    console.print(line, soft_wrap=title in _COMMANDS or not console.is_terminal)


def _print_text(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)


def _plan_columns(trials: Sequence[Trial], room: int | None) -> list[Column[Trial]]:
    """Returns the columns of a plan; where there is no room for all, one of labels takes the place of the settings'."""
    networks: dict[str, str] = {}
    number = column("trial", lambda trial: str(trial.number), trials)
    network = column("network", lambda trial: _network(trial, networks), trials)
    size = column("parameters", lambda trial: "" if trial.parameters is None else f"{trial.parameters:,}", trials)
    if room is None:
        return [number, *setting_columns(trials, widest=None), network, size]
    settings = setting_columns(trials)
    for columns in ([number, *settings, network, size], [number, *settings, size]):
        if table_width(columns) <= room:
            return columns
    label = label_column(trials)
    over = max(0, table_width([number, label, size]) - room)
    return [number, replace(label, width=max(1, label.width - over)), size]


def _network(trial: Trial, known: dict[str, str]) -> str:
    """Returns the label of a trial's architecture; there are fewer of these than trials."""
    settings = trial.config["model"]
    key = repr(settings)
    if key not in known:
        component = OmegaConf.structured(look_up("model", settings["name"]))
        known[key] = cast("ModelConfig", OmegaConf.to_object(OmegaConf.merge(component, settings))).label
    return known[key]


def _of_points(trials: Sequence[Trial]) -> str:
    """Returns how many points the trials are, where there are several of some."""
    counts = Counter(trial.point for trial in trials)
    if len(counts) == len(trials):
        return ""
    seeds = set(counts.values())
    each = f" with {_count(seeds.pop(), 'seed')} each" if len(seeds) == 1 else ""
    return f" ({_count(len(counts), 'point')}{each})"


def _state(status: SweepStatus) -> str:
    return f"{status.state} ({status.pid})" if status.pid else status.state


def _best(status: SweepStatus) -> str:
    return "" if status.best is None else f"{show_metric(status.best)} {status.best_label} ({status.objective})"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"

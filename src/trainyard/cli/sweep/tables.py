"""Prints the plan, the status and the summary of a sweep.

In a terminal, long tables are shortened. Elsewhere they are complete, with one line per row, for files and `grep`.
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
    build_column,
    build_label_column,
    build_plain_columns,
    build_setting_columns,
    build_table,
    compute_table_width,
    format_four_decimals,
    print_table,
)
from trainyard.cli.sweep.live_display import render_sweep_progress
from trainyard.config import find_component
from trainyard.evaluation import Ranking, Trial
from trainyard.reporting import format_duration
from trainyard.sweep import SweepProgress, TrialStatus

if TYPE_CHECKING:
    from trainyard.config import ModelConfig
    from trainyard.sweep import Winner

_FIRST, _LAST = 50, 5
"""Number of trials at the beginning and at the end of a plan that a terminal shows."""

_MAX_RANKED = 20
_MAX_FAILURES = 20
_MAX_TRIALS = 40
"""Maximum number of rows of a ranking, of failures and of trials that a terminal shows."""

_TEST_METRICS = ("accuracy/test", "loss/test")
"""Metrics on the test images that a ranking shows."""

_COMMANDS = ("train it", "see it")
"""Labels of lines that contain a command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStatus:
    """The status of a sweep in this folder.

    Attributes:
        name: Name of the sweep's folder.
        state: ``running``, ``interrupted``, ``failed`` or ``done``.
        pid: Id of the process that runs the sweep; None if it is not running.
        done: Number of trials that are done.
        pruned: Number of pruned trials.
        failed: Number of failed trials.
        todo: Number of trials that are neither done, pruned nor failed.
        objective: The metric that ranks the trials; None if they are not ranked.
        best: The best value of the objective so far.
        best_label: The label of the point with this value.
        changed: Time of the last entry in the ledger.
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
class SweepReport:
    """The contents of the summary that is printed at the end of a sweep.

    Attributes:
        name: Name of the sweep.
        folder: Path of the sweep's folder, relative to the working directory.
        columns: Column titles of the ranking.
        ranking: Rows of the ranking, the best first.
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


def print_plan(
    trials: Sequence[Trial],
    duplicates: int,
    name: str,
    slots: int,
    threads: int | None,
    *,
    console: Console | None = None,
) -> None:
    """Prints the trials that a sweep would run, and how many of them run in parallel.

    Args:
        trials: The trials, in the order of the plan.
        duplicates: The number of identical trials that the plan leaves out.
        name: Name of the sweep.
        slots: Number of trials that run in parallel.
        threads: Default number of threads per trial; None: each trial may use all cores.
        console: The console to print to; None prints to stdout.
    """
    console = console or Console(highlight=False)
    columns = _build_plan_columns(trials, console.width if console.is_terminal else None)
    if console.is_terminal and len(trials) > _FIRST + _LAST + 1:
        console.print(build_table(columns, trials[:_FIRST]))
        console.print(Text(f"... {_format_count(len(trials) - _FIRST - _LAST, 'more trial')} ...", style="dim"))
        last_rows = build_table(columns, trials[-_LAST:])
        last_rows.show_header = False
        console.print(last_rows)
    else:
        print_table(console, columns, trials)
    skipped = f"; {_format_count(duplicates, 'duplicate')} skipped" if duplicates else ""
    parallelism = f"{slots} in parallel" if slots > 1 else "one at a time"
    console.print()
    _print_text(console, f"sweep {name}: {_format_count(len(trials), 'trial')}{_describe_points(trials)}{skipped}")
    _print_text(console, parallelism + (f", with {_format_count(threads, 'thread')} each" if threads else ""))


def print_sweep_list(rows: Sequence[SweepStatus], *, console: Console | None = None) -> None:
    """Prints a table of sweeps, in the given order.

    Args:
        rows: The sweeps.
        console: The console to print to; None prints to stdout.
    """
    console = console or Console(highlight=False)
    if not rows:
        command = "trainyard sweep optimizer.learning_rate=0.01,0.001"
        _print_text(console, f"There are no sweeps in sweeps/ yet. Start one: {command}")
        return
    columns = [
        build_column("sweep", lambda row: row.name, rows),
        build_column("state", _format_sweep_state, rows),
        build_column("done", lambda row: f"{row.done:,}", rows),
        *([build_column("pruned", lambda row: f"{row.pruned:,}", rows)] if any(row.pruned for row in rows) else []),
        build_column("failed", lambda row: f"{row.failed:,}", rows),
        build_column("remaining", lambda row: f"{row.todo:,}", rows),
        build_column("last change", lambda row: f"{row.changed:%Y-%m-%d %H:%M}", rows),
        build_column("best", _format_best, rows),
    ]
    if console.is_terminal:
        if compute_table_width(columns) > console.width:
            columns = [column for column in columns if column.title != "last change"]
        excess = max(0, compute_table_width(columns) - console.width)
        columns[-1] = replace(columns[-1], width=max(len("best"), columns[-1].width - excess))
    print_table(console, columns, rows)


def print_sweep_status(
    status: SweepStatus, trials: Sequence[TrialStatus], slots: int, *, console: Console | None = None
) -> None:
    """Prints the trials of one sweep, and the reasons of failures.

    Args:
        status: The status of the sweep.
        trials: Its trials, in the order of the plan; `started` is a time of `time.time`.
        slots: Number of trials that run in parallel.
        console: The console to print to; None prints to stdout.
    """
    console = console or Console(highlight=False)
    progress = SweepProgress(trials, status.objective, slots=slots, clock=time.time)
    if console.is_terminal:
        _print_text(console, f"sweep {status.name}: {_format_sweep_state(status)}", "bold")
        columns = TrialColumns([trial_status.trial for trial_status in trials], progress)
        console.print(render_sweep_progress(progress, columns, width=console.width, limit=_MAX_TRIALS))
        _print_failures(console, [*progress.failed.values()], status.name)
    else:
        print_table(console, build_plain_columns(trials, progress), trials)


def print_summary(summary: SweepReport, *, console: Console | None = None) -> None:
    """Prints the summary of a sweep: ranking, winner, commands, folder and failed trials.

    Args:
        summary: The contents of the summary.
        console: The console to print to; None prints to stdout.
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
    """Prints a ranking, the best first; in a terminal only its first rows.

    Args:
        rows: The cells of each row.
        columns: The column titles.
        console: The console to print to; None prints to stdout.
    """
    console = console or Console(highlight=False)
    listed_rows = rows[:_MAX_RANKED] if console.is_terminal else rows
    table_columns = [build_column(title, itemgetter(index), rows) for index, title in enumerate(columns)]
    print_table(console, table_columns, listed_rows)
    if len(listed_rows) < len(rows):
        console.print(Text(f"and {len(rows) - len(listed_rows):,} more", style="dim"))


def build_ranking_table(ranking: Ranking) -> tuple[list[str], list[list[str]]]:
    """Returns the column titles and the rows of a ranking, the best first.

    If points have several seeds, a mark (≈) shows which ones do not differ significantly from the best.
    """
    objective = ranking.objective
    compared = [objective, *(["seeds", "95 %"] if ranking.has_repeats else [])] if objective else []
    columns = ["", "trial", *compared, *_TEST_METRICS, "parameters", "time"]
    rows = []
    for number, ranked in enumerate(ranking.points, start=1):
        mark = " ≈" if ranked.tied and ranking.n_tied > 1 and ranking.has_repeats else ""
        interval = "" if ranked.low is None or ranked.high is None else f"{ranked.low:.4f} to {ranked.high:.4f}"
        value = [ranked.describe(), *([str(ranked.n), interval] if ranking.has_repeats else [])] if objective else []
        tests = [format_four_decimals(ranked.metrics[name]) if name in ranked.metrics else "" for name in _TEST_METRICS]
        size = f"{ranked.parameters:,}"
        rows.append([f"{number}{mark}", ranked.label, *value, *tests, size, format_duration(ranked.seconds)])
    return columns, rows


def _print_failures(console: Console, failed: Sequence[TrialStatus], name: str) -> None:
    """Prints one line per failed trial."""
    listed = failed[:_MAX_FAILURES] if console.is_terminal else failed
    for status in listed:
        trial = status.trial
        log = f" (log: {status.log})" if status.log else ""
        _print_line(console, "failed", f"trial {trial.number}, {trial.label}: {status.reason}{log}", "red")
    if len(listed) < len(failed):
        hidden_count = len(failed) - len(listed)
        _print_line(
            console,
            "failed",
            f"{hidden_count:,} more; to list all: trainyard sweep --status {name} | grep failed",
            "red",
        )


def _print_line(console: Console, title: str, text: str, style: str = "") -> None:
    """Prints a labelled line; commands are not wrapped, so that they can be copied."""
    line = Text.assemble((f"{title:9} ", "dim"), (text, style))
    console.print(line, soft_wrap=title in _COMMANDS or not console.is_terminal)


def _print_text(console: Console, text: str, style: str = "") -> None:
    """Prints a line of text; it is wrapped only in a terminal."""
    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)


def _build_plan_columns(trials: Sequence[Trial], room: int | None) -> list[Column[Trial]]:
    """Returns the columns of a plan. If they do not fit into `room` characters, labels replace the settings."""
    networks: dict[str, str] = {}
    number = build_column("trial", lambda trial: str(trial.number), trials)
    network = build_column("network", lambda trial: _format_network(trial, networks), trials)
    size = build_column("parameters", lambda trial: "" if trial.parameters is None else f"{trial.parameters:,}", trials)
    if room is None:
        return [number, *build_setting_columns(trials, max_width=None), network, size]
    settings = build_setting_columns(trials)
    for columns in ([number, *settings, network, size], [number, *settings, size]):
        if compute_table_width(columns) <= room:
            return columns
    label = build_label_column(trials)
    excess = max(0, compute_table_width([number, label, size]) - room)
    return [number, replace(label, width=max(1, label.width - excess)), size]


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


def _format_sweep_state(status: SweepStatus) -> str:
    """Returns the state of a sweep, with the process ID while it runs: ``running (4711)``."""
    return f"{status.state} ({status.pid})" if status.pid else status.state


def _format_best(status: SweepStatus) -> str:
    """Returns the best value with its label and the objective; empty if there is none."""
    return (
        "" if status.best is None else f"{format_four_decimals(status.best)} {status.best_label} ({status.objective})"
    )


def _format_count(number: int, noun: str) -> str:
    """Returns a number with its noun: ``'1 trial'``, ``'2 trials'``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

"""``trainyard sweep --status``: prints the status of sweeps, read from their ledgers, also while they run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from rich.console import Console

from trainyard.cli.sweep.next_steps import build_result_commands, build_resume_command
from trainyard.cli.sweep.tables import fits, print_failures, print_table
from trainyard.cli.sweep.trial_table import TrialTable, build_plain_columns
from trainyard.errors import ConfigError, TrainyardError
from trainyard.reporting import format_metric
from trainyard.sweep import SWEEPS, SweepFolder, SweepProgress, SweepStatus, find_sweep, list_sweeps, load_sweep_status
from trainyard.system import print_error, print_next_steps, print_styled

_MAX_TRIALS = 40
"""Maximum number of trials that a terminal shows."""


def show_status(name: str) -> None:
    """Prints the trials of the sweep with a name or folder, or if it is empty, a table of all sweeps in this folder."""
    if name:
        folder = find_sweep(name, "--status")
        sweep = load_sweep_status(folder)
        print_sweep_status(sweep)
        if sys.stdout.isatty():
            print_next_steps(_list_next_steps(sweep, folder))
        return
    folders = list_sweeps()
    if not folders:
        raise ConfigError(f"{SWEEPS}/: there are no sweeps here yet. Start one: trainyard sweep sweep=widths")
    sweeps = []
    for folder in folders:
        try:
            sweeps.append(load_sweep_status(folder))
        except TrainyardError as error:  # print the other sweeps nevertheless
            print_error(error)
    print_sweep_list(sweeps)
    latest = max(sweeps, key=lambda sweep: sweep.changed, default=None)
    if latest and sys.stdout.isatty():
        print_next_steps({"trials": shlex.join(["trainyard", "sweep", "--status", latest.name])})


def print_sweep_list(sweeps: Sequence[SweepStatus], *, console: Console | None = None) -> None:
    """Prints a table of sweeps, in the given order."""
    console = console or Console(highlight=False)
    progresses = [sweep.progress for sweep in sweeps]
    columns = {
        "sweep": [sweep.name for sweep in sweeps],
        "state": [sweep.state for sweep in sweeps],
        "done": [f"{len(progress.ranked):,}" for progress in progresses],
        "pruned": [f"{len(progress.pruned):,}" for progress in progresses],
        "failed": [f"{len(progress.failed):,}" for progress in progresses],
        "remaining": [f"{progress.total - progress.ended_count:,}" for progress in progresses],
        "last change": [f"{sweep.changed:%Y-%m-%d %H:%M}" for sweep in sweeps],
        "best": [_format_best(progress) for progress in progresses],
    }
    if not any(progress.pruned for progress in progresses):
        del columns["pruned"]
    if not fits(console, columns):
        del columns["last change"]
    print_table(console, columns)


def print_sweep_status(sweep: SweepStatus, *, console: Console | None = None) -> None:
    """Prints the trials of one sweep, and the reasons of failures."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        print_table(console, build_plain_columns(sweep.progress))
        return
    print_styled(f"sweep {sweep.name}: {sweep.state}", "bold", console=console)
    console.print(TrialTable(sweep.progress).draw(console.width, limit=_MAX_TRIALS, is_live=False))
    failed = [(status.trial, status.reason, status.log) for status in sweep.progress.failed.values()]
    print_failures(console, failed, sweep.name)


def _list_next_steps(sweep: SweepStatus, folder: SweepFolder) -> dict[str, str]:
    """Returns the command that resumes a sweep, or those that show its results; none while it runs."""
    if sweep.state in ("interrupted", "failed"):
        return {"resume": build_resume_command(folder)}
    return build_result_commands(folder) if sweep.state == "done" else {}


def _format_best(progress: SweepProgress) -> str:
    """Returns the best value with its label and the objective, and its seeds if several; empty if there is none."""
    best, metric = progress.best, progress.shown_metric
    if not best:
        return ""
    source = f", {best.source}" if progress.has_repeats else ""
    return f"{format_metric(metric, best.value)} {best.label} ({metric}{source})"

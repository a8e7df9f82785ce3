"""The command ``python -m experiments.performance [PART ...]``, for the root folder of a git clone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table as TerminalTable
from rich.text import Text

from experiments.performance.benchmark import PAGE_FILE, run_benchmark
from experiments.performance.section import Section
from trainyard.cli.app import exit_on_error
from trainyard.runs import ScreenProgress
from trainyard.system import print_heading, raise_on_signals

OUT, QUICK_OUT = Path("experiments/performance"), Path("outputs/bench_quick")

_TABLE_WIDTH = 160
"""Maximum width of a table in characters. Tables are not wrapped, because wrapped numbers are hard to read."""

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)


@app.command()
def main(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            help="The parts to measure: `epoch`, `grid`, `xla`, `memory`, `seeds`, `run`, `sweep`, `search`, "
            "`compare`, `loading`, `streaming`, `trials`. Default: all.",
            metavar="PART",
        ),
    ] = None,
    *,
    mnist: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder with the MNIST files. Default: the files that `dataset=mnist` finds or downloads.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for the results. The earlier results of parts that are not measured are kept. "
            "[default: experiments/performance]",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Threads of TensorFlow and NumPy. Default: one per core."),
    ] = None,
    rounds: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Rounds of `xla`, `run`, `sweep`, `search`, `compare`, `loading`, `streaming` and `trials`.",
        ),
    ] = 3,
    base: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Another checkout of Trainyard, which `trials` measures alternately."),
    ] = None,
    keep_sessions: Annotated[
        bool,
        typer.Option(
            "--keep-sessions",
            help="Add the sessions of `xla` to those in the results file instead of replacing them. The costs are not "
            "fitted again.",
        ),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only check that the benchmark works, with small data. Takes a few minutes.")
    ] = False,
) -> None:
    """Measure Trainyard and plain Keras scripts alternately, and report the ratios of their times."""
    with exit_on_error():
        measure(
            parts or [], mnist=mnist, out=out, threads=threads, rounds=rounds, base=base, keep_sessions=keep_sessions,
            quick=quick,
        )  # fmt: skip


def measure(
    parts: Sequence[str],
    *,
    mnist: Path | None,
    out: Path | None,
    threads: int | None,
    rounds: int,
    base: Path | None,
    keep_sessions: bool,
    quick: bool,
) -> None:
    """Measures parts of the benchmark and prints their results; see `run_benchmark`.

    Raises:
        TrainyardError: If a part cannot be measured.
    """
    out = out or (QUICK_OUT if quick else OUT)
    with raise_on_signals(), ScreenProgress() as progress:
        sections = run_benchmark(
            parts, out, mnist=mnist, threads=threads, rounds=rounds, quick=quick, base=base,
            keep_sessions=keep_sessions, progress=progress,
        )  # fmt: skip
    for section in sections:
        print_section(section)
    Console(soft_wrap=True, highlight=False).print(Text(f"\nfiles  {os.path.relpath(out / PAGE_FILE)}"))


def print_section(section: Section) -> None:
    """Prints the tables, goals and notes of a part."""
    print_heading(section.title)
    console = Console(highlight=False, soft_wrap=True)
    wide_console = Console(highlight=False, width=_TABLE_WIDTH)
    for table in section.tables:
        terminal_table = TerminalTable(box=box.SIMPLE, pad_edge=False)
        for position, column in enumerate(table.columns):
            terminal_table.add_column(Text(column), justify="right" if position else "left")
        for row in table.rows:
            terminal_table.add_row(*(Text(cell) for cell in row))
        wide_console.print(terminal_table)
    for goal in section.goals:
        style = "" if goal.not_judged_reason else "green" if goal.is_met else "bold red"
        line = Text(f"{goal.description}: {goal.measured}{goal.unit}; goal: {goal.requirement}: ")
        console.print(line + Text(goal.verdict, style=style))
    for note in section.notes:
        console.print(Text(note.replace("`", "")))


if __name__ == "__main__":
    app(prog_name="python -m experiments.performance")

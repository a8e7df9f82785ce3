"""``trainyard bench``: the benchmark, told as it goes on, and its tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from trainyard.bench.layout import Section
from trainyard.bench.session import PAGE, run_benchmark
from trainyard.cli.screen import ScreenProgress, print_heading
from trainyard.system.signals import signals_raise

OUT, QUICK_OUT = Path("experiments/performance"), Path("outputs/bench_quick")

_TABLE_WIDTH = 160
"""Characters that a table may take; a figure that is broken over lines can't be read."""


def bench_command(
    parts: Sequence[str], *, mnist: Path | None, out: Path | None, threads: int | None, rounds: int, quick: bool
) -> None:
    """Measures parts of the benchmark and prints what came out; see `run_benchmark`.

    Raises:
        TrainyardError: If a part can't be measured.
    """
    out = out or (QUICK_OUT if quick else OUT)
    with signals_raise(), ScreenProgress() as progress:
        sections = run_benchmark(
            parts, out, mnist=mnist, threads=threads, rounds=rounds, quick=quick, progress=progress
        )
    for section in sections:
        print_section(section)
    Console(soft_wrap=True, highlight=False).print(Text(f"\nfiles  {os.path.relpath(out / PAGE)}"))


def print_section(section: Section) -> None:
    """Prints the tables of a part, its goals and its notes."""
    print_heading(section.title)
    console = Console(highlight=False, soft_wrap=True)
    wide = Console(highlight=False, width=_TABLE_WIDTH)
    for table in section.tables:
        grid = Grid(box=box.SIMPLE, pad_edge=False)
        for place, column in enumerate(table.columns):
            grid.add_column(Text(column), justify="right" if place else "left")
        for row in table.rows:
            grid.add_row(*(Text(cell) for cell in row))
        wide.print(grid)
    for goal in section.goals:
        style = "" if goal.not_judged else "green" if goal.met else "bold red"
        line = Text(f"{goal.measured}{goal.unit} {goal.what}; goal {goal.wanted}: ")
        console.print(line + Text(goal.verdict, style=style))
    for note in section.notes:
        console.print(Text(note.replace("`", "")))

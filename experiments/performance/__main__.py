"""The benchmark's command: ``python -m experiments.performance [PART ...]``, run from the root of a clone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from experiments.performance.benchmark import PAGE, run_benchmark
from experiments.performance.section import Section
from trainyard.cli.app import exit_codes
from trainyard.cli.screen import ScreenProgress, print_heading
from trainyard.system.signals import signals_raise

OUT, QUICK_OUT = Path("experiments/performance"), Path("outputs/bench_quick")

_TABLE_WIDTH = 160
"""Maximum width of a table in characters; wide tables are not wrapped, because wrapped figures are unreadable."""

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)


@app.command()
def main(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            help="The parts to measure: `epoch`, `grid`, `xla`, `memory`, `seeds`, `run`, `sweep`, `search`, "
            "`compare`. Default: all.",
            metavar="PART",
        ),
    ] = None,
    *,
    mnist: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder with the MNIST files. Default: found or downloaded as by `dataset=mnist`."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for the results. Parts that are not measured keep their earlier results. "
            "[default: experiments/performance]",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads of TensorFlow and NumPy. Default: one per core.")
    ] = None,
    rounds: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Repetitions of whole commands in `run`, `sweep`, `search`, `compare`."),
    ] = 3,
    quick: Annotated[
        bool, typer.Option("--quick", help="Check that the benchmark works: a few minutes, on small data.")
    ] = False,
) -> None:
    """Measure Trainyard against plain Keras, alternating between the two, and report the ratios."""
    with exit_codes():
        measure(parts or [], mnist=mnist, out=out, threads=threads, rounds=rounds, quick=quick)


def measure(
    parts: Sequence[str], *, mnist: Path | None, out: Path | None, threads: int | None, rounds: int, quick: bool
) -> None:
    """Measures parts of the benchmark and prints the results; see `run_benchmark`.

    Raises:
        TrainyardError: If a part cannot be measured.
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
        for position, column in enumerate(table.columns):
            grid.add_column(Text(column), justify="right" if position else "left")
        for row in table.rows:
            grid.add_row(*(Text(cell) for cell in row))
        wide.print(grid)
    for goal in section.goals:
        style = "" if goal.not_judged else "green" if goal.met else "bold red"
        line = Text(f"{goal.measured}{goal.unit} {goal.what}; goal {goal.wanted}: ")
        console.print(line + Text(goal.verdict, style=style))
    for note in section.notes:
        console.print(Text(note.replace("`", "")))


if __name__ == "__main__":
    app(prog_name="python -m experiments.performance")

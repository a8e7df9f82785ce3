"""``trainyard data check`` and ``trainyard data cache``: checks folders of images, lists and clears decoded images."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainyard.errors import DatasetError

if TYPE_CHECKING:
    from trainyard.data import FolderReport


def check_data(
    path: Annotated[Path, typer.Argument(help="Folder of images, as in `dataset.path`.", metavar="PATH")],
    test_fraction: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, metavar="FRACTION", help="As `dataset.test_fraction`, for a folder without test images."
        ),
    ] = None,
) -> int:
    """Check a folder of images without training: its layout, and that each file can be decoded.

    Lists the classes, the numbers of images, their formats and sizes, and all problems. The exit code is 1 if there are
    problems.
    """
    from trainyard.data import check_image_folder

    report = check_image_folder(path.expanduser(), test_fraction=test_fraction, progress=sys.stderr.isatty())
    _print_contents(report)
    console = Console(soft_wrap=True, highlight=False)
    for problem in report.problems:
        console.print(Text.assemble(("problem ", "bold red"), problem))
    console.print(Text(_count(len(report.problems), "problem", "problems")))
    return 1 if report.problems else 0


def list_cache() -> None:
    """List the decoded images in the cache, the last used first."""
    from trainyard.data import SIZE_VARIABLE, find_cache_root, list_entries, read_size_limit

    entries = list_entries()
    if entries:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("entry", "data", "arrays", "MB", "last used"):
            table.add_column(column, overflow="fold")
        for entry in entries:
            arrays = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in entry.shapes.items())
            used_at = datetime.fromtimestamp(entry.used_at).astimezone()
            size = f"{entry.size / 1e6:,.1f}"
            table.add_row(*map(Text, (entry.folder.name[:8], entry.source, arrays, size, f"{used_at:%Y-%m-%d %H:%M}")))
        Console(highlight=False).print(table)
    used = f"{sum(entry.size for entry in entries) / 1e9:,.2f} of {read_size_limit() / 1e9:g} GB"
    typer.echo(f"{_count(len(entries), 'entry', 'entries')}, {used} ({SIZE_VARIABLE}), in {find_cache_root()}")


def clear_data_cache() -> None:
    """Remove all decoded images from the cache. They are decoded again when they are needed."""
    from trainyard.data import clear_cache, find_cache_root

    typer.echo(f"removed {clear_cache() / 1e6:,.1f} MB from {find_cache_root()}")


def verify_cache() -> None:
    """Compares the decoded images in the cache with their checksums; raises a DatasetError if some differ."""
    from trainyard.data import find_damage, list_entries

    entries = list_entries()
    damage = [problem for entry in entries for problem in find_damage(entry)]
    if damage:
        raise DatasetError("\n".join([*damage, "Remove the decoded images: trainyard data cache clear"]))
    typer.echo(f"cache of decoded images: {_count(len(entries), 'entry', 'entries')}, undamaged")


def _count(number: int, singular: str, plural: str) -> str:
    """Returns a number with its noun: ``1 entry``, ``no entries``."""
    return f"{number:,} {singular if number == 1 else plural}" if number else f"no {plural}"


def _print_contents(report: FolderReport) -> None:
    """Prints the number of images per class and split, the formats and the sizes."""
    if report.listing is None:
        return
    splits = report.listing.splits
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class", overflow="fold")
    for name in splits:
        table.add_column(name, justify="right")
    for label, class_name in enumerate(report.listing.class_names):
        counts = (f"{int((split.labels == label).sum()):,}" for split in splits.values())
        table.add_row(Text(class_name), *counts)
    table.add_row(Text("all", style="bold"), *(f"{len(split):,}" for split in splits.values()))
    Console(highlight=False).print(table)
    typer.echo("formats: " + (", ".join(f"{name} {count:,}" for name, count in report.formats) or "none"))
    if report.sizes is not None:
        low, high = report.sizes.min(axis=0), report.sizes.max(axis=0)
        extent = f"{low[0]} x {low[1]}" + (f" to {high[0]} x {high[1]}" if (low != high).any() else "")
        typer.echo(f"width x height: {extent} pixels")

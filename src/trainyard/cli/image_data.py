"""``trainyard data check`` and ``trainyard data cache``: checks data of the user, lists and clears decoded images."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainyard.errors import DatasetError
from trainyard.system import print_next_steps, print_rows, print_styled, print_wrapped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainyard.data import ArrayReport, FolderReport


def check_data(
    path: Annotated[
        Path,
        typer.Argument(help="Folder of images, npz file, or folder of idx files.", metavar="PATH"),
    ],
    test_fraction: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="FRACTION",
            help="Fraction of the images to use as test images, if the data has none.",
        ),
    ] = None,
) -> int:
    """Check your own data without training: a folder of images, an npz file, or a folder of idx files.

    Reads everything. Lists the classes, the numbers of images, their sizes, what is unusual, the number of identical
    images in train and test, and all problems. The exit code is 1 if there are problems.

    Examples:
      trainyard data check birds
      trainyard data check birds.npz --test-fraction 0.2
    """
    from trainyard.data import check_arrays, check_image_folder, find_array_config

    path = path.expanduser()
    try:
        config = find_array_config(path, test_fraction=test_fraction)
    except DatasetError as error:
        return _print_problems([str(error)])
    if config is not None:
        arrays = check_arrays(config)
        _print_arrays(arrays)
        return _print_outcome(arrays.problems, config.registered_name, path, test_fraction)
    report = check_image_folder(path, test_fraction=test_fraction, progress=sys.stderr.isatty())
    _print_contents(report)
    return _print_outcome(report.problems, "image_folder", path, test_fraction)


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
        print_rows(table)
    used = f"{sum(entry.size for entry in entries) / 1e9:,.2f} of {read_size_limit() / 1e9:g} GB"
    print_styled(f"{_count(len(entries), 'entry', 'entries')}, {used} ({SIZE_VARIABLE}), in {find_cache_root()}")


def clear_data_cache() -> None:
    """Remove all decoded images from the cache. They are decoded again when they are needed."""
    from trainyard.data import clear_cache, find_cache_root

    print_styled(f"removed {clear_cache() / 1e6:,.1f} MB from {find_cache_root()}")


def verify_cache() -> None:
    """Compares the decoded images in the cache with their checksums; raises a DatasetError if some differ."""
    from trainyard.data import find_damage, list_entries

    entries = list_entries()
    damage = [problem for entry in entries for problem in find_damage(entry)]
    if damage:
        raise DatasetError("\n".join([*damage, "Remove the decoded images: trainyard data cache clear"]))
    print_styled(f"cache of decoded images: {_count(len(entries), 'entry', 'entries')}, undamaged")


def _count(number: int, singular: str, plural: str) -> str:
    """Returns a number with its noun: ``1 entry``, ``no entries``."""
    return f"{number:,} {singular if number == 1 else plural}" if number else f"no {plural}"


def _print_outcome(problems: Sequence[str], dataset: str, path: Path, test_fraction: float | None) -> int:
    """Prints all problems, or if there are none, the command that trains with the data; returns the exit code."""
    from trainyard.config import build_text_argument

    if problems:
        return _print_problems(problems)
    print_styled("no problems")
    fraction = "" if test_fraction is None else f" dataset.test_fraction={test_fraction:g}"
    location = build_text_argument("dataset.path", str(path))
    print_next_steps({"train": f"trainyard train dataset={dataset} {location}{fraction}"})
    return 0


def _print_problems(problems: Sequence[str]) -> int:
    """Prints all problems and their number; returns the exit code."""
    console = Console(highlight=False)
    for problem in problems:
        for number, line in enumerate(problem.splitlines()):
            print_wrapped(console, Text(line), Text("        " if number else "problem ", "bold red"))
    print_styled(_count(len(problems), "problem", "problems"))
    return 1


def _print_contents(report: FolderReport) -> None:
    """Prints the number of images per class and split, the formats and the sizes."""
    if report.listing is None:
        return
    _print_classes(report.listing.class_names, {name: split.labels for name, split in report.listing.splits.items()})
    print_styled("formats: " + (", ".join(f"{name} {count:,}" for name, count in report.formats) or "none"))
    if report.sizes is not None:
        low, high = report.sizes.min(axis=0), report.sizes.max(axis=0)
        extent = f"{low[0]} x {low[1]}" + (f" to {high[0]} x {high[1]}" if (low != high).any() else "")
        print_styled(f"width x height: {extent} pixels")
    print_styled(f"test files that are identical to a training file: {report.shared_files:,}")


def _print_arrays(report: ArrayReport) -> None:
    """Prints the number of images per class and split, the size, and the notices that a run prints."""
    if (dataset := report.dataset) is None:
        return
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    _print_classes(dataset.spec.class_names, {name: split.labels for name, split in splits.items() if split})
    height, width, *channels = dataset.spec.image_shape
    colours = _count(channels[0], "channel", "channels") if channels else "grayscale"
    print_styled(f"width x height: {width} x {height} pixels, {colours}")
    print_styled(f"test images that are identical to a training image: {report.shared_images:,}")
    for notice in dataset.notices:
        print_wrapped(Console(highlight=False), Text(notice), Text("notice ", "bold yellow"))


def _print_classes(class_names: Sequence[str], labels: Mapping[str, NDArray[np.integer[Any]]]) -> None:
    """Prints a table with the number of images per class and split, of which `labels` has the class indices."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class", overflow="fold")
    for name in labels:
        table.add_column(name, justify="right")
    for index, class_name in enumerate(class_names):
        table.add_row(Text(class_name), *(f"{int((split == index).sum()):,}" for split in labels.values()))
    table.add_row(Text("all", style="bold"), *(f"{len(split):,}" for split in labels.values()))
    print_rows(table)

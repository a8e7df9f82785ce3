"""Checks a folder of images completely, without training: the layout, and each file by decoding it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainyard.data.image_decoding import map_ordered
from trainyard.data.image_files import ignore_pillow_warnings, inspect_image
from trainyard.data.image_listing import ImageFolderError, ImageListing, list_images
from trainyard.errors import DatasetError
from trainyard.system import count_available_cores

_WAITING = 64
"""The maximum number of results that wait to be counted."""


@dataclass(frozen=True, slots=True)
class FolderReport:
    """What a check of a folder of images found."""

    problems: tuple[str, ...]
    """A message for each problem; empty if the folder can be used."""
    listing: ImageListing | None = None
    """The files; None if the layout is invalid."""
    formats: tuple[tuple[str, int], ...] = ()
    """The formats of the files, by Pillow's names, and their numbers; the most frequent first."""
    sizes: NDArray[np.int64] | None = None
    """The width and height of each image that could be decoded, (n, 2); None if there is none."""
    shared_files: int = 0
    """The number of test files with the same content as a training file."""


def check_image_folder(root: Path, *, test_fraction: float | None = None, progress: bool = False) -> FolderReport:
    """Lists the files of a folder, and decodes each of them, over all cores.

    Args:
        root: The folder, see `ImageFolder.path`.
        test_fraction: See `ImageFolder.test_fraction`.
        progress: Whether to show a progress bar.
    """
    from tqdm import tqdm

    try:
        listing = list_images(root, test_fraction=test_fraction, skip_bad_files=True)
    except ImageFolderError as error:
        return FolderReport(error.problems)
    except DatasetError as error:
        return FolderReport((str(error),))
    names = [file.name for split in listing.splits.values() for file in split.files]
    problems, formats, sizes = list(listing.skipped), Counter[str](), []
    threads = count_available_cores()
    with (
        ignore_pillow_warnings(),
        ThreadPoolExecutor(max_workers=threads) as pool,
        tqdm(total=len(names), desc="checking images", unit="image", disable=not progress, leave=False) as bar,
    ):
        for result in map_ordered(pool, functools.partial(_try_to_inspect, root), names, _WAITING):
            bar.update()
            if isinstance(result, str):
                problems.append(result)
            else:
                formats[result[0]] += 1
                sizes.append(result[1:])
    return FolderReport(
        tuple(problems),
        listing,
        tuple(formats.most_common()),
        np.array(sizes) if sizes else None,
        _count_shared_files(listing),
    )


def _count_shared_files(listing: ImageListing) -> int:
    """Returns the number of test files with the same content as a training file. Reads only files of the same size."""
    train, test = (listing.splits[name].files for name in ("train", "test"))
    shared_sizes = {file.size for file in train} & {file.size for file in test}
    digests: list[list[bytes]] = [[], []]
    for files, found in zip((train, test), digests, strict=True):
        for file in files:
            if file.size in shared_sizes:
                with contextlib.suppress(OSError), (listing.root / file.name).open("rb") as content:
                    found.append(hashlib.file_digest(content, "sha256").digest())
    known = set(digests[0])
    return sum(digest in known for digest in digests[1])


def _try_to_inspect(root: Path, name: str) -> tuple[str, int, int] | str:
    """Returns the format, width and height of an image file, or a message if it can't be decoded."""
    try:
        return inspect_image(root / name)
    except DatasetError as error:
        return str(error)

"""Decodes the files of a listing over all cores, and stores the result in the cache."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainyard.data.array_cache import ArrayWriter, CachedArrays, find_cached, load_or_create
from trainyard.data.image_files import DecodedImage, decode_image, describe_decoder, ignore_pillow_warnings
from trainyard.data.image_listing import ImageListing, find_missing_images, format_check_command, raise_problems
from trainyard.data.image_rows import select_rows
from trainyard.errors import DatasetError
from trainyard.system import count_available_cores

_FORMAT_VERSION = 2
"""Part of each key. It must be increased when `decode_image` returns other pixels for the same file."""
_WAITING_PER_THREAD = 8
"""The maximum number of decoded images per thread that wait to be written, which limits the memory."""
_SAMPLED_FILES, _SAMPLED_BYTES = 16, 4096
"""The number of files, evenly spaced, and the bytes of each that are part of a key."""
_MAX_NAMED = 3
"""The number of skipped files that a notice names."""

I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """The size and the colours of all decoded images."""

    height: int
    width: int
    colour: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an image: (height, width, 3) or (height, width)."""
        return (self.height, self.width, *((3,) if self.colour else ()))


@dataclass(frozen=True, slots=True)
class LoadedImages:
    """The decoded images of a listing."""

    listing: ImageListing
    """The files that were decoded, without those that are damaged."""
    images: dict[str, NDArray[np.uint8]]
    """The images of each split, (n, height, width, 3) or (n, height, width)."""
    notices: tuple[str, ...] = ()

    def select(self, listing: ImageListing) -> LoadedImages:
        """Returns only the images of another listing of the same files."""
        rows, splits = {}, {}
        for name, split in listing.splits.items():
            position = {file: row for row, file in enumerate(self.listing.splits[name].files)}
            found = np.flatnonzero([file in position for file in split.files])
            splits[name] = split.take(found)
            indices = np.array([position[file] for file in splits[name].files], np.intp)
            rows[name] = select_rows(self.images[name], indices)
        return LoadedImages(replace(listing, splits=splits), rows, self.notices)


def compute_key(listing: ImageListing, image_format: ImageFormat) -> str:
    """Returns the key of a listing in the cache: a digest of names, sizes, times, samples and the format."""
    about = {
        "version": _FORMAT_VERSION,
        "libraries": describe_decoder(),
        "shape": image_format.shape,
        "splits": {name: split.files for name, split in listing.splits.items()},
        "sample": _hash_sample(listing),
    }
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]


def _hash_sample(listing: ImageListing) -> str:
    """Returns a digest of the beginning of some files: other files may have the same names, sizes and times."""
    sha = hashlib.sha256()
    files = [file.name for split in listing.splits.values() for file in split.files]
    for name in files[:: -(-len(files) // _SAMPLED_FILES)]:
        with suppress(OSError), (listing.root / name).open("rb") as file:  # decoding reports the error
            sha.update(file.read(_SAMPLED_BYTES))
    return sha.hexdigest()


def is_decoded(listing: ImageListing, image_format: ImageFormat) -> bool:
    """Returns whether the images of a listing are in the cache."""
    return find_cached(compute_key(listing, image_format)) is not None


def load_listing(
    listing: ImageListing,
    image_format: ImageFormat,
    *,
    skip_bad_files: bool,
    part: ImageListing | None = None,
    progress: bool = False,
) -> LoadedImages:
    """Loads the images of a listing, from the cache or by decoding the files, which are then in the cache.

    Args:
        listing: All files.
        image_format: The size and colours of the images.
        skip_bad_files: Whether to leave out damaged files, instead of raising an error.
        part: The files to load, if not all. They are taken from the cache if it has all files.
        progress: Whether to show a progress bar.

    Raises:
        DatasetError: If files are damaged; the error contains all of them. Nothing is stored then.
    """
    selected = part or listing
    if part and (cached := find_cached(compute_key(listing, image_format))):
        loaded = _build_result(listing, cached, skip_bad_files=skip_bad_files).select(part)
    else:
        size = len(selected) * math.prod(image_format.shape)
        create = functools.partial(_decode, selected, image_format, skip_bad_files=skip_bad_files, progress=progress)
        stored = load_or_create(compute_key(selected, image_format), str(listing.root.absolute()), size, create)
        loaded = _build_result(selected, stored, skip_bad_files=skip_bad_files)
    raise_problems(listing.root, list(find_missing_images(loaded.listing)))
    return loaded


def _decode(
    listing: ImageListing, image_format: ImageFormat, writer: ArrayWriter, *, skip_bad_files: bool, progress: bool
) -> dict[str, Any]:
    """Decodes all files, and adds an array per split to the writer, without damaged files; see `load_or_create`.

    The notes contain the messages of damaged files by split and index, and the number of unusual images.
    """
    from tqdm import tqdm

    bad: dict[str, dict[str, str]] = {name: {} for name in listing.splits}
    nearly_black = 0
    decode = functools.partial(
        _try_to_decode, listing.root, size=(image_format.height, image_format.width), colour=image_format.colour
    )

    def collect(name: str, names: Iterable[str]) -> Iterator[NDArray[np.uint8]]:
        nonlocal nearly_black
        for index, decoded in enumerate(map_ordered(pool, decode, names, threads * _WAITING_PER_THREAD)):
            bar.update()
            if isinstance(decoded, str):
                bad[name][str(index)] = decoded
            else:
                nearly_black += decoded.is_nearly_black
                yield decoded.pixels

    threads = count_available_cores()
    with (
        ignore_pillow_warnings() as exif_warnings,
        ThreadPoolExecutor(max_workers=threads) as pool,  # images are decoded and resized outside the GIL
        tqdm(total=len(listing), desc="decoding images", unit="image", disable=not progress, leave=False) as bar,
    ):
        for name, split in listing.splits.items():
            rows = collect(name, [file.name for file in split.files])
            writer.add_rows(name, rows, len(split), image_format.shape)
    if not skip_bad_files:
        _raise_damaged(listing, bad)
    return {"bad": bad, "nearly_black": nearly_black, "damaged_exif": len(exif_warnings)}


def _try_to_decode(root: Path, name: str, *, colour: bool, size: tuple[int, int]) -> DecodedImage | str:
    """Returns a decoded image, or a message if the file is damaged."""
    try:
        return decode_image(root / name, colour=colour, size=size)
    except DatasetError as error:
        return str(error)


def map_ordered(pool: ThreadPoolExecutor, function: Callable[[I], O], items: Iterable[I], waiting: int) -> Iterator[O]:
    """Yields the results of a function in the order of its items, with at most `waiting` results in memory."""
    pending: deque[Future[O]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) >= waiting:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _raise_damaged(listing: ImageListing, bad: dict[str, dict[str, str]]) -> None:
    """Raises an error for all damaged files, if there are any."""
    raise_problems(listing.root, [problem for problems in bad.values() for problem in problems.values()])


def _build_result(listing: ImageListing, stored: CachedArrays, *, skip_bad_files: bool) -> LoadedImages:
    """Returns the images of a listing without damaged files, and notices for the user."""
    bad = stored.notes["bad"]
    if not skip_bad_files:
        _raise_damaged(listing, bad)  # they were skipped when they were decoded
    splits = {
        name: split.take(np.flatnonzero([str(index) not in bad[name] for index in range(len(split))]))
        for name, split in listing.splits.items()
    }
    notices = tuple(_find_notices(listing, stored))
    return LoadedImages(replace(listing, splits=splits), dict(stored.arrays), notices)


def _find_notices(listing: ImageListing, stored: CachedArrays) -> Iterator[str]:
    """Yields a notice for each kind of unusual file, and if the images are not in the cache."""
    skipped = [
        *listing.skipped,
        *(problem for problems in stored.notes["bad"].values() for problem in problems.values()),
    ]
    if skipped:
        more = f"; and {len(skipped) - _MAX_NAMED:,} more" if len(skipped) > _MAX_NAMED else ""
        yield (
            f"dataset.on_bad_file=skip: skipped files: {len(skipped):,}. {'; '.join(skipped[:_MAX_NAMED])}{more}. "
            f"List all: {format_check_command(listing.root)}"
        )
    if count := stored.notes["nearly_black"]:
        yield (
            f"{listing.root}: {count:,} images with 16 bits per channel are nearly black: their values are at most "
            "4,095. If they have 12 bits, multiply the values by 16"
        )
    if count := stored.notes["damaged_exif"]:
        yield f"{listing.root}: {count:,} warnings about damaged EXIF data; the orientation of images may be wrong"
    if stored.problem:
        yield stored.problem

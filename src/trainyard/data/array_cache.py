"""The cache of decoded data: arrays on disk that all processes map into memory, instead of decoding files again.

An entry is a folder with npy files, named by a key: the digest of everything that determines the arrays. The size of
the cache is limited; entries that have not been used for the longest time are removed.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from trainyard.data.memory import check_memory
from trainyard.errors import DatasetError
from trainyard.system import PARTIAL_PREFIX, find_checksum_problem, write_checksums

CACHE_VARIABLE = "TRAINYARD_CACHE_DIR"
"""The environment variable with the folder of the cache."""
SIZE_VARIABLE = "TRAINYARD_CACHE_GB"
"""The environment variable with the maximum size of the cache in GB (10^9 bytes). 0 disables the cache."""
DEFAULT_GIGABYTES = 20.0

_ENTRY_FILE = "entry.json"
_KEY = re.compile(r"[0-9a-f]{32}")
_STALE_SECONDS = 86_400
"""The age after which the unfinished entry of an interrupted process is removed: one day."""


@dataclass(frozen=True, slots=True)
class CachedArrays:
    """Arrays from the cache, or from memory if the cache can't be used."""

    arrays: dict[str, NDArray[Any]]
    """The arrays by name, read-only if they are mapped into memory."""
    notes: dict[str, Any]
    """What the function that created the arrays returned."""
    problem: str | None = None
    """Why the arrays are not in the cache; None if they are, or if the cache is disabled."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """An entry of the cache."""

    folder: Path
    source: str
    """Where the data comes from: a path."""
    shapes: dict[str, tuple[int, ...]]
    """The shape of each array."""
    size: int
    """The size in bytes."""
    used_at: float
    """The time of the last use, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class ArrayWriter:
    """Receives the arrays of a new entry, and writes them to the folder of the entry, or keeps them in memory."""

    folder: Path | None
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    """The arrays that are kept in memory, if `folder` is None."""

    def add(self, name: str, array: NDArray[Any]) -> None:
        """Adds an array."""
        if self.folder is None:
            self.arrays[name] = array
        else:
            np.save(self.folder / f"{name}.npy", array, allow_pickle=False)

    def add_rows(self, name: str, rows: Iterable[NDArray[np.uint8]], maximum: int, shape: tuple[int, ...]) -> None:
        """Adds an array, row by row: at most `maximum` rows of a shape. They are written as soon as they are known."""
        if self.folder is None:
            array, count = np.empty((maximum, *shape), np.uint8), 0
            for count, row in enumerate(rows, start=1):
                array[count - 1] = row
            self.arrays[name] = array[:count]
            return
        with (self.folder / f"{name}.npy").open("wb") as file:
            _write_header(file, (maximum, *shape))
            written = sum(file.write(np.ascontiguousarray(row).data) for row in rows)
            file.seek(0)
            _write_header(
                file, (written // math.prod(shape), *shape)
            )  # as long as the first one: numpy reserves space for larger numbers


Create: TypeAlias = Callable[[ArrayWriter], dict[str, Any]]
"""Adds the arrays of an entry to a writer, and returns notes that can be converted to JSON."""


def load_or_create(key: str, source: str, size: int, create: Create) -> CachedArrays:
    """Loads arrays from the cache. If they are not in it, creates them, while other processes wait for the result.

    If the cache is disabled, is smaller than the arrays or can't be written, the arrays are created in memory.

    Args:
        key: The digest of everything that determines the arrays: of files, their sizes and times, and settings.
        source: Where the data comes from, for the list of entries.
        size: The size of all arrays in bytes.
        create: Creates the arrays.

    Returns:
        The arrays and the notes of `create`. Their sizes are checked, their checksums are not; see `find_damage`.
    """
    root, limit = find_cache_root(), read_size_limit()
    if not limit:
        return _create_in_memory(create, size)
    if cached := find_cached(key):
        return cached
    if not fits_cache(size):
        problem = f"the cache has {limit / 1e9:g} GB. Set {SIZE_VARIABLE}"
        if size <= limit:
            problem = f"the disk of {root} has less. Set {CACHE_VARIABLE}"
        needed = f"the data needs {size / 1e9:.1f} GB"
        return _create_in_memory(create, size, f"{source}: decoded images are not cached: {needed}, {problem}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{key}.lock"):
            if cached := find_cached(key):
                return cached
            used = sum(entry.size for entry in list_entries())
            _remove_oldest(root, min(limit, used + shutil.disk_usage(root).free) - size)
            _create_entry(root / key, source, create)
    except (OSError, NotImplementedError) as error:  # a full disk, a read-only folder, no locks
        problem = f"{root}: the cache of decoded images can't be written: {error}. Set {CACHE_VARIABLE}"
        return _create_in_memory(create, size, problem)
    return find_cached(key) or _create_in_memory(create, size, f"{root}: another process removed the entry")


def fits_cache(size: int) -> bool:
    """Returns whether arrays of a size in bytes fit into the cache, according to its limit and the space on its disk.

    The space of older entries counts, because they are removed if necessary.
    """
    root = find_cache_root().absolute()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    used = sum(entry.size for entry in list_entries())
    return size <= min(read_size_limit(), used + shutil.disk_usage(existing).free)


def find_cached(key: str) -> CachedArrays | None:
    """Returns the arrays of an entry, mapped into memory; None if there is no entry, or a file has another size."""
    folder = find_cache_root() / key
    try:
        entry = json.loads((folder / _ENTRY_FILE).read_text())
        sizes = {name: (folder / f"{name}.npy").stat().st_size for name in entry["sizes"]}
        if sizes != entry["sizes"]:
            return None
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r").view(np.ndarray) for name in sizes}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    with contextlib.suppress(OSError):
        os.utime(folder)
    return CachedArrays(arrays, entry["notes"])


def find_cache_root() -> Path:
    """Returns the folder of the cache, which may not exist."""
    import pooch

    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("trainyard") / "decoded").expanduser()


def read_size_limit() -> int:
    """Returns the maximum size of the cache in bytes. Raises a DatasetError if the variable is not a number."""
    text = os.environ.get(SIZE_VARIABLE) or str(DEFAULT_GIGABYTES)
    try:
        limit = int(float(text) * 1e9)
    except (ValueError, OverflowError):
        limit = -1
    if limit < 0:
        raise DatasetError(f"{SIZE_VARIABLE}: expected a number of gigabytes, 0 to disable the cache, got {text!r}")
    return limit


def list_entries() -> list[CacheEntry]:
    """Returns the complete entries of the cache, the last used first."""
    entries = []
    for file in find_cache_root().glob(f"[!.]*/{_ENTRY_FILE}"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            if _KEY.fullmatch(file.parent.name):
                entry = json.loads(file.read_text())
                shapes = {name: tuple(shape) for name, shape in entry["shapes"].items()}
                used_at = file.parent.stat().st_mtime
                entries.append(CacheEntry(file.parent, entry["source"], shapes, _measure(file.parent), used_at))
    return sorted(entries, key=lambda entry: entry.used_at, reverse=True)


def clear_cache() -> int:
    """Removes all entries and unfinished entries that no process is writing; returns the number of freed bytes."""
    root = find_cache_root()
    freed = 0
    for folder in [path for path in root.glob("*") if path.is_dir() and _is_own(path)]:
        with contextlib.suppress(OSError), FileLock(_get_lock(folder), timeout=0):
            freed += _measure(folder)
            _remove(folder)
    return freed


def find_damage(entry: CacheEntry) -> list[str]:
    """Returns a message for each file of an entry that differs from its checksum."""
    files = sorted(entry.folder.glob("*.npy"))
    return [f"{file}: {problem}" for file in files if (problem := find_checksum_problem(file))]


def _create_entry(folder: Path, source: str, create: Create) -> None:
    """Creates an entry under a temporary name, and renames it when it is complete. The caller holds the lock."""
    partial = folder.with_name(PARTIAL_PREFIX + folder.name)
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)  # an entry whose files have other sizes
    partial.mkdir()
    try:
        notes = create(ArrayWriter(partial))
        files = sorted(partial.glob("*.npy"))
        shapes = {file.stem: np.load(file, mmap_mode="r").shape for file in files}
        sizes = {file.stem: file.stat().st_size for file in files}
        content = {"source": source, "shapes": shapes, "sizes": sizes, "notes": notes}
        (partial / _ENTRY_FILE).write_text(json.dumps(content))
        write_checksums(partial, [file.name for file in files])
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _create_in_memory(create: Create, size: int, problem: str | None = None) -> CachedArrays:
    """Creates arrays of a size in bytes in memory; raises a DatasetError if they do not fit into it."""
    check_memory(size, problem or "the decoded data", f"Set {CACHE_VARIABLE} or {SIZE_VARIABLE}, or dataset.limit")
    writer = ArrayWriter(None)
    notes = create(writer)
    return CachedArrays(writer.arrays, notes, problem)


def _remove_oldest(root: Path, limit: int) -> None:
    """Removes unfinished entries that are a day old, and the entries that exceed the limit in bytes, oldest first."""
    for partial in filter(_is_own, root.glob(f"{PARTIAL_PREFIX}*")):
        with contextlib.suppress(OSError):
            if time.time() - partial.stat().st_mtime > _STALE_SECONDS:
                _remove(partial)
    total = 0
    for entry in list_entries():
        total += entry.size
        if total > limit:
            with contextlib.suppress(OSError):  # another process removes it
                _remove(entry.folder)


def _remove(folder: Path) -> None:
    """Removes an entry. It is renamed first, so that no process opens a part of it."""
    removed = folder.with_name(f"{PARTIAL_PREFIX}{folder.name.removeprefix(PARTIAL_PREFIX)}.removed")
    shutil.rmtree(removed, ignore_errors=True)
    folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


def _is_own(folder: Path) -> bool:
    """Returns whether a folder in the cache is an entry, complete or unfinished, and not a folder of the user."""
    return _KEY.fullmatch(folder.name.removeprefix(PARTIAL_PREFIX).removesuffix(".removed")) is not None


def _get_lock(folder: Path) -> Path:
    """Returns the lock file of an entry."""
    key = folder.name.removeprefix(PARTIAL_PREFIX).removesuffix(".removed")
    return folder.with_name(f"{key}.lock")


def _measure(folder: Path) -> int:
    """Returns the size of the files in a folder in bytes."""
    return sum(file.stat().st_size for file in folder.iterdir())


def _write_header(file: Any, shape: tuple[int, ...]) -> None:  # noqa: ANN401 - a binary stream
    """Writes the header of an npy file with bytes of a shape."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})

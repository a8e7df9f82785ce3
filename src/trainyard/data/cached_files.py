"""Loading large compressed files of arrays, which are decompressed once into the cache of decoded data."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

from trainyard.data.array_cache import ArrayWriter, load_or_create
from trainyard.data.idx import check_idx_header, is_gzipped, load_idx
from trainyard.data.npz import load_npz

MIN_CACHED_BYTES = 64_000_000
"""The uncompressed size from which a file is cached. Smaller files are decompressed in less than a second."""

_END_BYTES = 4096

_Arrays: TypeAlias = dict[str, NDArray[Any]]


def load_cached_npz(path: Path, names: Sequence[str]) -> _Arrays:
    """Loads arrays like `load_npz`. Those of a large compressed file come from the cache, mapped into memory.

    The file is decompressed again if its name, size or modification time has changed. Raises a DatasetError if the file
    is invalid; nothing is stored then.
    """
    size = _measure_compressed_arrays(path)
    return load_cached(path, ["npz 1", list(names)], size, lambda: load_npz(path, names))


def load_cached_idx(path: Path) -> NDArray[Any]:
    """Loads an array like `load_idx`. That of a large gzipped file comes from the cache; see `load_cached_npz`."""
    shape, dtype = check_idx_header(path)
    size = math.prod(shape) * dtype.itemsize if is_gzipped(path) else 0
    return load_cached(path, ["idx 1"], size, lambda: {"array": load_idx(path)})["array"]


def load_cached(path: Path, kind: list[Any], size: int, load: Callable[[], _Arrays]) -> _Arrays:
    """Returns the arrays of a file, from the cache if the compressed ones have many bytes: `size`.

    `kind` identifies the format, its version, and the arrays.
    """
    if size < MIN_CACHED_BYTES:
        return load()
    status = path.stat()

    def create(writer: ArrayWriter) -> dict[str, Any]:
        for name, array in load().items():
            writer.add(name, array)
        return {}

    about = [*kind, path.name, status.st_size, status.st_mtime_ns, _read_end(path).hex()]
    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]
    return load_or_create(key, str(path.absolute()), size, create).arrays


def _read_end(path: Path) -> bytes:
    """Returns the last bytes of a file, in which npz and gzipped files have checksums of their contents."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END_BYTES))
        return file.read()


def _measure_compressed_arrays(path: Path) -> int:
    """Returns the uncompressed size of the compressed arrays in bytes; 0 if the file is not a zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return 0  # load_npz raises the error
    return sum(member.file_size for member in members if member.compress_type != zipfile.ZIP_STORED)

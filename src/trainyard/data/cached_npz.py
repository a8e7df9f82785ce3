"""Loading large compressed npz files, which are decompressed once into the cache of decoded data."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from trainyard.data.array_cache import ArrayWriter, load_or_create
from trainyard.data.npz import load_npz

MIN_CACHED_BYTES = 64_000_000
"""The uncompressed size from which a file is cached. Smaller files are decompressed in less than a second."""


def load_cached_npz(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Loads arrays like `load_npz`. Those of a large compressed file come from the cache, mapped into memory.

    The file is decompressed again if its name, size or modification time has changed. Raises a DatasetError if the file
    is invalid; nothing is stored then.
    """
    size = _measure_compressed_arrays(path)
    if size < MIN_CACHED_BYTES:
        return load_npz(path, names)
    status = path.stat()
    about = ["npz 1", path.name, status.st_size, status.st_mtime_ns, list(names)]

    def create(writer: ArrayWriter) -> dict[str, Any]:
        for name, array in load_npz(path, names).items():
            writer.add(name, array)
        return {}

    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]
    return load_or_create(key, str(path.absolute()), size, create).arrays


def _measure_compressed_arrays(path: Path) -> int:
    """Returns the uncompressed size of the compressed arrays in bytes; 0 if the file is no zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return 0  # load_npz raises the error
    return sum(member.file_size for member in members if member.compress_type != zipfile.ZIP_STORED)

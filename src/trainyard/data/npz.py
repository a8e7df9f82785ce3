"""Reading arrays out of npz files, without unpickling anything and without believing a header."""

from __future__ import annotations

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.errors import DatasetError


def read_npz(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Reads arrays of an npz file.

    Args:
        path: The file.
        names: The arrays that must be there.
        optional: Arrays that may be there.

    Returns:
        The arrays by name, read-only, of whatever type and shape the file holds; no objects.

    Raises:
        DatasetError: If the file is no npz file, lacks an array, or an array is not what its header says.
    """
    with _opened(path) as archive:
        held = [member.removesuffix(".npy") for member in archive.namelist() if member.endswith(".npy")]
        if missing := [name for name in names if name not in held]:
            raise DatasetError(
                f"{path}: expected an array {missing[0]}, and there is none. It holds {', '.join(held) or 'none'}"
            )
        wanted = [*names, *(name for name in optional if name in held)]
        return {name: _read_member(archive, f"{name}.npy", path) for name in wanted}


def list_npz(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Returns the shape and the type of each array of an npz file, as their headers tell them.

    Raises:
        DatasetError: If the file is no npz file.
    """
    found = {}
    with _opened(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                with archive.open(member) as file:
                    shape, _, dtype = _read_header(file)
                found[member.removesuffix(".npy")] = (shape, dtype)
    return found


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"{path}: expected an npz file; it can't be read: {error}") from error


def _read_member(archive: zipfile.ZipFile, member: str, path: Path) -> NDArray[Any]:
    with archive.open(member) as file:
        shape, fortran, dtype = _read_header(file)
        if dtype.hasobject:
            raise DatasetError(f"{path}: {member}: expected numbers, got Python objects, which are never unpickled")
        expected = math.prod(shape) * dtype.itemsize
        there = archive.getinfo(member).file_size - file.tell()
        if expected != there:
            raise DatasetError(
                f"{path}: {member}: its header announces {dtype} {shape}, {expected:,} bytes, and {there:,} follow"
            )
        content = file.read(expected + 1)
    if len(content) != expected:
        raise DatasetError(f"{path}: {member}: expected {expected:,} bytes, found {len(content):,}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)

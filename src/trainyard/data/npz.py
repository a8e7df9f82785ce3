"""Loading arrays from npz files safely: nothing is unpickled, and no memory is allocated because of a false header."""

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

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")
"""The names of the four arrays of a data set in an npz file, as in Keras's data sets."""


def load_npz(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Loads arrays from an npz file: read-only, with the dtype and shape in the file. Never arrays of objects.

    Raises a DatasetError if it can't be read, a required array is missing, or a header does not match the data.
    """
    with _open_npz(path) as archive:
        available = [member.removesuffix(".npy") for member in archive.namelist() if member.endswith(".npy")]
        if missing := [name for name in names if name not in available]:
            raise DatasetError(
                f"{path}: expected an array {missing[0]}, which is missing. "
                f"Arrays in the file: {', '.join(available) or 'none'}"
            )
        requested = [*names, *(name for name in optional if name in available)]
        return {name: _load_member(archive, f"{name}.npy", path) for name in requested}


def list_npz_arrays(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Returns the shape and dtype of each array, according to the headers. Raises a DatasetError if unreadable."""
    arrays = {}
    with _open_npz(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                with archive.open(member) as file:
                    shape, _, dtype = _read_header(file)
                arrays[member.removesuffix(".npy")] = (shape, dtype)
    return arrays


@contextlib.contextmanager
def _open_npz(path: Path) -> Iterator[zipfile.ZipFile]:
    """Opens an npz file; raises a DatasetError if it, or a member that is read in the context, is unreadable."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"{path}: expected an npz file; it can't be read: {error}") from error


def _load_member(archive: zipfile.ZipFile, member: str, path: Path) -> NDArray[Any]:
    """Loads one array of an open npz file; raises a DatasetError if its length contradicts its header."""
    with archive.open(member) as file:
        shape, fortran, dtype = _read_header(file)
        if dtype.hasobject:
            raise DatasetError(f"{path}: {member}: expected numbers, got Python objects, which are never unpickled")
        expected = math.prod(shape) * dtype.itemsize
        actual = archive.getinfo(member).file_size - file.tell()
        if expected != actual:
            raise DatasetError(
                f"{path}: {member}: expected {expected:,} bytes, as its header specifies {dtype} {shape}, "
                f"got {actual:,} bytes"
            )
        return np.frombuffer(file.read(expected), dtype).reshape(shape, order="F" if fortran else "C")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Returns the shape, whether the order is Fortran's, and the dtype of an npy file."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)

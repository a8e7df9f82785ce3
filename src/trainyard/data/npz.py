"""Loading arrays from npz files safely: nothing is unpickled, and no memory is allocated because of a false header."""

from __future__ import annotations

import contextlib
import gzip
import math
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.errors import DatasetError

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")
"""The names of the four arrays of a data set in an npz file, as in Keras's data sets."""

_CHUNK_BYTES = 2**20
_FORMATS = {
    b"\x93NUMPY": "an npy file, which has a single array",
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a Parquet file",
    b"MATLAB": "a MATLAB file",
    b"\x80": "a pickle, which Trainyard never loads, because that would execute code",
    b"\x1f\x8b": "a gzipped file",
    b"\x89PNG": "a PNG file",
    b"\xff\xd8\xff": "a JPEG file",
}
"""The names of other formats by the first bytes of their files."""


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
    """Returns the shape and dtype of each array, according to the headers.

    A member that is not an array has the shape () and the dtype void. Raises a DatasetError if the file can't be read
    or has no arrays.
    """
    arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    with _open_npz(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                name = member.removesuffix(".npy")
                try:
                    with archive.open(member) as file:
                        shape, _, dtype = _read_header(file)
                    arrays[name] = (shape, dtype)
                except ValueError:
                    arrays[name] = ((), np.dtype("V"))
    if not arrays:
        raise DatasetError(
            f"{path}: expected an npz file, got a zip file without arrays. Unpack it, and use dataset=image_folder for "
            "image files, or dataset=idx for idx files"
        )
    return arrays


def check_npz_headers(path: Path, names: Iterable[str]) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Returns the shape and dtype of arrays without reading them; raises a DatasetError if they would not load."""
    headers = {}
    with _open_npz(path) as archive:
        for name in names:
            with archive.open(f"{name}.npy") as file:
                shape, _, dtype = _check_header(archive, f"{name}.npy", path, file)
                headers[name] = (shape, dtype)
    return headers


@contextlib.contextmanager
def _open_npz(path: Path) -> Iterator[zipfile.ZipFile]:
    """Opens an npz file; raises a DatasetError if it, or a member that is read in the context, is unreadable."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(
            f"{path}: expected an npz file; it can't be read: {_describe_file(path) or error}"
        ) from error


def _describe_file(path: Path) -> str:
    """Returns what to do about a folder or a file with another format; an empty string if the format is unknown."""
    advice = "Trainyard trains on images only; save them with numpy.savez_compressed(path, x_train=..., y_train=...)"
    try:
        if path.is_dir():
            return "it is a folder. Use dataset=image_folder for image files, or dataset=idx for idx files"
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return ""
    for magic, name in _FORMATS.items():
        if start.startswith(magic):
            return f"it is {name}. {advice}"
    is_text = start and path.suffix.lower() in (".csv", ".tsv", ".txt", ".json", ".arff")
    return f"it is a text file. {advice}" if is_text else ""


def read_stream(file: IO[bytes] | gzip.GzipFile, max_bytes: int = sys.maxsize) -> bytearray:
    """Reads a stream to its end, or at most `max_bytes` bytes, of which no second copy is made.

    In contrast, `read` joins the parts of a compressed file, which needs twice the memory.
    """
    content = bytearray()
    while chunk := file.read(min(_CHUNK_BYTES, max_bytes - len(content))):
        content += chunk
    return content


def _load_member(archive: zipfile.ZipFile, member: str, path: Path) -> NDArray[Any]:
    """Loads one array of an open npz file; see `_check_header`."""
    with archive.open(member) as file:
        shape, fortran, dtype = _check_header(archive, member, path, file)
        content = memoryview(read_stream(file)).toreadonly()
        return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _check_header(
    archive: zipfile.ZipFile, member: str, path: Path, file: IO[bytes]
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Reads a header; raises a DatasetError if the array contains Python objects, or its length is another."""
    shape, fortran, dtype = _read_header(file)
    if dtype.hasobject:
        raise DatasetError(
            f"{path}: {member}: expected numbers or texts, got Python objects, which are never unpickled, because "
            "that would execute code. Save texts as np.array(texts, dtype=str), and images as np.stack(images)"
        )
    expected = math.prod(shape) * dtype.itemsize
    actual = archive.getinfo(member).file_size - file.tell()
    if expected != actual:
        raise DatasetError(
            f"{path}: {member}: expected {expected:,} bytes, as its header specifies {dtype} {shape}, "
            f"got {actual:,} bytes"
        )
    return shape, fortran, dtype


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Returns the shape, whether the order is Fortran's, and the dtype of an npy file."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)

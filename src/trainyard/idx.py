"""Reading the idx format of MNIST, plain, gzipped or as Keras's npz, with the content held against its digest.

What is verified is the content, not the container: gzip headers differ between copies, and an npz holds the same
arrays without the idx header, which is put back before hashing. Nothing is ever unpickled, and no more is read than
the content may be long.

Format: http://yann.lecun.com/exdb/mnist (Yann LeCun, Corinna Cortes, Christopher Burges).

Before it: errors. After it: datasets.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainyard.errors import DatasetError

_UINT8 = 0x08


@dataclass(frozen=True, slots=True)
class IdxFile:
    """One idx file as it was published."""

    name: str
    """The name of the file, without .gz."""
    npz_key: str
    """The name of the same array in Keras's npz."""
    shape: tuple[int, ...]
    sha256: str
    """Of the unzipped file, header included."""

    @property
    def header(self) -> bytes:
        """The file's first bytes: magic number, type, dimensions."""
        return struct.pack(f">BBBB{len(self.shape)}I", 0, 0, _UINT8, len(self.shape), *self.shape)

    @property
    def size(self) -> int:
        """The length of the unzipped file in bytes."""
        return len(self.header) + int(np.prod(self.shape))


def read_idx(path: Path, expected: IdxFile) -> NDArray[np.uint8]:
    """Reads and verifies an idx file, gzipped where its name ends so.

    Args:
        path: The file.
        expected: What it must hold.

    Returns:
        uint8, of the expected shape, read-only.

    Raises:
        DatasetError: If the file can't be read or its content is not the published one; says what was found.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            content = file.read(expected.size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(
            f"{path}: expected {expected.name}, gzipped idx; it can't be read: {error or 'it is cut short'}"
        ) from error
    return _verify(content, expected, path)


def read_npz_member(path: Path, expected: IdxFile) -> NDArray[np.uint8]:
    """Reads one array of Keras's mnist.npz and verifies it against the idx file it was made of.

    Args:
        path: The npz file.
        expected: Which array, and what it must hold.

    Returns:
        uint8, of the expected shape, read-only.

    Raises:
        DatasetError: If the file can't be read or the array is not the published one; says what was found.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{expected.npz_key}.npy") as member:
            version = np.lib.format.read_magic(member)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read_header(member)
            if shape != expected.shape or dtype != np.uint8 or fortran:
                raise DatasetError(
                    f"{path}: expected {expected.npz_key} as uint8 {expected.shape}, found {dtype} {shape}"
                )
            content = member.read(expected.size + 1)
    except KeyError as error:
        raise DatasetError(f"{path}: expected an array {expected.npz_key}, and there is none") from error
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"{path}: expected an npz file; it can't be read: {error}") from error
    return _verify(expected.header + content, expected, path)


def _verify(content: bytes, expected: IdxFile, path: Path) -> NDArray[np.uint8]:
    if len(content) != expected.size:
        amount = "more" if len(content) > expected.size else f"{len(content):,}"
        raise DatasetError(
            f"{path}: expected {expected.size:,} bytes of {expected.name}, found {amount}{_resembles(content)}"
        )
    found = hashlib.sha256(content).hexdigest()
    if found != expected.sha256:
        raise DatasetError(
            f"{path}: expected the content of {expected.name} with sha256 {expected.sha256}, "
            f"found {found}{_resembles(content)}"
        )
    return np.frombuffer(content, np.uint8, offset=len(expected.header)).reshape(expected.shape)


def _resembles(content: bytes) -> str:
    """Names what a wrong content looks like, where that tells the reader what happened."""
    start = content[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return ": it is a web page"
    if not content:
        return ": it is empty"
    return ""

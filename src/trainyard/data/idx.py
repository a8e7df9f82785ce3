"""Reading the idx format of MNIST, plain, gzipped or as Keras's npz, published or one's own.

A published file is held against its digest. Where the digest is of the content, the container does not matter: gzip
headers differ between copies, and an npz holds the same arrays without the idx header, which is put back before
hashing. Where only the digest of the gzipped file is known, that file is wanted. No more is read of a published file
than its content may be long.

Format: http://yann.lecun.com/exdb/mnist (Yann LeCun, Corinna Cortes, Christopher Burges).
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainyard.data.npz import read_npz
from trainyard.errors import DatasetError

_UINT8 = 0x08
_MAGIC = 4
"""The bytes before the dimensions: two zeros, the type, the number of dimensions."""


@dataclass(frozen=True, slots=True)
class IdxFile:
    """One idx file as it was published."""

    name: str
    """The name of the file, without .gz."""
    shape: tuple[int, ...]
    sha256: str | None = None
    """Of the unzipped file, header included."""
    gz_md5: str | None = None
    """Of the gzipped file, where that of its content was never published."""
    npz_key: str | None = None
    """The name of the same array in Keras's npz, where there is one."""

    @property
    def header(self) -> bytes:
        """The file's first bytes: magic number, type, dimensions."""
        return struct.pack(f">BBBB{len(self.shape)}I", 0, 0, _UINT8, len(self.shape), *self.shape)

    @property
    def size(self) -> int:
        """The length of the unzipped file in bytes."""
        return len(self.header) + int(np.prod(self.shape))


def read_idx(path: Path, expected: IdxFile) -> NDArray[np.uint8]:
    """Reads and verifies a published idx file, gzipped where its name ends so.

    Args:
        path: The file.
        expected: What it must hold.

    Returns:
        uint8, of the expected shape, read-only.

    Raises:
        DatasetError: If the file can't be read or its content is not the published one; says what was found.
    """
    if expected.gz_md5:
        _verify_container(path, expected)
    return _verify(_read_content(path, expected.size + 1), expected, path)


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
    key = str(expected.npz_key)
    array = read_npz(path, [key])[key]
    if array.shape != expected.shape or array.dtype != np.uint8:
        raise DatasetError(f"{path}: expected {key} as uint8 {expected.shape}, found {array.dtype} {array.shape}")
    return _verify(expected.header + array.tobytes(), expected, path)


def read_own_idx(path: Path) -> NDArray[np.uint8]:
    """Reads an idx file of bytes, of any shape, gzipped where its name ends so.

    Args:
        path: The file.

    Returns:
        uint8, of the shape that its header says, read-only.

    Raises:
        DatasetError: If the file can't be read, holds no bytes, or is not as long as its header says.
    """
    content = _read_content(path, None)
    zeros, kind, dimensions = content[:2], content[2:3], content[3] if len(content) > _MAGIC else 0
    start = _MAGIC + 4 * dimensions
    if zeros != bytes(2) or len(content) < start or not dimensions:
        raise DatasetError(f"{path}: expected an idx file, and its header is none{_resembles(content)}")
    if kind[0] != _UINT8:
        raise DatasetError(f"{path}: expected an idx file of bytes (type 0x08), got type 0x{kind[0]:02x}")
    shape = struct.unpack(f">{dimensions}I", content[_MAGIC:start])
    if len(content) - start != math.prod(shape):
        raise DatasetError(
            f"{path}: its header announces {' x '.join(map(str, shape))} bytes, and {len(content) - start:,} follow"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _read_content(path: Path, longest: int | None) -> bytes:
    """Returns the file, unzipped, up to a length."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            return bytes(file.read() if longest is None else file.read(longest))
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(
            f"{path}: expected an idx file{', gzipped' if opener is gzip.open else ''}; it can't be read: "
            f"{error or 'it is cut short'}"
        ) from error


def _verify_container(path: Path, expected: IdxFile) -> None:
    """Holds a gzipped file against its md5."""
    if path.suffix != ".gz":
        raise DatasetError(
            f"{path}: expected {expected.name}.gz: only of the gzipped file a digest was published. Put it there as "
            "it was downloaded"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: expected {expected.name}.gz; it can't be read: {error}") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected.gz_md5:
        raise DatasetError(
            f"{path}: expected {expected.name}.gz with md5 {expected.gz_md5}, found {found}{_resembles(content)}"
        )


def _verify(content: bytes, expected: IdxFile, path: Path) -> NDArray[np.uint8]:
    if len(content) != expected.size:
        amount = "more" if len(content) > expected.size else f"{len(content):,}"
        raise DatasetError(
            f"{path}: expected {expected.size:,} bytes of {expected.name}, found {amount}{_resembles(content)}"
        )
    found = hashlib.sha256(content).hexdigest()
    if expected.sha256 and found != expected.sha256:
        raise DatasetError(
            f"{path}: expected the content of {expected.name} with sha256 {expected.sha256}, "
            f"found {found}{_resembles(content)}"
        )
    if not content.startswith(expected.header):
        raise DatasetError(f"{path}: expected the header of {expected.name}, uint8 {expected.shape}, found another")
    return np.frombuffer(content, np.uint8, offset=len(expected.header)).reshape(expected.shape)


def _resembles(content: bytes) -> str:
    """Names what a wrong content looks like, where that tells the reader what happened."""
    start = content[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return ": it is a web page"
    if not content:
        return ": it is empty"
    return ""

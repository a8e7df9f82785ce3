"""Loading idx files, the format of MNIST: plain, gzipped, or as arrays in Keras's mnist.npz.

A published file is compared with its digest. If the digest is that of the content, the container does not matter: gzip
headers differ between copies, and an npz file holds the same arrays without the idx header, which is added again before
hashing. If only the digest of the gzipped file is known, the gzipped file is required. Decompression of a published
file stops after its expected length, so that a damaged file can't fill the memory.

Format: http://yann.lecun.com/exdb/mnist (Yann LeCun, Corinna Cortes, Christopher Burges).
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainyard.data.npz import load_npz, read_stream
from trainyard.errors import DatasetError

_MAGIC_LENGTH = 4
"""The number of bytes before the dimensions: two zeros, the type, the number of dimensions."""
_UINT8 = 0x08
_DTYPES = {_UINT8: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""The dtypes by the type in the header."""
_MAX_HEADER = _MAGIC_LENGTH + 4 * 255
"""The length of the longest header: the number of dimensions is one byte."""
_GZIP_MAGIC = b"\x1f\x8b"

IdxPath: TypeAlias = Path | zipfile.Path
"""The path of an idx file, which may be in a zip archive."""


@dataclass(frozen=True, slots=True)
class IdxFile:
    """The name, shape and digest of a published idx file."""

    name: str
    """The name of the file, without .gz."""
    shape: tuple[int, ...]
    sha256: str | None = None
    """The digest of the uncompressed file, including its header; None if it is not published."""
    gz_md5: str | None = None
    """The digest of the gzipped file; None if the digest of the uncompressed file is known."""
    npz_key: str = ""
    """The name of the same array in an npz file of Keras."""

    @property
    def header(self) -> bytes:
        """The first bytes of the file: magic number with type, and dimensions."""
        return struct.pack(f">BBBB{len(self.shape)}I", 0, 0, _UINT8, len(self.shape), *self.shape)

    @property
    def size(self) -> int:
        """The length of the uncompressed file in bytes."""
        return len(self.header) + int(np.prod(self.shape))


def load_verified_idx(path: Path, expected: IdxFile) -> NDArray[np.uint8]:
    """Loads a published idx file, gzipped if its name ends in .gz: uint8 of the expected shape, read-only.

    Raises a DatasetError if the file can't be read or its content differs from the published content.
    """
    if expected.gz_md5:
        if path.suffix != ".gz":
            raise DatasetError(
                f"{path}: expected the gzipped file {expected.name}.gz, as the uncompressed file has no published "
                "digest. Put the downloaded file there, without unpacking it"
            )
        gzipped = _read_content(path, unpack=False)
        digest = hashlib.md5(gzipped, usedforsecurity=False).hexdigest()
        if digest != expected.gz_md5:
            raise DatasetError(
                f"{path}: expected {expected.name}.gz with md5 {expected.gz_md5}, got {digest}"
                f"{_describe_content(gzipped)}"
            )
    return _verify_content(_read_content(path, expected.size + 1), expected, path)


def load_verified_npz_array(path: Path, expected: IdxFile) -> NDArray[np.uint8]:
    """Loads one array of Keras's mnist.npz: uint8 of the expected shape, read-only. It must equal the idx file."""
    key = expected.npz_key
    array = load_npz(path, [key])[key]
    if array.shape != expected.shape or array.dtype != np.uint8:
        raise DatasetError(f"{path}: expected {key} as uint8 {expected.shape}, got {array.dtype} {array.shape}")
    return _verify_content(expected.header + array.tobytes(), expected, path)


def load_idx(path: IdxPath) -> NDArray[Any]:
    """Loads an idx file, gzipped or not: an array of the type and shape in its header, read-only.

    Raises a DatasetError if it can't be read, its type is unknown, or its length contradicts its header.
    """
    content = _read_content(path)
    shape, dtype = _parse_header(content, path)
    start = _MAGIC_LENGTH + 4 * len(shape)
    _check_length(len(content) - start, shape, dtype, path)
    return np.frombuffer(memoryview(content).toreadonly()[start:], dtype).reshape(shape)


def check_idx_header(path: IdxPath) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Returns the shape and dtype of the array in an idx file, without reading it.

    Raises a DatasetError if the header is invalid, or the length of a file that is not gzipped contradicts it.
    """
    content = _read_content(path, _MAX_HEADER)
    shape, dtype = _parse_header(content, path)
    if isinstance(path, Path) and not is_gzipped(path):
        _check_length(path.stat().st_size - _MAGIC_LENGTH - 4 * len(shape), shape, dtype, path)
    return shape, dtype


def is_gzipped(path: IdxPath) -> bool:
    """Returns whether a file is gzipped, according to its content. Raises a DatasetError if it can't be read."""
    return _read_content(path, len(_GZIP_MAGIC), unpack=False) == _GZIP_MAGIC


def _check_length(actual: int, shape: tuple[int, ...], dtype: np.dtype[Any], path: IdxPath) -> None:
    """Raises a DatasetError if an array does not have this number of bytes."""
    if actual != math.prod(shape) * dtype.itemsize:
        raise DatasetError(
            f"{path}: expected {' x '.join(map(str, shape))} values of {dtype.itemsize} bytes, as its header "
            f"specifies, got {actual:,} bytes"
        )


def _parse_header(content: bytes | bytearray, path: IdxPath) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Returns the shape and dtype that the first bytes of an idx file specify."""
    zeros, kind, dimensions = content[:2], content[2:3], content[3] if len(content) > _MAGIC_LENGTH else 0
    start = _MAGIC_LENGTH + 4 * dimensions
    if zeros != bytes(2) or len(content) < start or not dimensions:
        raise DatasetError(f"{path}: expected an idx file, got a file with another header{_describe_content(content)}")
    if kind[0] not in _DTYPES:
        raise DatasetError(f"{path}: expected an idx file of type 0x08, 0x09 or 0x0b to 0x0e, got type 0x{kind[0]:02x}")
    return struct.unpack(f">{dimensions}I", content[_MAGIC_LENGTH:start]), np.dtype(_DTYPES[kind[0]])


def _read_content(path: IdxPath, max_bytes: int = sys.maxsize, *, unpack: bool = True) -> bytearray:
    """Returns the first `max_bytes` bytes of a file, or all of them; by default, those of the uncompressed content.

    A gzipped file is recognized by its content, because browsers unpack files or remove the suffix.
    """
    gzipped = path.suffix == ".gz"
    try:
        with path.open("rb") as file:
            gzipped = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        with path.open("rb") as file, gzip.open(file) if gzipped and unpack else file as content:
            return read_stream(content, max_bytes)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(
            f"{path}: expected {'a gzipped idx file' if gzipped else 'an idx file'}; it can't be read: "
            f"{error or 'it is truncated'}"
        ) from error


def _verify_content(content: bytes | bytearray, expected: IdxFile, path: Path) -> NDArray[np.uint8]:
    """Returns the array in an uncompressed idx file; raises a DatasetError if it is not the published one."""
    if len(content) != expected.size:
        amount = "more" if len(content) > expected.size else f"{len(content):,}"
        raise DatasetError(
            f"{path}: expected {expected.size:,} bytes of {expected.name}, got {amount}{_describe_content(content)}"
        )
    digest = hashlib.sha256(content).hexdigest()
    if expected.sha256 and digest != expected.sha256:
        raise DatasetError(
            f"{path}: expected the content of {expected.name} with sha256 {expected.sha256}, "
            f"got {digest}{_describe_content(content)}"
        )
    return np.frombuffer(memoryview(content).toreadonly(), np.uint8, offset=len(expected.header)).reshape(
        expected.shape
    )


def _describe_content(content: bytes | bytearray) -> str:
    """Returns a suffix for a message if the content is a web page or empty, else an empty string."""
    start = content[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return " (the file is a web page)"
    if not content:
        return " (the file is empty)"
    return ""

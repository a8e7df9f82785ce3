"""Atomic writes, checksums, and clear errors when a disk is full."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainyard.errors import TrainyardError, summarize_error

PARTIAL_PREFIX = "partial."
"""Prefix of the temporary file that `atomic_write` writes to."""

CHECKSUM_FILE = "checksums.txt"
"""The file with the SHA-256 checksums of other files in its folder, in the format of ``sha256sum``."""

_DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)
"""The disk is full, the disk quota of the user is exceeded."""

_DISK_FULL_TEXTS = (*map(os.strerror, _DISK_FULL_ERRORS), "database or disk is full")
"""Messages of libraries that raise errors of other types, such as HDF5 and SQLite."""


@contextlib.contextmanager
def atomic_write(file: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yields a temporary path in the folder of a file, and moves it to the file when the block ends.

    If the block raises, an existing file is unchanged. The temporary path has the suffix of the file. `durable` also
    syncs the folder, so that the new file, not its predecessor, survives a power failure.
    """
    partial = file.with_name(f"{PARTIAL_PREFIX}{file.name}")
    try:
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(file)
        if durable:
            _sync_folder(file.parent)
    finally:
        partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Writes the names of the files in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def explain_disk_full(folder: Path, remedy: str = "or use another disk") -> Iterator[None]:
    """Converts errors that a full disk causes into a TrainyardError; the block writes to the folder.

    `remedy` is what to do besides freeing space.
    """
    try:
        yield
    except TrainyardError:
        raise
    except Exception as error:  # HDF5 raises RuntimeError too
        if problem := describe_full_disk(error, folder):
            raise TrainyardError(f"{problem}. Free some space, {remedy}") from error
        raise


def describe_full_disk(error: BaseException, *paths: Path) -> str | None:
    """Returns what could not be written, and which disk is full, if this caused the error; else None.

    `paths` are the files or folders that the error may refer to if it does not name one.
    """
    if getattr(error, "errno", None) not in _DISK_FULL_ERRORS and not any(
        text in str(error) for text in _DISK_FULL_TEXTS
    ):
        return None
    if filename := getattr(error, "filename2", None) or getattr(error, "filename", None):  # the second is a target
        paths = (Path(os.fsdecode(filename)),)
    free_bytes = {path: shutil.disk_usage(_find_disk(path)).free for path in paths}
    path = min(paths, key=free_bytes.__getitem__)
    reason = "" if isinstance(error, OSError) else f" ({summarize_error(error)})"
    return (
        f"{path}: can't be written, because the disk is full: {free_bytes[path] / 1e6:.1f} MB are free on "
        f"{_find_disk(path)}{reason}"
    )


def _find_disk(path: Path) -> Path:
    """Returns where the disk of a file or folder, which need not exist, is mounted."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_mount())


def write_checksums(folder: Path, names: Sequence[str]) -> None:
    """Writes checksums.txt, which contains the SHA-256 checksums of files in a folder."""
    (folder / CHECKSUM_FILE).write_text("".join(f"{compute_sha256(folder / name)}  {name}\n" for name in names))


def find_checksum_problem(file: Path) -> str | None:
    """Returns a message if a file differs from its checksum in checksums.txt; None if it matches or is not listed."""
    try:
        lines = (file.parent / CHECKSUM_FILE).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    recorded = {name: digest.lower() for digest, _, name in (line.partition("  ") for line in lines)}.get(file.name, "")
    if not re.fullmatch(r"[0-9a-f]{64}", recorded) or recorded == (actual := compute_sha256(file)):
        return None
    return (
        f"the file was changed after it was saved: expected SHA-256 {recorded}, got {actual}. If the change was "
        f"intended, delete {file.parent / CHECKSUM_FILE}"
    )


def compute_sha256(file: Path) -> str:
    """Returns the SHA-256 hash (hexadecimal) of the content of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

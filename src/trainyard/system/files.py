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

from trainyard.errors import TrainyardError

PARTIAL_PREFIX = "partial."
"""Prefix of the temporary file that `atomic_write` writes to."""

CHECKSUM_FILE = "checksums.txt"
"""The file with the SHA-256 checksums of other files in its folder, in the format of ``sha256sum``."""

_DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)
"""The disk is full, the disk quota of the user is exceeded."""


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
def explain_disk_full(folder: Path) -> Iterator[None]:
    """Converts errors that a full disk causes into a TrainyardError with the folder that the block writes to."""
    try:
        yield
    except TrainyardError:
        raise
    except Exception as error:  # HDF5 raises RuntimeError too
        is_in_message = any(os.strerror(number) in str(error) for number in _DISK_FULL_ERRORS)
        if getattr(error, "errno", None) not in _DISK_FULL_ERRORS and not is_in_message:
            raise
        filename = getattr(error, "filename", None)
        full_folder = Path(os.fsdecode(filename)).parent if filename else folder
        free_mb = shutil.disk_usage(full_folder).free / 1e6 if full_folder.is_dir() else 0.0
        raise TrainyardError(
            f"{full_folder}: the disk is full ({free_mb:.1f} MB free): {error}. Free some space or use another disk"
        ) from error


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

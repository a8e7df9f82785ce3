"""Files that are written whole or not at all, and known again by their checksums; disks that are full."""

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

PARTIAL = "partial."
"""What the names of files begin with that are being written."""

CHECKSUMS = "checksums.txt"
"""The sha256 of files beside it, as the program sha256sum writes and checks them."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Of a disk, and of a user's share of it."""


@contextlib.contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Yields a path beside a file's place, and moves what was written there to its place when the block is through.

    What lay in the place stays until then, and for good where the block raises. The suffix is that of the file.
    """
    partial = file.with_name(f"{PARTIAL}{file.name}")
    try:
        yield partial
        with partial.open("rb+") as written:
            os.fsync(written.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def full_disk_told(folder: Path) -> Iterator[None]:
    """Turns what is raised where a disk is full into an error that says which it is, and how much is left.

    Args:
        folder: What the block writes to.
    """
    try:
        yield
    except TrainyardError:
        raise
    except Exception as error:  # HDF5 raises RuntimeError too
        said = any(os.strerror(number) in str(error) for number in _FULL)
        if getattr(error, "errno", None) not in _FULL and not said:
            raise
        named = getattr(error, "filename", None)
        place = Path(os.fsdecode(named)).parent if named else folder
        free = shutil.disk_usage(place).free / 1e6 if place.is_dir() else 0.0
        raise TrainyardError(
            f"{place}: the disk is full, {free:.1f} MB are free: {error}. Free some space, or work elsewhere"
        ) from error


def write_checksums(folder: Path, names: Sequence[str]) -> None:
    """Writes checksums.txt: the sha256 of files of a folder, which a reader holds them against."""
    (folder / CHECKSUMS).write_text("".join(f"{_sha256(folder / name)}  {name}\n" for name in names))


def checksum_problem(file: Path) -> str | None:
    """Returns what is wrong with a file by the checksums.txt beside it, or None, also where that does not name it."""
    try:
        lines = (file.parent / CHECKSUMS).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    noted = {name: digest.lower() for digest, _, name in (line.partition("  ") for line in lines)}.get(file.name, "")
    if not re.fullmatch(r"[0-9a-f]{64}", noted) or noted == (found := _sha256(file)):  # others may keep other sums
        return None
    return (
        f"it was changed since it was saved: expected sha256 {noted}, found {found}. If that was on purpose, remove "
        f"{file.parent / CHECKSUMS}"
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

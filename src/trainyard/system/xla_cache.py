"""The persistent cache of compiled XLA programs. It reduces the start-up time of a known network to a third.

TensorFlow reads and writes the files, one per program, but does not detect corrupted machine code. Trainyard therefore
writes a digest next to each file, and deletes files without a valid digest before TensorFlow reads them. A compiled
program depends on the processor, the versions of TensorFlow and the operating system, the XLA flags and the number of
threads. TensorFlow's cache key covers only a part of this, so each combination has a separate folder.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from trainyard.system.files import compute_sha256

MAX_CACHED_PROGRAMS = 200
"""Maximum number of programs per folder; the oldest are deleted. One program takes about half a megabyte."""

_VARIABLE = "TF_XLA_FLAGS"
_FLAG = "--tf_xla_persistent_cache_directory="
_OWN_FLAG = re.compile(rf"{_FLAG}(\S*/trainyard/xla/[0-9a-f]{{16}})(?!\S)")


def configure_xla_cache(threads: int) -> None:
    """Sets TensorFlow's cache folder for this machine and number of threads. Call it before TensorFlow is imported.

    If the user has configured a cache, that one is used. If the folder cannot be created, programs are not cached.
    """
    other_flags = _OWN_FLAG.sub("", os.environ.get(_VARIABLE, ""))
    folder = _build_folder_path(threads)
    if "tensorflow" in sys.modules or _FLAG in other_flags or re.search(r"\s", str(folder)):
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _delete_invalid_programs(folder)
        with tempfile.TemporaryFile(dir=folder) as test_file:  # TensorFlow reports a full disk as a compilation error
            test_file.write(bytes(4_000_000))
    except OSError:
        return
    flags = [other_flags.strip(), f"{_FLAG}{folder}", "--tf_xla_persistent_cache_device_types=CPU"]
    os.environ[_VARIABLE] = " ".join(filter(None, flags))


def write_digests(started_at: float) -> None:
    """Writes the digests of new programs, which mark them as valid.

    Wrong digests of programs that were written since the compilation began (in seconds since 1970) are updated: if two
    processes compile the same program, the second overwrites the file for which the first has written a digest.
    """
    with contextlib.suppress(OSError):
        for program in _list_programs():
            if not _get_digest_file(program).exists() or (
                program.stat().st_mtime >= started_at and is_corrupted(program)
            ):
                _get_digest_file(program).write_text(compute_sha256(program))


def clear_xla_cache() -> bool:
    """Deletes all programs in the cache folder of this process, and returns whether there were any.

    If so, a failed compilation may be due to a damaged program, and is worth repeating.
    """
    programs = _list_programs()
    with contextlib.suppress(OSError):
        for program in programs:
            delete_program(program)
    return bool(programs)


def find_cache_root() -> Path:
    """Returns the root folder of the cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trainyard" / "xla"


def list_cached_programs() -> list[Path]:
    """Returns all cached programs, for all machines, versions and numbers of threads, unordered."""
    return list(find_cache_root().glob("*/*.pb"))


def is_corrupted(program: Path) -> bool:
    """Returns whether a program differs from its digest; False without a digest (its run is active or was killed)."""
    try:
        return _get_digest_file(program).read_text() != compute_sha256(program)
    except FileNotFoundError:
        return False


def delete_program(program: Path) -> None:
    """Deletes a program and its digest."""
    program.unlink(missing_ok=True)
    _get_digest_file(program).unlink(missing_ok=True)


@functools.cache
def read_cpu_info() -> tuple[str, ...]:
    """Returns the lines of /proc/cpuinfo (Linux): ``name : value``, for each core. Empty on other systems."""
    try:
        return tuple(Path("/proc/cpuinfo").read_text().splitlines())
    except OSError:
        return ()


def _build_folder_path(threads: int) -> Path:
    """Returns the cache folder for everything that a compiled program depends on."""
    fields = ("model name", "flags", "Features", "CPU part")
    processor = sorted({line for line in read_cpu_info() if line.startswith(fields)}) or [platform.processor()]
    flags = os.environ.get("XLA_FLAGS", "")
    parts = (version("tensorflow"), platform.platform(), *processor, flags, str(threads))
    return find_cache_root() / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _list_programs() -> list[Path]:
    """Returns the cached programs in the folder that Trainyard has set for this process; empty if it has set none."""
    match = _OWN_FLAG.search(os.environ.get(_VARIABLE, ""))
    return list(Path(match[1]).glob("*.pb")) if match else []


def _get_digest_file(program: Path) -> Path:
    """Returns the path of the file with the digest of a program, which may not exist."""
    return program.with_suffix(".sha256")


def _delete_invalid_programs(folder: Path) -> None:
    """Deletes programs that are incomplete or corrupted, and the oldest ones above the maximum number."""
    programs = sorted(folder.glob("*.pb"), key=lambda program: program.stat().st_mtime, reverse=True)
    for index, program in enumerate(programs):
        if index >= MAX_CACHED_PROGRAMS or not _get_digest_file(program).exists() or is_corrupted(program):
            delete_program(program)

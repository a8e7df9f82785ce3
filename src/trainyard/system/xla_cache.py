"""What XLA compiled, kept for the next run: a network that was trained before starts in a third of the time.

TensorFlow writes and reads the files itself, one per program, but it does not notice a changed byte of machine code.
So each file gets a digest beside it, and a file without its digest is dropped before TensorFlow looks. What XLA
compiles depends on the processor, the versions, the flags and the number of threads, of which TensorFlow's own key
knows only a part; each combination has a folder of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

KEPT_PROGRAMS = 200
"""How many programs a folder keeps, the last made first; one takes about half a megabyte."""

_VARIABLE = "TF_XLA_FLAGS"
_FLAG = "--tf_xla_persistent_cache_directory="
_OURS = re.compile(rf"{_FLAG}(\S*/trainyard/xla/[0-9a-f]{{16}})(?!\S)")
_TRIAL_BYTES = 4_000_000


def prepare_cache(threads: int) -> None:
    """Points TensorFlow, before it is imported, to the folder for this machine, these versions and threads.

    A cache that the user has set up is left alone. Where the folder can't be made there is simply no cache.
    """
    others = _OURS.sub("", os.environ.get(_VARIABLE, ""))
    folder = _folder(threads)
    if "tensorflow" in sys.modules or _FLAG in others or re.search(r"\s", str(folder)):
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _drop_unfit(folder)
        _try_to_write(folder)
    except OSError:
        return
    flags = [others.strip(), f"{_FLAG}{folder}", "--tf_xla_persistent_cache_device_types=CPU"]
    os.environ[_VARIABLE] = " ".join(filter(None, flags))


def seal_cache(began: float) -> None:
    """Gives programs that have none their digests, which make them fit for use.

    So are those that were written since a compilation began: of two processes that compile the same at the same time,
    the second replaces the program that the first has sealed.

    Args:
        began: When the compilation began, in seconds since 1970.
    """
    with contextlib.suppress(OSError):
        for program in _programs(_active_folder()):
            if not _seal(program).exists() or (program.stat().st_mtime >= began and is_changed(program)):
                _seal(program).write_text(_digest(program))


def clear_cache() -> bool:
    """Removes all programs; returns whether there was any, so that it is worth compiling again without them."""
    programs = _programs(_active_folder())
    with contextlib.suppress(OSError):
        for program in programs:
            drop_program(program)
    return bool(programs)


def cache_root() -> Path:
    """Returns the folder of all that is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trainyard" / "xla"


def cached_programs() -> list[Path]:
    """Returns all programs that are kept, for whatever machine, versions and threads, in no order."""
    return list(cache_root().glob("*/*.pb"))


def is_changed(program: Path) -> bool:
    """Tells whether a program differs from its digest. One without is of a run that goes on, or was broken off."""
    try:
        return _seal(program).read_text() != _digest(program)
    except FileNotFoundError:
        return False


def drop_program(program: Path) -> None:
    """Removes a program with its digest."""
    program.unlink(missing_ok=True)
    _seal(program).unlink(missing_ok=True)


def _try_to_write(folder: Path) -> None:
    """Raises OSError where a program could not be kept; TensorFlow would take that for a failure to compile."""
    with tempfile.TemporaryFile(dir=folder) as trial:
        trial.write(bytes(_TRIAL_BYTES))
        trial.flush()


def _folder(threads: int) -> Path:
    parts = (version("tensorflow"), platform.platform(), _processor(), os.environ.get("XLA_FLAGS", ""), str(threads))
    return cache_root() / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """Returns the model and the instruction sets of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(
        sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    )


def _active_folder() -> Path | None:
    found = _OURS.search(os.environ.get(_VARIABLE, ""))
    return Path(found[1]) if found else None


def _programs(folder: Path | None) -> list[Path]:
    return list(folder.glob("*.pb")) if folder else []


def _seal(program: Path) -> Path:
    return program.with_suffix(".sha256")


def _digest(program: Path) -> str:
    return hashlib.sha256(program.read_bytes()).hexdigest()


def _drop_unfit(folder: Path) -> None:
    """Removes what is unfinished, changed, or the least recently made of too many."""
    programs = sorted(_programs(folder), key=lambda program: program.stat().st_mtime, reverse=True)
    for place, program in enumerate(programs):
        seal = _seal(program)
        if place >= KEPT_PROGRAMS or not seal.exists() or seal.read_text() != _digest(program):
            drop_program(program)

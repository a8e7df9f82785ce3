"""Checks Trainyard's caches: downloaded data sets, decoded data, compiled programs, and files of interrupted runs.

Only files in Trainyard's caches and run folders are ever removed, never files of the user or of Keras.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from trainyard.config import get_registered_components
from trainyard.data import (
    DATA_DIR_VARIABLE,
    SIZE_VARIABLE,
    DownloadableDataset,
    find_cache_root,
    list_entries,
    read_size_limit,
)
from trainyard.doctor.finding import FIX_COMMAND, Finding, note, ok, wrong
from trainyard.errors import DatasetError
from trainyard.reporting import format_count
from trainyard.system import PARTIAL_PREFIX, xla_cache
from trainyard.training import CHECKPOINTS_FOLDER

STALE_SECONDS = 86_400
"""Time without changes after which an unfinished file counts as abandoned: one day, because networks can be slow."""

_DOWNLOAD = re.compile(r"tmp\w{8}")
"""Pattern of the names of Python's temporary folders, in which downloads are written."""
_RUN_FOLDERS = ("outputs/*/*", "sweeps/*/trials/*")
_UNFINISHED = (
    f"{PARTIAL_PREFIX}mlflow.db*",
    f"sweeps/*/{PARTIAL_PREFIX}*",
    *(
        f"{folder}/{name}"
        for folder in _RUN_FOLDERS
        for name in (f"{PARTIAL_PREFIX}*", f"{CHECKPOINTS_FOLDER}/{PARTIAL_PREFIX}*", ".servable.keras")
    ),
)
"""Patterns of the files that an interrupted run or sweep leaves, relative to the working directory."""


def check_data() -> Iterator[Finding]:
    """Loads the local copies of the published data sets, and compares them with their sha256 digests."""
    data_dir = os.environ.get(DATA_DIR_VARIABLE)
    if data_dir and not Path(data_dir).expanduser().is_dir():
        problem = f"{DATA_DIR_VARIABLE}: expected a folder that exists, got {data_dir}"
        yield note("data", problem, f"unset {DATA_DIR_VARIABLE}, or set it to another folder")
    folders: dict[str, Path] = {}
    for config in _list_downloadable_datasets():
        try:
            if loaded := config.load_local():
                folders[config.name] = loaded[1]
        except DatasetError as error:
            command = f"trainyard data verify {config.name}"
            yield wrong("data", str(error), f"replace the file with the published one, then check it: {command}")
        if folders.get(config.name) != config.cache:
            yield from _check_cache(config)
    complete = ", ".join(f"{name} in {folder}" for name, folder in folders.items())
    hint = "a run downloads its data, or use: trainyard data fetch mnist"
    missing = f"no published data set is complete on this machine; {hint}"
    yield ok("data", f"complete and undamaged: {complete}" if complete else missing)


def _check_cache(config: DownloadableDataset) -> Iterator[Finding]:
    """Yields a finding for each damaged file of a data set in Trainyard's cache."""
    for path, error in config.find_damaged_downloads():
        remedy = f"{FIX_COMMAND} removes it; a run, or trainyard data fetch {config.name}, then downloads it again"
        fix: partial[Iterator[str]] | None = partial(_remove_paths, [path])
        if config.cache.is_symlink():  # the target of the link may belong to the user
            remedy, fix = f"replace or remove the file: ls -l {path}", None
        yield wrong("data", f"damaged: {error}", remedy, fix)


def check_programs() -> Iterator[Finding]:
    """Compares the cached programs that XLA compiled with their sha256 digests."""
    programs = xla_cache.list_cached_programs()
    corrupted = [program for program in programs if xla_cache.is_corrupted(program)]
    if corrupted:
        yield wrong(
            "programs",
            f"{format_count(len(corrupted), 'compiled program')} changed on disk, for example {corrupted[0]}",
            f"{FIX_COMMAND} removes changed programs; runs do not use them",
            partial(_remove_programs, corrupted),
        )
    else:
        size = f"{format_count(len(programs), 'compiled program')}, {_format_size(programs)}"
        yield ok("programs", f"{size}, in {xla_cache.find_cache_root()}")


def check_decoded() -> Iterator[Finding]:
    """Measures the cache of decoded data, and looks for entries whose data no longer exists."""
    entries = list_entries()
    try:
        limit = read_size_limit()
    except DatasetError as error:
        yield wrong("decoded", str(error), f"set {SIZE_VARIABLE} to a number, or unset it")
        return
    used = f"{sum(entry.size for entry in entries) / 1e9:,.2f} of {limit / 1e9:g} GB"
    summary = f"{format_count(len(entries), 'decoded data set')}, {used} ({SIZE_VARIABLE}), in {find_cache_root()}"
    if stale := [entry for entry in entries if not _exists(Path(entry.source))]:
        size = f"{sum(entry.size for entry in stale) / 1e6:,.1f} MB"
        message = f"{summary}. The data of {len(stale):,}, {size}, no longer exists, for example {stale[0].source}"
        folders = [entry.folder for entry in stale]
        yield note("decoded", message, f"{FIX_COMMAND} removes them", partial(_remove_paths, folders))
    else:
        yield ok("decoded", summary)


def check_leftovers() -> Iterator[Finding]:
    """Looks for unfinished files of interrupted downloads and runs."""
    caches = {config.cache for config in _list_downloadable_datasets()}
    downloads = [path for cache in caches for path in cache.glob("tmp*") if _DOWNLOAD.fullmatch(path.name)]
    decoded = find_cache_root().glob(f"{PARTIAL_PREFIX}*")
    unfinished = [path for pattern in _UNFINISHED for path in Path.cwd().glob(pattern)]
    stale = sorted(path for path in (*downloads, *decoded, *unfinished) if _is_stale(path))
    if stale:
        message = (
            f"{format_count(len(stale), 'unfinished file')}, {_format_size(stale)}, "
            f"of interrupted downloads and runs, for example {stale[0]}"
        )
        yield note("leftovers", message, f"{FIX_COMMAND} removes those older than a day", partial(_remove_paths, stale))
    else:
        yield ok("leftovers", "no unfinished files older than a day of interrupted downloads and runs")


def _list_downloadable_datasets() -> list[DownloadableDataset]:
    """Returns the default configs of all data sets that can be downloaded, by name."""
    return [
        component()
        for _, component in sorted(get_registered_components("dataset").items())
        if issubclass(component, DownloadableDataset)
    ]


def _format_size(paths: Sequence[Path]) -> str:
    """Returns the total size of files and folders in megabytes (10^6 bytes): ``12.3 MB``."""
    files = [file for path in paths for file in (path, *path.rglob("*")) if file.is_file()]
    return f"{sum(file.stat().st_size for file in files) / 1e6:,.1f} MB"


def _exists(path: Path) -> bool:
    """Returns whether a path exists, or may exist because it can't be read."""
    try:
        return path.exists()
    except OSError:
        return True


def _is_stale(path: Path) -> bool:
    """Returns whether nothing in a file or folder has changed for `STALE_SECONDS`; False if it no longer exists."""
    try:
        latest = max(file.stat().st_mtime for file in (path, *path.rglob("*")))
    except FileNotFoundError:  # the download or the run has just finished
        return False
    return time.time() - latest > STALE_SECONDS


def _remove_paths(paths: Sequence[Path]) -> Iterator[str]:
    """Removes files and folders, and yields a line for each."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        yield f"removed: {path}"


def _remove_programs(programs: Sequence[Path]) -> Iterator[str]:
    """Removes cached programs and their digests, and yields one line for all."""
    for program in programs:
        xla_cache.delete_program(program)
    yield f"removed: {format_count(len(programs), 'compiled program')}"

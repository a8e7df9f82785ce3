"""Checks the disks (free space, write permission) to which runs, the store and the caches are written, and git."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from trainyard.doctor.finding import GIB, Finding, note, ok, wrong
from trainyard.errors import ConfigError
from trainyard.system import find_cache_root, read_git_state
from trainyard.tracking import TrackingStore

MIN_FREE_BYTES = GIB
"""Free space in bytes below which the next runs may not fit on the disk."""
LOW_FREE_BYTES = 5 * GIB
"""Free space in bytes below which a note is reported."""


def check_disk() -> Iterator[Finding]:
    """Checks the folders to which runs, the store and downloads are written."""
    import pooch

    locations = {"runs": Path("outputs").absolute()}
    with contextlib.suppress(ConfigError):  # `check_store` reports the error
        store = TrackingStore.default()
        if store.sqlite_file:
            locations["the store"] = store.sqlite_file
        if not store.is_server:
            locations["artifacts"] = store.artifact_folder.absolute()
    caches = {"data": Path(pooch.os_cache("trainyard")), "compiled programs": find_cache_root()}
    by_disk: dict[int, dict[str, Path]] = {}
    for name, path in (locations | caches).items():
        folder = next(parent for parent in (path, *path.parents) if parent.exists())
        if os.access(folder, os.W_OK):
            by_disk.setdefault(folder.stat().st_dev, {})[name] = folder
        elif name in caches:
            yield note("disk", f"{name} can't be cached: {folder} is not writable", f"ls -ld {folder}")
        else:
            yield wrong("disk", f"{name} can't be written to {folder}", f"use another folder, or: chmod u+w {folder}")
    for folders in by_disk.values():
        yield _check_free_space(folders)


def check_git() -> Iterator[Finding]:
    """Reports the git commit that runs in the working directory will record."""
    state = read_git_state(Path.cwd())
    if state:
        changes = ", with uncommitted changes" if state.dirty else ""
        yield ok("git", f"runs record the commit {state.commit[:10]} on {state.branch}{changes}")
    elif shutil.which("git") is None:
        yield note("git", "git is not installed, so runs record no commit", "install git")
    else:
        yield note("git", "there is no git commit here, so runs record none", "start runs in a git repository")


def _check_free_space(folders: dict[str, Path]) -> Finding:
    """Returns a finding with the free space of one disk. `folders` are on that disk, by content, such as ``runs``."""
    folder = next(iter(folders.values()))
    free = shutil.disk_usage(folder).free
    message = f"{free / GIB:.1f} GiB free for {', '.join(folders)}: {folder}"
    remedy = f"list the largest folders: du -xh -d 2 {folder} | sort -h | tail"
    if free < MIN_FREE_BYTES:
        return wrong("disk", message, remedy)
    return note("disk", message, remedy) if free < LOW_FREE_BYTES else ok("disk", message)

"""Where things are written: space and permission for runs, the store and the caches; whether git sees the code."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from trainyard.doctor.finding import GIB, Finding, note, ok, wrong
from trainyard.system.environment import read_git_state

LEAST_SPACE = GIB
"""Below it the next runs may not fit."""
LITTLE_SPACE = 5 * GIB


def check_disk() -> Iterator[Finding]:
    """Looks at the folders that runs, the store and downloads are written to."""
    import pooch

    from trainyard.errors import ConfigError
    from trainyard.system.uris import sqlite_path
    from trainyard.system.xla_cache import cache_root
    from trainyard.tracking.connection import artifact_folder
    from trainyard.tracking.stores import LocalStore

    places = {"runs": Path("outputs").absolute()}
    try:
        uri = LocalStore().resolve_uri(os.environ, Path.cwd())
    except ConfigError:
        uri = ""  # the check of the store says what is wrong
    if file := sqlite_path(uri):
        places["the store"] = file
    if uri and not uri.startswith("http"):
        places["artifacts"] = artifact_folder(uri).absolute()
    caches = {"data": Path(pooch.os_cache("trainyard")), "compiled programs": cache_root()}
    by_disk: dict[int, dict[str, Path]] = {}
    for what, path in (places | caches).items():
        place = _existing(path)
        if os.access(place, os.W_OK):
            by_disk.setdefault(place.stat().st_dev, {})[what] = place
        elif what in caches:
            yield note("disk", f"{what} can't be kept: {place} is not writable", f"ls -ld {place}")
        else:
            yield wrong("disk", f"{what} can't be written to {place}", f"work elsewhere, or: chmod u+w {place}")
    for whats in by_disk.values():
        yield _measure(whats)


def check_git() -> Iterator[Finding]:
    """Tells which commit runs from here will name."""
    state = read_git_state(Path.cwd())
    if state:
        changes = ", with changes that are not committed" if state.dirty else ""
        yield ok("git", f"runs name the commit {state.commit[:10]} on {state.branch}{changes}")
    elif shutil.which("git") is None:
        yield note("git", "it is not installed, so runs name no commit", "install git")
    else:
        yield note("git", "no commit here, so runs name none", "start runs inside a git checkout")


def _existing(path: Path) -> Path:
    """Returns the path, or the nearest folder above it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _measure(whats: dict[str, Path]) -> Finding:
    """Tells the space on one disk, which is shared by all that is written to it."""
    place = next(iter(whats.values()))
    free = shutil.disk_usage(place).free
    found = f"{free / GIB:.1f} GiB free for {', '.join(whats)}: {place}"
    look = f"see what takes it: du -xh -d 2 {place} | sort -h | tail"
    if free < LEAST_SPACE:
        return wrong("disk", found, look)
    return note("disk", found, look) if free < LITTLE_SPACE else ok("disk", found)

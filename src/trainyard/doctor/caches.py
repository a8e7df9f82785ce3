"""What Trainyard keeps of its own accord: downloaded data, compiled programs, and what broken-off runs left.

Only files in Trainyard's own caches and in its runs' folders are ever removed, none of a user's or of Keras's.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from trainyard.config.registry import components
from trainyard.data import PublishedSet
from trainyard.data.published import DATA_VARIABLE
from trainyard.doctor.finding import FIX, Finding, count, note, ok, wrong
from trainyard.errors import DatasetError
from trainyard.system import xla_cache
from trainyard.training.checkpoint import CHECKPOINTS

LEFT_SECONDS = 86_400
"""How long nothing may have happened to an unfinished file before it counts as left: a day, for the slowest network."""

_DOWNLOAD = re.compile(r"tmp\w{8}")
"""How Python names the folder that a download is made in."""
_UNFINISHED = (f"outputs/*/*/{CHECKPOINTS}/*.partial", "outputs/*/*/.servable.keras")


def check_data() -> Iterator[Finding]:
    """Reads the published data sets where they lie, and holds them against their digests."""
    named = os.environ.get(DATA_VARIABLE)
    if named and not Path(named).expanduser().is_dir():
        yield note("data", f"{DATA_VARIABLE} names a folder that is not there: {named}", f"unset {DATA_VARIABLE}")
    whole = []
    for config in _published_sets():
        found = None
        try:
            found = config.find()
        except DatasetError as error:
            again = f"trainyard data verify {config.name}"
            yield wrong("data", str(error), f"put the published files there, and look again: {again}")
        if found:
            whole.append(f"{config.name} in {found[1]}")
        if not found or found[1] != config.cache:
            yield from _check_cache(config)
    if whole:
        yield ok("data", f"whole: {', '.join(whole)}")
    else:
        yield ok(
            "data", "no published set is here whole; a run downloads what it needs, or: trainyard data fetch mnist"
        )


def _check_cache(config: PublishedSet) -> Iterator[Finding]:
    for path, error in config.damaged_in_cache():
        if config.cache.is_symlink():  # what it points to may be a user's
            yield wrong("data", f"damaged: {error}", f"replace or remove it: ls -l {path}")
        else:
            again = f"a run or trainyard data fetch {config.name} then downloads it again"
            yield wrong("data", f"damaged: {error}", f"{FIX} removes it; {again}", partial(_remove, [path]))


def check_programs() -> Iterator[Finding]:
    """Holds the programs that XLA compiled against their digests."""
    programs = xla_cache.cached_programs()
    changed = [program for program in programs if xla_cache.is_changed(program)]
    if changed:
        yield wrong(
            "programs",
            f"{count(len(changed), 'compiled program')} changed on disk, as {changed[0]}",
            f"{FIX} removes what changed; a run would not use it either",
            partial(_drop, changed),
        )
    else:
        kept = f"{count(len(programs), 'compiled program')}, {_megabytes(programs)}"
        yield ok("programs", f"{kept}, in {xla_cache.cache_root()}")


def check_leftovers() -> Iterator[Finding]:
    """Looks for what downloads and runs left that were broken off."""
    caches = {config.cache for config in _published_sets()}
    downloads = [path for cache in caches for path in cache.glob("tmp*") if _DOWNLOAD.fullmatch(path.name)]
    unfinished = [path for pattern in _UNFINISHED for path in Path.cwd().glob(pattern)]
    left = sorted(path for path in (*downloads, *unfinished) if _is_left(path))
    if left:
        found = f"{count(len(left), 'unfinished file')} of what was broken off, {_megabytes(left)}, as {left[0]}"
        yield note("leftovers", found, f"{FIX} removes what is a day old", partial(_remove, left))
    else:
        yield ok("leftovers", "no unfinished files of downloads and runs that were broken off a day ago")


def _published_sets() -> list[PublishedSet]:
    return [kind() for _, kind in sorted(components("dataset").items()) if issubclass(kind, PublishedSet)]


def _files(path: Path) -> list[Path]:
    return [file for file in (path, *path.rglob("*")) if file.is_file()]


def _megabytes(paths: Sequence[Path]) -> str:
    return f"{sum(file.stat().st_size for path in paths for file in _files(path)) / 1e6:,.1f} MB"


def _is_left(path: Path) -> bool:
    try:
        latest = max(file.stat().st_mtime for file in (path, *path.rglob("*")))
    except FileNotFoundError:  # it was finished just now
        return False
    return time.time() - latest > LEFT_SECONDS


def _remove(paths: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        yield f"removed: {path}"


def _drop(programs: Sequence[Path]) -> Iterator[str]:
    for program in programs:
        xla_cache.drop_program(program)
    yield f"removed: {count(len(programs), 'compiled program')}"

"""Reads the limits of the control groups (Linux, version 2) of this process, such as those of a container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")

_FILE_CACHE = ("active_file", "inactive_file")
"""The entries of memory.stat with the bytes of cached files, which the kernel frees when memory is needed."""


def read_core_quota() -> float | None:
    """Returns the lowest CPU quota of this process's control groups as a number of cores, or None without a limit."""
    limits = [(group / "cpu.max").read_text().split() for group in _list_groups("cpu.max")]
    return min((int(allowed) / int(period) for allowed, period in limits if allowed != "max"), default=None)


def read_available_memory() -> int:
    """Returns the available memory in bytes: the minimum over the machine and this process's control groups."""
    remaining = []
    for group in _list_groups("memory.max", "memory.current"):
        maximum = (group / "memory.max").read_text().strip()
        if maximum != "max":
            used = int((group / "memory.current").read_text()) - _read_cached_bytes(group)
            remaining.append(int(maximum) - used)
    return max(0, min([int(psutil.virtual_memory().available), *remaining]))


def _read_cached_bytes(group: Path) -> int:
    """Returns the bytes of a group's memory that contain cached files; 0 if they are not known."""
    try:
        entries = [line.split() for line in (group / "memory.stat").read_text().splitlines()]
    except OSError:
        return 0
    return sum(int(value) for name, value in entries if name in _FILE_CACHE)


def _list_groups(*names: str) -> Iterator[Path]:
    """Yields the folders of this process's control group and its parent groups that contain the files `names`."""
    try:
        lines = OWN_CGROUP.read_text().splitlines()
    except OSError:
        return
    group_path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    for folder in (CGROUPS / group_path, *(CGROUPS / group_path).parents):
        if folder.is_relative_to(CGROUPS) and all((folder / name).is_file() for name in names):
            yield folder

"""The description of the processor by the operating system."""

from __future__ import annotations

import functools
from pathlib import Path


@functools.cache
def read_cpu_info() -> tuple[str, ...]:
    """Returns the lines of /proc/cpuinfo (Linux): ``name : value``, for each core. Empty on other systems."""
    try:
        return tuple(Path("/proc/cpuinfo").read_text().splitlines())
    except OSError:
        return ()

"""Runs a command, and writes its duration and the CPU time of all processes that it started to a file, as JSON.

    python -m experiments.performance.process_tree FILE COMMAND...

The CPU time includes processes that outlive the command, such as the fork server of a sweep. Requires Linux.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def main(file: str, *command: str) -> int:
    """Runs the command, waits until all its processes have ended, and returns its exit code."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # orphans become children of this process, so their time counts
    started = time.monotonic()
    exit_code = subprocess.run(command, check=False).returncode
    wall_seconds = time.monotonic() - started
    _wait_for_orphans()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {"wall_seconds": wall_seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime}
    Path(file).write_text(json.dumps(result))
    return exit_code


def _wait_for_orphans() -> None:
    """Waits for the processes that the command left behind, such as the fork server, which ends when the sweep has."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Groups of processes end completely, and locks last as long as their process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock, Timeout

from trainyard.system.processes import end_process_group, hold_shared_lock, signal_process_group

GROUP = """
import signal, subprocess, sys, time
if sys.argv[1] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60 if sys.argv[1] != "finished" else 0)
"""


@pytest.mark.parametrize("leader", ["obedient", "stubborn", "finished"])
def test_all_processes_of_a_group_are_ended(leader):
    """Also a process that ignores SIGTERM, and whose parent has ended."""
    command = [sys.executable, "-c", GROUP, leader]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        child = psutil.Process(int(process.stdout.readline()))
        if leader == "finished":
            process.wait()
        end_process_group(process, timeout_seconds=1)
        assert process.returncode is not None
        deadline = time.monotonic() + 10
        while psutil.pid_exists(child.pid) and child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_signal_to_a_group_that_does_not_exist_is_reported():
    with subprocess.Popen([sys.executable, "-c", ""], start_new_session=True) as process:
        process.wait()
    assert not signal_process_group(process.pid, 15)


def test_a_shared_lock_is_released_when_the_process_ends(tmp_path):
    program = "import sys; from pathlib import Path; from trainyard.system import hold_shared_lock;"
    program += "hold_shared_lock(Path(sys.argv[1])); print(1, flush=True); sys.stdin.read()"
    file = tmp_path / "lock"
    command = [sys.executable, "-c", program, file]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(Timeout):
            FileLock(file, timeout=0).acquire()
        process.stdin.close()
        process.wait()
    with FileLock(file, timeout=0), pytest.raises(BlockingIOError):
        hold_shared_lock(Path(file), wait=False)

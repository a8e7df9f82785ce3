"""The process pool runs each job in a separate process: a failed job does not affect others, and none is orphaned."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import time
from importlib.machinery import PathFinder
from pathlib import Path

import cloudpickle
import psutil
import pytest

from trainyard.sweep.launch import process_pool as pools
from trainyard.sweep.launch.job import report
from trainyard.sweep.launch.process_pool import PRELOADED, Job, JobExit, ProcessPool


def _job(number, work, **settings):
    return Job(number=number, work=cloudpickle.dumps(work), log=Path(f"logs/{number}.log"), **settings)


def _run(works, slots=({}, {}, {}), limits=None):
    """Runs jobs; returns the `JobExit` of each by its number, and the reported messages.

    `limits` maps the numbers of jobs to their time limits.
    """
    waiting, exits, messages = list(enumerate(works)), {}, []
    with ProcessPool(slots, preload=()) as pool:
        while waiting or len(pool):
            while waiting and pool.has_free_slot:
                number, work = waiting.pop(0)
                pool.submit(_job(number, work, limit_seconds=(limits or {}).get(number)))
            for event in pool.poll():
                if isinstance(event, JobExit):
                    exits[event.number] = event
                else:
                    messages.append(event)
    return exits, messages


def _remove_location(failure):
    return re.sub(r" \(in .*, line \d+, in \w+\)$", "", failure)


def test_a_failed_job_does_not_affect_other_jobs():
    """The functions are local, so that cloudpickle pickles them by value."""

    def fail():
        raise ValueError("no luck")

    def run_out_of_memory():
        resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
        return len(bytearray(2**33))

    killed = "its process was killed by SIGKILL, for example because the system ran out of memory"
    faults = {
        "raises": (fail, "ValueError: no luck"),
        "exits": (lambda: sys.exit(3), "its process exited with code 3 before it was done"),
        "exits with code 0": (lambda: sys.exit(0), "its process exited with code 0 before it was done"),
        "exits without cleanup": (lambda: os._exit(4), "its process exited with code 4 before it was done"),
        "is killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), killed),
        "segfaults": (lambda: os.kill(os.getpid(), signal.SIGSEGV), "its process was killed by SIGSEGV"),
        "runs out of memory": (run_out_of_memory, "MemoryError"),
        "hangs": (lambda: time.sleep(600), "it took longer than 0.5 s"),
    }
    works = [work for fault, _ in faults.values() for work in (lambda: "fine", fault)]
    exits, _ = _run([*works, lambda: "fine"], limits={2 * list(faults).index("hangs") + 1: 0.5})
    assert len(exits) == len(works) + 1
    assert {(job_exit.value, job_exit.failure) for number, job_exit in exits.items() if number % 2 == 0} == {
        ("fine", "")
    }
    failures = {name: exits[2 * position + 1] for position, name in enumerate(faults)}
    assert {name: _remove_location(job_exit.failure) for name, job_exit in failures.items()} == {
        name: message for name, (_, message) in faults.items()
    }
    assert failures["raises"].failure.endswith(", in fail)")


def test_each_job_has_its_own_output_environment_and_messages():
    secret = "from the closure"

    def work():
        report({"epoch": 1})
        sys.stdout.write("to stdout\n")
        os.system("echo from a child >&2")
        return secret, os.environ["PLACE"], str(Path.cwd()), os.getpid()

    exits, messages = _run([work, work], [{"PLACE": "7"}])
    assert sorted((message.number, message.content) for message in messages) == [(0, {"epoch": 1}), (1, {"epoch": 1})]
    (first, second) = (exits[number].value for number in (0, 1))
    assert first[:3] == second[:3] == ("from the closure", "7", str(Path.cwd()))
    assert len({first[3], second[3], os.getpid()}) == 3
    assert set(Path("logs/0.log").read_text().splitlines()) == {"to stdout", "from a child"}
    assert "PLACE" not in os.environ


def test_an_exception_that_can_not_be_pickled_is_reported():
    class OddError(Exception):
        def __reduce__(self):
            raise TypeError

    def work():
        raise OddError("strange")

    exits, _ = _run([work])
    assert (exits[0].value, _remove_location(exits[0].failure)) == (None, "OddError: strange")
    assert "Traceback" in Path("logs/0.log").read_text()


def test_a_job_that_ignores_the_signal_is_killed(monkeypatch):
    monkeypatch.setattr(pools, "GRACE_SECONDS", 1.0)

    def ignore_signal():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sleep", "600"])
        report(os.getpid())
        time.sleep(600)

    with ProcessPool(preload=()) as pool:
        pool.submit(_job(0, ignore_signal))
        (message,) = pool.poll(60)
        children = psutil.Process(message.content).children(recursive=True)
        assert len(children) == 1
        (job_exit,) = pool.stop()
    assert job_exit.failure == "the sweep was stopped"
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


PROGRAM = """
import os, signal, sys, time
import cloudpickle
from pathlib import Path
from trainyard.system.signals import raise_on_signals
from trainyard.sweep.launch.job import report
from trainyard.sweep.launch.process_pool import Job, ProcessPool

def work():
    with raise_on_signals():
        try:
            report(os.getpid())
            while True:
                time.sleep(0.05)  # a signal just before one long sleep would be handled only after it
        finally:
            Path(f"{os.getpid()}.closed").touch()

with raise_on_signals(), ProcessPool([{}, {}], preload=()) as pool:
    for number in range(2):
        pool.submit(Job(number=number, work=cloudpickle.dumps(work), log=Path(f"{number}.log")))
    pids = []
    while len(pids) < 2:
        pids += [event.content for event in pool.poll()]
    print(*pids, flush=True)
    while True:
        pool.poll()
"""


@pytest.mark.parametrize(
    ("number", "group"),
    [
        pytest.param(signal.SIGKILL, False, id="killed"),
        pytest.param(signal.SIGKILL, True, id="group-killed"),
        pytest.param(signal.SIGTERM, False, id="terminated"),
        pytest.param(signal.SIGTERM, True, id="group-terminated"),
        pytest.param(signal.SIGHUP, True, id="terminal-closed"),
        pytest.param(signal.SIGINT, True, id="ctrl-c"),
    ],
)
def test_jobs_clean_up_and_end_when_the_program_is_stopped_by_any_signal(number, group):
    """The program has no `if __name__ == "__main__"`: the processes of its jobs must not run it again."""
    Path("program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as program:
        jobs = [psutil.Process(int(pid)) for pid in program.stdout.readline().split()]
        assert len(jobs) == 2
        (os.killpg if group else os.kill)(program.pid, number)
    _, alive = psutil.wait_procs(jobs, timeout=20)
    assert not [job for job in alive if job.status() != psutil.STATUS_ZOMBIE]
    assert {path.name for path in Path().glob("*.closed")} == {f"{job.pid}.closed" for job in jobs}


PRELOADED_JOB = """
import gc
import cloudpickle
from pathlib import Path
from trainyard.sweep.launch.process_pool import Job, JobExit, ProcessPool

def inspect():
    return gc.isenabled(), gc.get_freeze_count() > 0

with ProcessPool() as pool:
    pool.submit(Job(1, cloudpickle.dumps(inspect), Path("1.log")))
    while not (events := pool.poll()):
        pass
print(events == [JobExit(1, (True, True), "")], events)
"""


def test_a_job_of_a_preloaded_server_collects_only_its_own_garbage():
    """In a new interpreter, because the server of this one has preloaded nothing."""
    done = subprocess.run([sys.executable, "-c", PRELOADED_JOB], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True"), done.stdout


def test_the_modules_that_the_server_preloads_exist():
    """The server skips missing modules without a message, and every job would then import them again."""
    for module in PRELOADED:
        path = None
        names = module.split(".")
        for depth in range(1, len(names) + 1):  # importlib.util.find_spec would import MLflow
            spec = PathFinder.find_spec(".".join(names[:depth]), path)
            assert spec, module
            path = spec.submodule_search_locations

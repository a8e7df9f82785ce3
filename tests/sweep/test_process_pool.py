"""A process for each job: whatever one of them does, the others come to their end, and none is left behind."""

from __future__ import annotations

import importlib.util
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import psutil
import pytest

from trainyard.sweep.launch import process_pool as pools
from trainyard.sweep.launch.job import report
from trainyard.sweep.launch.process_pool import PRELOADED, End, Job, Message, ProcessPool


def _job(number, work, **settings):
    return Job(number=number, work=cloudpickle.dumps(work), log=Path(f"logs/{number}.log"), **settings)


def _run(works, places=3, **settings):
    """Runs jobs, and returns how each ended and what was reported."""
    todo, ends, messages = list(enumerate(works)), {}, []
    with ProcessPool(preload=()) as pool:
        while todo or len(pool):
            while todo and len(pool) < places:
                pool.submit(_job(*todo.pop(0), **settings))
            for event in pool.poll():
                if isinstance(event, End):
                    ends[event.number] = event
                else:
                    messages.append(event)
    return ends, messages


def _faults():
    """What may go wrong in a job, with what is told of it; made within a function, so that cloudpickle takes it along."""

    def fail():
        raise ValueError("no luck")

    def run_out_of_memory():
        resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
        return len(bytearray(2**33))

    killed = "its process was killed by SIGKILL, as when the system runs out of memory"
    return {
        "raises": (fail, "ValueError: no luck"),
        "exits": (lambda: sys.exit(3), "its process exited with code 3 before it was done"),
        "exits as if nothing were": (lambda: sys.exit(0), "its process exited with code 0 before it was done"),
        "exits at once": (lambda: os._exit(4), "its process exited with code 4 before it was done"),
        "is killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), killed),
        "is stopped": (lambda: os.kill(os.getpid(), signal.SIGSEGV), "its process was killed by SIGSEGV"),
        "runs out of memory": (run_out_of_memory, "MemoryError: "),
        "hangs": (lambda: time.sleep(600), "it took longer than 15 s"),
    }


FAULTS = _faults()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_job_that_fails_costs_only_itself(fault):
    work, told = FAULTS[fault]
    works = [lambda number=number: number * 10 for number in range(6)]
    works[2] = work
    ends, _ = _run(works, limit_seconds=15 if fault == "hangs" else None)
    assert {number: end.value for number, end in ends.items() if end.returned} == {
        number: number * 10 for number in (0, 1, 3, 4, 5)
    }
    assert (ends[2].returned, ends[2].failure) == (False, told)


def test_a_job_has_output_environment_and_messages_of_its_own():
    secret = "carried along"

    def work():
        report({"epoch": 1})
        sys.stdout.write("to stdout\n")
        os.system("echo from a child >&2")
        return secret, os.environ["PLACE"], str(Path.cwd()), os.getpid()

    ends, messages = _run([work, work], environment={"PLACE": "7"})
    assert sorted(messages, key=lambda message: message.number) == [Message(number, {"epoch": 1}) for number in (0, 1)]
    (first, second) = (ends[number].value for number in (0, 1))
    assert first[:3] == second[:3] == ("carried along", "7", str(Path.cwd()))
    assert len({first[3], second[3], os.getpid()}) == 3
    assert set(Path("logs/0.log").read_text().splitlines()) == {"to stdout", "from a child"}
    assert "PLACE" not in os.environ


def test_an_exception_that_can_not_be_pickled_is_told_all_the_same():
    class OddError(Exception):
        def __reduce__(self):
            raise TypeError

    def work():
        raise OddError("strange")

    ends, _ = _run([work])
    assert (ends[0].value, ends[0].failure) == (None, "OddError: strange")
    assert "Traceback" in Path("logs/0.log").read_text()


def test_what_is_deaf_to_the_signal_is_killed(monkeypatch):
    monkeypatch.setattr(pools, "GRACE_SECONDS", 1.0)

    def deaf():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sleep", "600"])
        report(os.getpid())
        time.sleep(600)

    with ProcessPool(preload=()) as pool:
        pool.submit(_job(0, deaf))
        (message,) = pool.poll(60)
        children = psutil.Process(message.content).children(recursive=True)
        assert len(children) == 1
        (end,) = pool.stop()
    assert end.failure == "the sweep was stopped"
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


PROGRAM = """
import os, signal, sys, time
import cloudpickle
from pathlib import Path
from trainyard.system.signals import signals_raise
from trainyard.sweep.launch.job import report
from trainyard.sweep.launch.process_pool import Job, ProcessPool

def work():
    with signals_raise():
        try:
            report(os.getpid())
            while True:
                time.sleep(0.05)  # a signal just before one long sleep would be heard after it
        finally:
            Path(f"{os.getpid()}.closed").touch()

with signals_raise(), ProcessPool(preload=()) as pool:
    for number in range(2):
        pool.submit(Job(number=number, work=cloudpickle.dumps(work), log=Path(f"{number}.log")))
    found = []
    while len(found) < 2:
        found += [event.content for event in pool.poll()]
    print(*found, flush=True)
    while True:
        pool.poll()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("group", [False, True], ids=["process", "group"])
def test_jobs_close_what_is_open_and_end_with_the_program_whatever_ends_it(number, group):
    """The program has no guard: the processes of its jobs must not begin it anew."""
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


@pytest.mark.parametrize("module", PRELOADED)
def test_what_the_server_is_to_import_is_there(module):
    """It would say nothing of one that is not, and every job would import it."""
    assert importlib.util.find_spec(module)

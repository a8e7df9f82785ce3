"""Runs each job in a separate process, forked from a server that has already imported the heavy libraries.

Jobs are isolated: an exception, a memory leak, an exit or a crash affects only one job. A job sends reports over its
own pipe and writes its output to its own log file. It ends when its parent process ends, even if the parent is killed:
the job reads from a pipe (the lifeline) whose other end only the parent holds.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self, cast

from trainyard.errors import TrainyardError
from trainyard.sweep.launch.job import GRACE_SECONDS, JobStart, do_work
from trainyard.system import INTERRUPT_SIGNALS, signal_process_group

PRELOADED = (
    "trainyard.sweep.launch.preload",
    "trainyard.runs.experiment",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "sqlalchemy.dialects.sqlite",
    "alembic.command",
    "alembic.config",
    "alembic.autogenerate",
    "mlflow.store.workspace.utils",
    "sklearn.datasets",
    "sklearn.metrics",
    "matplotlib.backends.backend_agg",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "jinja2",
    "rich._emoji_codes",
    "trainyard.sweep.launch.preload_values",
)
"""The modules that the fork server imports for Trainyard's own jobs: everything that is slow to import.

The fork server skips modules that do not exist, such as internal modules of another version of MLflow.
"""

SERVER = "trainyard.sweep.launch.fork_server"
"""The module that the fork server imports first."""

_NOT_INHERITED = ("MLFLOW_RUN_ID",)
"""Environment variables that identify a single run."""


@dataclass(frozen=True, slots=True)
class Job:
    """A function to execute in a separate process.

    Attributes:
        work: A function without arguments, pickled by cloudpickle. Its result must be picklable, and it may send
            picklable messages with `report`.
        log: The file to which the output is appended.
    """

    number: int
    work: bytes
    log: Path
    limit_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message that a running job sent. `answer` sends a pair of a key and a reply; see `job.request_answer`."""

    number: int
    content: Any
    answer: Callable[[tuple[Any, Any]], None]


@dataclass(frozen=True, slots=True)
class JobExit:
    """How the process of a job ended: the return value, or the error in one line, which is empty if there is none."""

    number: int
    value: Any
    failure: str


def start_fork_server() -> None:
    """Starts the fork server in the background. Otherwise it starts with the first job, which then waits for it."""
    _configure_fork_server(PRELOADED)
    _ensure_fork_server_runs()


def _ensure_fork_server_runs() -> None:
    """Starts the fork server if it does not run. It inherits that signals are blocked; see `fork_server`."""
    resource_tracker.ensure_running()  # otherwise the next function starts it, which unblocks signals
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPT_SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _configure_fork_server(preload: Sequence[str]) -> Any:  # noqa: ANN401 - a context of multiprocessing
    """Returns a context whose processes are forked from a server that has imported these modules."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        raise TrainyardError(
            "hydra/launcher=fork: this operating system cannot fork processes. Choose another launcher"
        )
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([SERVER, *preload])
    return context


class RunningJob:
    """A job that was started. Its `end_reason` is why its end was requested; empty if it was not."""

    def __init__(self, job: Job, interrupt: Callable[[], None], kill: Callable[[], None]) -> None:
        """Stores how to ask the job to end, so that it can close its run, and how to end it immediately."""
        self.job = job
        self.end_reason = ""
        self._interrupt = interrupt
        self._kill = kill
        self._started = time.monotonic()
        self._end_requested: float | None = None

    def request_end(self, reason: str) -> None:
        """Interrupts the job, unless it was interrupted before."""
        if self._end_requested is None:
            self._end_requested, self.end_reason = time.monotonic(), reason
            self._interrupt()

    def deadline(self) -> float | None:
        """Returns when `enforce_deadline` must be called, on the monotonic clock; None for never."""
        if self._end_requested is not None:
            return self._end_requested + GRACE_SECONDS
        return None if self.job.limit_seconds is None else self._started + self.job.limit_seconds

    def enforce_deadline(self) -> None:
        """Interrupts the job if its time limit is exceeded; kills it if it did not end after an interrupt."""
        due = self.deadline()
        if due is None or time.monotonic() < due:
            return
        if self._end_requested is None:
            self.request_end(f"it took longer than {self.job.limit_seconds:g} s")
        else:
            self._kill()


class ProcessPool:
    """Runs jobs, each in a separate process. Use it as a context manager: on exit it ends all jobs."""

    def __init__(
        self,
        slots: Sequence[Mapping[str, str]] = ({},),
        *,
        lock_file: Path | None = None,
        preload: Sequence[str] = PRELOADED,
    ) -> None:
        """Configures the fork server, which starts with the first job and imports the modules in `preload`.

        Each of the slots has environment variables of its jobs, in addition to those of this process. The process of
        each job holds a shared lock on the `lock_file`, if any, until it ends.
        """
        self._context = _configure_fork_server(preload)
        self._free_slots = list(slots)
        self._lock_file = lock_file
        self._running: dict[int, _JobProcess] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __len__(self) -> int:
        return len(self._running)

    @property
    def has_free_slot(self) -> bool:
        """Whether a job can be submitted now."""
        return bool(self._free_slots)

    def submit(self, job: Job) -> None:
        """Starts a job in a free slot."""
        reports, job_reports = self._context.Pipe(duplex=False)
        job_lifeline, lifeline = self._context.Pipe(duplex=False)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        slot = self._free_slots.pop(0)
        environment = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED} | dict(slot)
        start = JobStart(work=job.work, log=job.log.absolute(), lock_file=self._lock_file)
        arguments = (start, environment, job_reports, job_lifeline)
        _ensure_fork_server_runs()
        process = self._context.Process(target=do_work, args=arguments, name=f"job {job.number}")
        with _hide_main_module():
            process.start()
        job_reports.close()
        job_lifeline.close()
        self._running[job.number] = _JobProcess(job, slot, process, reports, lifeline)

    def poll(self, timeout_seconds: float | None = None) -> list[Message | JobExit]:
        """Waits for messages and exits of jobs, by default without a limit, and returns all that occurred."""
        deadlines = [due for running in self._running.values() if (due := running.deadline()) is not None]
        if timeout_seconds is not None:
            deadlines.append(time.monotonic() + timeout_seconds)
        wait_seconds = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        sources = [(running.process.sentinel, running.reports) for running in self._running.values()]
        wait([source for source in itertools.chain.from_iterable(sources) if source], wait_seconds)
        events: list[Message | JobExit] = []
        for number, running in list(self._running.items()):
            events += running.read_messages()
            if running.process.exitcode is None:
                running.enforce_deadline()
            else:
                events += running.read_messages()  # messages that arrived between the first read and the exit
                events.append(running.collect_exit())
                self._free_slots.append(running.slot)
                del self._running[number]
        return events

    def stop(self) -> list[JobExit]:
        """Requests the end of all jobs, kills those that do not end in time, and returns how they ended."""
        for running in self._running.values():
            running.request_end("the sweep was stopped")
        exits: list[JobExit] = []
        while self._running:
            exits += [event for event in self.poll() if isinstance(event, JobExit)]
        return exits


class _JobProcess(RunningJob):
    """A job whose process was started."""

    def __init__(
        self, job: Job, slot: Mapping[str, str], process: BaseProcess, reports: Connection, lifeline: Connection
    ) -> None:
        super().__init__(job, self._terminate, self._kill_group)
        self.slot = slot
        self.process = process
        self._pid = cast("int", process.pid)  # the process was started
        self.reports: Connection | None = reports
        self._lifeline = lifeline
        self._outcome: tuple[Any, str] | None = None

    def _terminate(self) -> None:
        """Sends SIGTERM to the process group."""
        if not signal_process_group(self._pid, signal.SIGTERM):
            self.process.terminate()

    def _kill_group(self) -> None:
        """Sends SIGKILL to the process group."""
        self.process.kill()
        signal_process_group(self._pid, signal.SIGKILL)

    def _answer(self, content: Any) -> None:  # noqa: ANN401 - what can be pickled
        """Sends an answer to the job; does nothing if its process has ended."""
        with contextlib.suppress(OSError):
            self._lifeline.send(content)

    def read_messages(self) -> list[Message]:
        """Returns the messages that arrived. The outcome, which a job sends last, is stored for `collect_exit`."""
        messages = []
        while self.reports:
            try:
                if not self.reports.poll():
                    break
                kind, content = self.reports.recv()
            except Exception:  # noqa: BLE001 - the job was killed while sending, or the content cannot be unpickled
                self.reports.close()
                self.reports = None
                break
            if kind == "end":
                self._outcome = content
            else:
                messages.append(Message(self.job.number, content, self._answer))
        return messages

    def collect_exit(self) -> JobExit:
        """Releases the resources of a job whose process has ended, and returns how it ended."""
        signal_process_group(self._pid, signal.SIGKILL)  # processes that the job started and left behind
        self.process.join()
        code = self.process.exitcode or 0
        self._lifeline.close()
        if self.reports:
            self.reports.close()
        value, failure = self._outcome or (None, _describe_exit(code))
        return JobExit(self.job.number, value, failure and (self.end_reason or failure))


def _describe_exit(code: int) -> str:
    """Returns a description of the end of a process that did not send an outcome."""
    if code >= 0:
        return f"its process exited with code {code} before it was done"
    name = signal.Signals(-code).name if -code in {number.value for number in signal.Signals} else f"signal {-code}"
    hint = ", for example because the system ran out of memory" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{hint}"


@contextlib.contextmanager
def _hide_main_module() -> Iterator[None]:
    """Prevents multiprocessing from importing the main script again in each process that it starts.

    A job contains everything it needs of the script, and a script without a `__main__` guard would run again.
    """
    main = vars(sys.modules["__main__"])
    hidden: dict[str, Any] = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(hidden)

"""A process for each job, forked from a server that has imported the heavy libraries once.

Every job is alone: what it raises, leaks, exits with or is killed by costs that job and no other. A job reports over a
pipe of its own, writes its output to a log file of its own, and ends when the process that started it ends, whatever
ended that: it holds one end of a pipe (its lifeline) whose other end only that process holds.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trainyard.errors import TrainyardError
from trainyard.sweep.launch.job import GRACE_SECONDS, Start, do_work

PRELOADED = (
    "trainyard.sweep.launch.preload",
    "trainyard.runs.experiment",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "alembic.command",
    "alembic.autogenerate",
    "sklearn.metrics",
    "matplotlib.backends.backend_agg",
    "jinja2",
)
"""What the server imports before the first job of Trainyard's own: all that takes a run long. Of a module that is not
there, as the inner ones of MLflow may not always be, the server says nothing, and a job imports what it needs."""

SERVER = "trainyard.sweep.launch.fork_server"
"""What it imports before all else."""

Work = Callable[[], Any]
"""What a job does: it returns a result that can be pickled, and may `report` what can be pickled while it goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to be done in a process of its own.

    Attributes:
        number: Names the job in what is reported of it.
        work: A `Work`, pickled by cloudpickle.
        log: The file that its output is appended to.
        limit_seconds: After which it is ended; None: it may take as long as it likes.
        environment: Variables set for it alone.
        held: A file that its process holds a shared lock on until it is gone, whoever else may be gone by then.
    """

    number: int
    work: bytes
    log: Path
    limit_seconds: float | None = None
    environment: Mapping[str, str] | None = None
    held: Path | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """Something that a job sent while it ran."""

    number: int
    content: Any


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended.

    Attributes:
        number: The job.
        returned: Whether it came to its end; else it raised, exited or was killed.
        value: What it returned, or the exception that it raised where that can be pickled.
        failure: What happened instead, in a line; empty where it returned.
    """

    number: int
    returned: bool
    value: Any
    failure: str


def start_server(preload: Sequence[str] = PRELOADED) -> None:
    """Starts the server without waiting until it has imported what jobs need; without it, the first job does."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        context: Any = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([SERVER, *preload])
        forkserver.ensure_running()


class ProcessPool:
    """Runs jobs, each in a process of its own. Use it as a context: at its end no process is left."""

    def __init__(self, *, preload: Sequence[str] = PRELOADED) -> None:
        """Prepares the server; it starts with the first job.

        Args:
            preload: Modules that every job needs.
        """
        if "forkserver" not in multiprocessing.get_all_start_methods():
            raise TrainyardError("hydra/launcher=fork: this system can't fork processes. Use another launcher")
        self._context: Any = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([SERVER, *preload])
        self._running: dict[int, _Running] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __len__(self) -> int:
        return len(self._running)

    def submit(self, job: Job) -> None:
        """Starts a job at once."""
        reports, job_reports = self._context.Pipe(duplex=False)
        job_lifeline, lifeline = self._context.Pipe(duplex=False)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **(job.environment or {})}
        start = Start(sys.orig_argv, job.work, job.log.absolute(), environment, Path.cwd(), job.held)
        pipes = (job_reports, job_lifeline)
        process = self._context.Process(target=do_work, args=(start, *pipes), name=f"job {job.number}")
        with _main_hidden():
            process.start()
        job_reports.close()
        job_lifeline.close()
        self._running[job.number] = _Running(job, process, reports, lifeline)

    def answer(self, number: int, content: Any) -> None:  # noqa: ANN401 - what can be pickled
        """Answers a job that waits in `ask`; one that has ended meanwhile does not hear it."""
        if number in self._running:
            self._running[number].answer(content)

    def poll(self, timeout_seconds: float | None = None) -> list[Message | End]:
        """Waits until something happens, and returns all that has.

        Args:
            timeout_seconds: How long to wait at most; None: until something happens.
        """
        deadlines = [due for running in self._running.values() if (due := running.deadline()) is not None]
        if timeout_seconds is not None:
            deadlines.append(time.monotonic() + timeout_seconds)
        patience = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        wait([thing for running in self._running.values() for thing in running.waited_for()], patience)
        happened: list[Message | End] = []
        for number, running in list(self._running.items()):
            happened += running.messages()
            if running.process.exitcode is None:
                running.hurry()
            else:
                happened += running.messages()  # what came between the last look and the end
                happened.append(running.end())
                del self._running[number]
        return happened

    def stop(self) -> list[End]:
        """Asks all jobs to end, kills those that don't, and returns how they ended."""
        for running in self._running.values():
            running.ask("the sweep was stopped")
        ends: list[End] = []
        while self._running:
            ends += [event for event in self.poll() if isinstance(event, End)]
        return ends


class _Running:
    """A job whose process was started."""

    def __init__(self, job: Job, process: BaseProcess, reports: Connection, lifeline: Connection) -> None:
        if process.pid is None:
            raise ValueError("expected a process that was started")
        self.process = process
        self._pid = process.pid
        self._job = job
        self._reports: Connection | None = reports
        self._lifeline = lifeline
        self._started = time.monotonic()
        self._asked: float | None = None
        self._why = ""
        self._last: tuple[bool, Any, str] | None = None

    def answer(self, content: Any) -> None:  # noqa: ANN401 - what can be pickled
        with contextlib.suppress(OSError):
            self._lifeline.send(content)

    def waited_for(self) -> Iterator[Any]:
        yield self.process.sentinel
        if self._reports:
            yield self._reports

    def deadline(self) -> float | None:
        """Returns when something must be done about it, on the monotonic clock."""
        if self._asked is not None:
            return self._asked + GRACE_SECONDS
        return None if self._job.limit_seconds is None else self._started + self._job.limit_seconds

    def hurry(self) -> None:
        """Ends it where its time is up."""
        due = self.deadline()
        if due is None or time.monotonic() < due:
            return
        if self._asked is None:
            self.ask(f"it took longer than {self._job.limit_seconds:g} s")
        else:
            self.process.kill()
            _signal_group(self._pid, signal.SIGKILL)

    def ask(self, why: str) -> None:
        """Asks it to end, with the signal that closes a run."""
        if self._asked is None:
            self._asked, self._why = time.monotonic(), why
            if not _signal_group(self._pid, signal.SIGTERM):
                self.process.terminate()

    def messages(self) -> list[Message]:
        """Returns what it sent; the last thing it sends is how it ended."""
        found = []
        while self._reports:
            try:
                if not self._reports.poll():
                    break
                kind, content = self._reports.recv()
            except Exception:  # noqa: BLE001 - it was killed within a message, or sent what can't be read here
                self._reports.close()
                self._reports = None
                break
            if kind == "end":
                self._last = content
            else:
                found.append(Message(self._job.number, content))
        return found

    def end(self) -> End:
        """Returns how it ended, and lets go of it."""
        _signal_group(self._pid, signal.SIGKILL)  # what it started and left behind
        self.process.join()
        code = self.process.exitcode or 0
        self._lifeline.close()
        if self._reports:
            self._reports.close()
        returned, value, failure = self._last or (False, None, self._why or _describe_exit(code))
        return End(self._job.number, returned, value, failure if returned or not self._why else self._why)


def _describe_exit(code: int) -> str:
    """Returns how a process ended that did not say so itself."""
    if code >= 0:
        return f"its process exited with code {code} before it was done"
    name = signal.Signals(-code).name if -code in {number.value for number in signal.Signals} else f"signal {-code}"
    memory = ", as when the system runs out of memory" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{memory}"


def _signal_group(pid: int, number: int) -> bool:
    """Sends a signal to a job and to what it started; returns False where there is no such group (any more, or yet)."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


@contextlib.contextmanager
def _main_hidden() -> Iterator[None]:
    """Keeps multiprocessing from importing the program's own script once more in each process that it starts.

    What a job needs of it travels with the job, and a script without a guard would begin anew.
    """
    main = vars(sys.modules["__main__"])
    hidden: dict[str, Any] = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(hidden)

"""Jobs on a Ray cluster, each a task with a worker process of its own, which ends with it.

Nodes share a file system: a job works in the folder that the sweep was started in, and leaves there what it would leave
under the launcher of one machine. What a node knows by its environment, as the password of a tracking server, it is not
told by us.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle

from trainyard.errors import ConfigError, TrainyardError, in_one_line
from trainyard.sweep.launch.job import GRACE_SECONDS, write_to
from trainyard.sweep.launch.process_pool import End, Job, Message
from trainyard.system.uris import without_credentials

_LOOK_SECONDS = 0.5
"""How often it is looked for jobs that take too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySettings:
    """The fields of ``hydra.launcher``.

    Attributes:
        address: Of the cluster, ``host:port``, or ``auto`` for the one that this machine belongs to; None: that of the
            variable RAY_ADDRESS, or a cluster of this machine alone for the time of the sweep.
        num_cpus: Cores that each job takes, and threads that a training has.
        num_gpus: GPUs that each job takes; a share of one is fine.
        resources: What else each job takes, as nodes were started with: ``{"big": 1}``.
        n_jobs: How many run side by side at most; None: as many as the nodes have room for.
        time_limit_seconds: How long one may take; None: as long as it likes.
    """

    address: str | None = None
    num_cpus: float = 1
    num_gpus: float = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    n_jobs: int | None = None
    time_limit_seconds: float | None = None


@contextlib.contextmanager
def open_pool(settings: RaySettings) -> Iterator[RayPool]:
    """Yields a pool on the cluster, and leaves the cluster at the end of the block, with no job running.

    Raises:
        ConfigError: If Ray is not installed, a setting is out of range, or no node has what a job takes.
        TrainyardError: If the cluster can't be reached.
    """
    _check(settings)
    import ray

    ours = not ray.is_initialized()
    if ours:
        _join(ray, settings.address)
    try:
        with contextlib.closing(RayPool(settings)) as pool:
            yield pool
    finally:
        if ours:
            ray.shutdown()


def _check(settings: RaySettings) -> None:
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "hydra/launcher: ray runs jobs with the package ray, which is not installed. Install Trainyard's extra "
            "'ray' (pip install ray)"
        )
    for name in ("num_cpus", "num_gpus"):
        value = getattr(settings, name)
        if value < 0 or (name == "num_cpus" and value == 0):
            raise ConfigError(f"hydra.launcher.{name}: expected a number above 0, got {value}")
    if settings.n_jobs is not None and settings.n_jobs < 1:
        raise ConfigError(
            f"hydra.launcher.n_jobs: expected a whole number of at least 1, or null, got {settings.n_jobs}"
        )


def _join(ray: Any, address: str | None) -> None:  # noqa: ANN401 - a module
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, include_dashboard=False)
    except Exception as error:
        where = address or os.environ.get("RAY_ADDRESS") or "of this machine"
        raise TrainyardError(
            f"hydra.launcher.address: the Ray cluster {where} can't be reached: {in_one_line(error)}. "
            "Is it up (ray status), with the same versions of Ray and Python?"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # Ray has its own, which know nothing of runs to be closed
                signal.signal(number, handler)


class RayPool:
    """Runs jobs as tasks of Ray. What they report while they go on is not heard."""

    def __init__(self, settings: RaySettings) -> None:
        """Takes the cluster that this process has joined."""
        import ray

        self._ray = ray
        self._settings = settings
        self._task = ray.remote(max_calls=1)(_do_work)  # a process for each
        self._needs = {
            "num_cpus": settings.num_cpus,
            "num_gpus": settings.num_gpus,
            "resources": dict(settings.resources),
            "max_retries": 0,  # what is lost is told, and tried again by the policy of the sweep
        }
        self._running: dict[Any, _Running] = {}
        if not self.places:
            wanted = {"CPU": settings.num_cpus, "GPU": settings.num_gpus, **settings.resources}
            raise ConfigError(
                f"hydra.launcher: no node of the cluster has what a job takes: {wanted}. "
                f"The nodes have {[node['Resources'] for node in self._nodes()]}"
            )

    @property
    def places(self) -> int:
        """How many jobs run side by side: as many as the nodes that are up now have room for, or as were asked for."""
        wanted = {"CPU": self._settings.num_cpus, "GPU": self._settings.num_gpus, **self._settings.resources}
        room = sum(
            int(min(node["Resources"].get(name, 0) / amount for name, amount in wanted.items() if amount))
            for node in self._nodes()
        )
        return min(room, self._settings.n_jobs or room)

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def submit(self, job: Job) -> None:
        """Hands a job to the cluster, which starts it as soon as a node has room."""
        job.log.parent.mkdir(parents=True, exist_ok=True)
        start = (sys.orig_argv, str(Path.cwd()), str(job.log.absolute()), job.held and str(job.held))
        reference = self._task.options(name=f"job {job.number}", **self._needs).remote(job.work, *start)
        self._running[reference] = _Running(job)

    def answer(self, number: int, content: Any) -> None:  # noqa: ANN401 - as the pool of one machine has it
        """Nobody asks here."""

    def poll(self) -> list[Message | End]:
        """Waits until a job ends, and returns how each did that has."""
        while self._running:
            references = list(self._running)
            ended, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
            if not ended:
                ended, _ = self._ray.wait(references, timeout=_LOOK_SECONDS)
            self._hurry()
            if ended:
                return [self._end(reference) for reference in ended]
        return []

    def close(self) -> None:
        """Asks all jobs to end, and kills those that don't."""
        for reference, running in self._running.items():
            self._ask(reference, running, "the sweep was stopped")
        while self._running:
            self.poll()

    def _hurry(self) -> None:
        """Ends those whose time is up."""
        limit = self._settings.time_limit_seconds
        for reference, running in self._running.items():
            if running.asked is not None and time.monotonic() > running.asked + GRACE_SECONDS:
                self._ray.cancel(reference, force=True)
            elif limit is not None and running.asked is None and time.monotonic() > running.started + limit:
                self._ask(reference, running, f"it took longer than {limit:g} s")

    def _ask(self, reference: Any, running: _Running, why: str) -> None:  # noqa: ANN401 - of Ray's
        """Asks a job to end, as Ctrl-C would."""
        if running.asked is None:
            running.asked, running.why = time.monotonic(), why
            self._ray.cancel(reference)

    def _end(self, reference: Any) -> End:  # noqa: ANN401 - of Ray's
        running = self._running.pop(reference)
        try:
            value, failure = self._ray.get(reference)
        except Exception as error:  # noqa: BLE001 - whatever Ray raises: the job is lost
            value, failure = None, f"its process was lost: {_describe(error)}"
        failure = running.why or failure
        return End(running.job.number, not failure, value, failure)


@dataclass(slots=True)
class _Running:
    """A job that was handed to the cluster; since when, and when and why it was asked to end."""

    job: Job
    started: float = field(default_factory=time.monotonic)
    asked: float | None = None
    why: str = ""


def _do_work(work: bytes, command: list[str], folder: str, log: str, held: str | None) -> tuple[Any, str]:
    """Does a job in a worker of Ray's; returns its value, or what went wrong.

    Args:
        work: What is done, pickled.
        command: What was typed.
        folder: Where that was.
        log: The file that all output goes to.
        held: A file that is locked until this process is gone, so that nobody goes on with the sweep meanwhile.
    """
    sys.orig_argv[:] = command
    try:
        os.chdir(folder)
        write_to(Path(log))
    except OSError as error:
        return None, f"{error}: the folder of the sweep has to be on a file system that all nodes share"
    with contextlib.suppress(ImportError, OSError):
        _hold(held)
    try:
        return cloudpickle.loads(work)(), ""
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        sys.stderr.write(without_credentials(traceback.format_exc()))
        return None, f"{type(error).__name__}: {error}"
    except KeyboardInterrupt:
        return None, "KeyboardInterrupt"


def _hold(held: str | None) -> None:
    import fcntl  # which Windows lacks

    if held:
        fcntl.flock(os.open(held, os.O_RDWR | os.O_CREAT, 0o644), fcntl.LOCK_SH | fcntl.LOCK_NB)


def _describe(error: Exception) -> str:
    """Returns what Ray says of a lost task, in a line."""
    return f"{type(error).__name__}: {in_one_line(error)}"

"""Runs jobs on a Ray cluster. Each job is a Ray task in its own worker process, which ends with the job.

The nodes must share a file system: a job runs in the directory in which the sweep was started, and writes the same
files as a job on one machine. Environment variables, such as the credentials of a tracking server, are not forwarded to
the nodes; set them there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from trainyard.errors import ConfigError, TrainyardError, summarize_error
from trainyard.sweep.launch.devices import RAY_LAUNCHER, allocate_slots
from trainyard.sweep.launch.job import JobStart
from trainyard.sweep.launch.process_pool import PRELOADED, Job, JobExit, Message, ProcessPool, RunningJob
from trainyard.system import hold_shared_lock

if TYPE_CHECKING:
    from hydra_plugins.trainyard_plugins import RayLauncherConf

_CHECK_INTERVAL_SECONDS = 0.5
"""How often jobs are checked for exceeding the time limit."""


@contextlib.contextmanager
def open_ray_pool(settings: RayLauncherConf, lock_file: Path | None = None) -> Iterator[RayPool]:
    """Connects to a Ray cluster and yields a pool. On exit it ends all jobs and disconnects.

    The process of each job holds a shared lock on the `lock_file`, if any, until it ends.

    Raises:
        ConfigError: If Ray is not installed, a setting is out of range, or no node has enough resources for a job.
        TrainyardError: If the cluster cannot be reached.
    """
    _check_settings(settings)
    import ray

    connects = not ray.is_initialized()
    if connects:
        _connect_to_cluster(ray, settings.address)
    try:
        with contextlib.closing(RayPool(settings, lock_file)) as pool:
            yield pool
    finally:
        if connects:
            ray.shutdown()


def _check_settings(settings: RayLauncherConf) -> None:
    """Raises a ConfigError if Ray is not installed or a setting is out of range."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "hydra/launcher=ray: the package ray is not installed. Install Trainyard with its extra 'ray', or run: "
            "pip install ray"
        )
    for name, is_valid in (("num_cpus", settings.num_cpus > 0), ("num_gpus", settings.num_gpus >= 0)):
        if not is_valid:
            raise ConfigError(f"hydra.launcher.{name}: expected a number above 0, got {getattr(settings, name)}")
    if settings.n_jobs is not None and settings.n_jobs < 1:
        raise ConfigError(f"hydra.launcher.n_jobs: expected an integer of at least 1, or null, got {settings.n_jobs}")


def _connect_to_cluster(ray: Any, address: str | None) -> None:  # noqa: ANN401 - a module
    """Connects this process to a Ray cluster, or starts one, without changing the signal handlers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    logger = logging.getLogger("ray._private.authentication")  # warns that a new cluster on this machine uses a token
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, include_dashboard=False)
    except Exception as error:
        cluster = address or os.environ.get("RAY_ADDRESS") or "of this machine"
        raise TrainyardError(
            f"hydra.launcher.address: the Ray cluster {cluster} cannot be reached: {summarize_error(error)}. "
            "Check that it is running (ray status) and uses the same versions of Ray and Python"
        ) from error
    finally:
        logger.setLevel(level)
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # Ray replaces the handlers that close the runs
                signal.signal(number, handler)


class RayPool:
    """Runs jobs as Ray tasks. Messages that jobs send while they run are not received."""

    def __init__(self, settings: RayLauncherConf, lock_file: Path | None) -> None:
        """Creates the pool; this process must be connected to the cluster. See `open_ray_pool`."""
        import ray

        self._lock_file = lock_file
        self._ray = ray
        self._task = ray.remote(max_calls=1)(_run_work)  # a new process for each call
        self._task_options = {
            "num_cpus": settings.num_cpus,
            "num_gpus": settings.num_gpus,
            "resources": dict(settings.resources),
            "max_retries": 0,  # a lost job is reported, and retried as sweep.retries specifies
        }
        self._running: dict[Any, RunningJob] = {}
        required = {"CPU": settings.num_cpus, "GPU": settings.num_gpus, **settings.resources}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        capacity = sum(
            int(min(node.get(name, 0) / amount for name, amount in required.items() if amount)) for node in nodes
        )
        self.slots = min(capacity, settings.n_jobs or capacity)
        if not self.slots:
            raise ConfigError(
                f"hydra.launcher: no node of the Ray cluster has enough resources: a job requires {required}, "
                f"the nodes have {nodes}. Reduce the requirements of a job, or add a node"
            )

    def __len__(self) -> int:
        return len(self._running)

    @property
    def has_free_slot(self) -> bool:
        """Whether a job can be submitted now."""
        return len(self._running) < self.slots

    def submit(self, job: Job) -> None:
        """Submits a job to the cluster, which starts it as soon as a node has free resources."""
        job.log.parent.mkdir(parents=True, exist_ok=True)
        start = JobStart(work=job.work, log=job.log.absolute(), lock_file=self._lock_file)
        reference = self._task.options(name=f"job {job.number}", **self._task_options).remote(start)
        interrupt, kill = partial(self._ray.cancel, reference), partial(self._ray.cancel, reference, force=True)
        self._running[reference] = RunningJob(job, interrupt, kill)

    def poll(self) -> list[Message | JobExit]:
        """Waits until a job ends, and returns all exits that occurred."""
        while self._running:
            references = list(self._running)
            ended, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
            if not ended:
                ended, _ = self._ray.wait(references, timeout=_CHECK_INTERVAL_SECONDS)
            for running in self._running.values():
                running.enforce_deadline()
            if ended:
                return [self._collect_exit(reference) for reference in ended]
        return []

    def close(self) -> None:
        """Requests the end of all jobs, and kills those that do not end in time."""
        for running in self._running.values():
            running.request_end("the sweep was stopped")
        while self._running:
            self.poll()

    def _collect_exit(self, reference: Any) -> JobExit:  # noqa: ANN401 - a Ray type
        """Returns how a job ended, and removes it from the running jobs."""
        running = self._running.pop(reference)
        try:
            value, failure = self._ray.get(reference)
        except Exception as error:  # noqa: BLE001 - any error of Ray means that the job is lost
            value, failure = None, f"its process was lost: {type(error).__name__}: {summarize_error(error)}"
        return JobExit(running.job.number, value, running.end_reason or failure)


JobPool = ProcessPool | RayPool


def open_pool(
    launcher: DictConfig, *, lock_file: Path | None = None, preload: Sequence[str] = PRELOADED
) -> contextlib.AbstractContextManager[JobPool]:
    """Opens the pool of the launcher fork or ray, whose settings are in ``hydra.launcher``; see the two pools."""
    if launcher._target_ == RAY_LAUNCHER:
        return open_ray_pool(cast("RayLauncherConf", OmegaConf.to_object(launcher)), lock_file)
    return ProcessPool(allocate_slots(launcher.n_jobs, os.environ), lock_file=lock_file, preload=preload)


def _run_work(start: JobStart) -> tuple[Any, str]:
    """Runs a job in a Ray worker process; see `JobStart.perform_work`. Locks the lock file until the process ends."""
    os.environ.pop("MLFLOW_RUN_ID", None)
    try:
        start.enter()
    except OSError as error:
        return None, f"{error}: the folder of the sweep must be on a file system that all nodes of the cluster share"
    with contextlib.suppress(ImportError, OSError):
        if start.lock_file:
            hold_shared_lock(start.lock_file, wait=False)
    return start.perform_work()

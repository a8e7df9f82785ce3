"""Launchers for Hydra that run each job in a separate process, and start a job as soon as a slot is free.

They work with any Hydra program: ``python program.py -m hydra/launcher=fork ...``. The task function may be a closure,
and the script needs no `__main__` guard. Return values and exceptions are passed to Hydra as by its own launchers. A
job that exits, is killed or exceeds the time limit fails without affecting other jobs.

`run_batch` implements Hydra's interface: it runs a batch of jobs and returns all results. `open_jobs`, and
`open_ray_jobs` on a cluster, are for sweepers that submit single jobs and process each result as soon as a job ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from trainyard.config import get_job_error
from trainyard.errors import ConfigError, TrialError
from trainyard.sweep.launch.devices import allocate_slots
from trainyard.sweep.launch.process_pool import PRELOADED, Job, JobExit, Message, ProcessPool
from trainyard.sweep.launch.ray_pool import RaySettings, open_ray_pool

LOGS = "logs"
"""The folder below the sweep's folder that contains the output of each job, as ``<hydra.job.id>.log``."""

_STRIPPED = ("MLFLOW_RUN_ID",)
"""Environment variables that identify a single run, which jobs must not inherit."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of a job.

    Attributes:
        number: The number of the job in Hydra, from 0.
        job_return: The result, as Hydra's launchers return it.
        failure: The error in one line; empty if the job succeeded.
    """

    number: int
    job_return: JobReturn
    failure: str


@dataclass(frozen=True, slots=True)
class Multirun:
    """The arguments that Hydra passes to a launcher.

    Attributes:
        hydra_context: Contains the loader that composes the configs of jobs, and the callbacks.
        task_function: The function that runs in the process of each job.
        config: The config of the multirun.
    """

    hydra_context: HydraContext
    task_function: TaskFunction
    config: DictConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkSettings:
    """The fields of ``hydra.launcher``.

    Attributes:
        n_jobs: Maximum number of jobs that run at the same time; None: one per GPU or, without GPUs, one per CPU core.
        time_limit_seconds: Maximum duration of a job; None for no limit.
        preload: Modules that are imported once, before the first job. None: those that a training needs, if the task is
            Trainyard's own; no modules otherwise.
    """

    n_jobs: int | None = None
    time_limit_seconds: float | None = None
    preload: Sequence[str] | None = None


def run_batch(
    job_runner: AbstractContextManager[JobRunner], job_overrides: Sequence[Sequence[str]], initial_job_idx: int
) -> list[JobReturn]:
    """Runs a batch of jobs and returns their results, in the order of the batch.

    Args:
        job_runner: The return value of `open_jobs` or `open_ray_jobs`.
        job_overrides: The overrides of each job.
        initial_job_idx: The number of the first job.

    Returns:
        A `JobReturn` per job. If a job did not run to its end, its status is FAILED, and its `return_value` raises a
        TrialError.

    Raises:
        ConfigError: If a setting is out of range.
    """
    numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
    returns: dict[int, JobReturn] = {}
    with job_runner as jobs:
        _log.info("Launching %d jobs, %d at a time, each in a separate process", len(numbers), jobs.slots)
        composed = [jobs.compose(number, job) for number, job in zip(numbers, job_overrides, strict=True)]
        composed.reverse()
        while composed or len(jobs):
            while composed and jobs.has_free_slot:
                jobs.submit(composed.pop())
            for event in jobs.poll():
                if isinstance(event, JobResult):
                    returns[event.number] = event.job_return
    return [returns[number] for number in numbers]


@contextlib.contextmanager
def open_jobs(multirun: Multirun, settings: ForkSettings, lock_file: Path | None = None) -> Iterator[JobRunner]:
    """Yields a runner for jobs on this machine. On exit it ends all jobs.

    Args:
        multirun: The multirun that the jobs belong to.
        settings: The settings of the launcher.
        lock_file: A file on which the process of each job holds a shared lock until it ends.

    Raises:
        ConfigError: If a setting is out of range.
    """
    preload = settings.preload
    if preload is None:
        preload = PRELOADED if type(multirun.task_function).__module__.startswith("trainyard.") else ()
    slots = allocate_slots(settings.n_jobs, os.environ)
    with _hydra_logging(multirun, settings.time_limit_seconds), ProcessPool(preload=preload) as pool:
        yield JobRunner(multirun, pool, slots, limit_seconds=settings.time_limit_seconds, lock_file=lock_file)


@contextlib.contextmanager
def open_ray_jobs(multirun: Multirun, settings: RaySettings, lock_file: Path | None = None) -> Iterator[JobRunner]:
    """Yields a runner for jobs on a Ray cluster; see `open_jobs`, and `ray_pool.open_ray_pool` for further errors."""
    with _hydra_logging(multirun, settings.time_limit_seconds), open_ray_pool(settings) as pool:
        yield JobRunner(
            multirun, pool, [{}] * pool.slots, limit_seconds=settings.time_limit_seconds, lock_file=lock_file
        )


@contextlib.contextmanager
def _hydra_logging(multirun: Multirun, limit_seconds: float | None) -> Iterator[None]:
    """Configures Hydra's logging before and after the block, because jobs change it. Checks the time limit."""
    if limit_seconds is not None and not limit_seconds > 0:
        raise ConfigError(f"hydra.launcher.time_limit_seconds: expected a number above 0, got {limit_seconds}")
    setup_globals()
    hydra_section = multirun.config.hydra
    configure_log(hydra_section.hydra_logging, hydra_section.verbose)
    yield
    configure_log(hydra_section.hydra_logging, hydra_section.verbose)


class JobPool(Protocol):
    """The interface of `ProcessPool` and `RayPool`."""

    def submit(self, job: Job) -> None:
        """Starts a job."""

    def answer(self, number: int, content: Any) -> None:  # noqa: ANN401 - what can be pickled
        """Sends an answer, as (key, answer), to a job that waits for it.

        `RayPool` does nothing, because it receives no messages.
        """

    def poll(self) -> list[Message | JobExit]:
        """Waits for messages and exits of jobs, and returns all that occurred."""


class JobRunner:
    """Runs the jobs of a multirun in a pool, one per slot at the same time."""

    def __init__(
        self,
        multirun: Multirun,
        pool: JobPool,
        slots: list[dict[str, str]],
        *,
        limit_seconds: float | None,
        lock_file: Path | None,
    ) -> None:
        """Creates a runner; see `open_jobs`.

        Args:
            multirun: The multirun that the jobs belong to.
            pool: The pool that runs them.
            slots: For each slot, the environment variables of its jobs.
            limit_seconds: Maximum duration of a job; None for no limit.
            lock_file: A file on which the process of each job holds a shared lock until it ends.
        """
        self.slots = len(slots)
        self._multirun = multirun
        self._pool = pool
        self._free_slots = list(slots)
        self._used_slots: dict[int, dict[str, str]] = {}
        self._limit_seconds = limit_seconds
        self._lock_file = lock_file
        self._logs = Path(str(multirun.config.hydra.sweep.dir)) / LOGS
        self._configs: dict[int, DictConfig] = {}
        self._shared = cloudpickle.dumps((multirun.hydra_context, multirun.task_function, Singleton.get_state()))

    def __len__(self) -> int:
        """Returns the number of running jobs."""
        return len(self._used_slots)

    @property
    def has_free_slot(self) -> bool:
        """Whether a job can be submitted now."""
        return bool(self._free_slots)

    def compose(self, number: int, overrides: Sequence[str]) -> DictConfig:
        """Returns the config of a job. Config files that are edited afterwards do not affect it."""
        loader = self._multirun.hydra_context.config_loader
        config = loader.load_sweep_config(self._multirun.config, list(overrides))
        with open_dict(config):
            config.hydra.job.num = number
            if OmegaConf.is_missing(config.hydra.job, "id"):
                config.hydra.job.id = f"{number}"
        return config

    def submit(self, config: DictConfig) -> None:
        """Starts a job in a free slot."""
        number = int(config.hydra.job.num)
        _log.info("\t#%d : %s", number, " ".join(filter_overrides(config.hydra.overrides.task)))
        self._configs[number] = config
        self._used_slots[number] = self._free_slots.pop(0)
        self._pool.submit(
            Job(
                number=number,
                work=cloudpickle.dumps(_HydraJob(self._shared, config)),
                log=self._get_log_file(config),
                limit_seconds=self._limit_seconds,
                environment=self._used_slots[number],
                lock_file=self._lock_file,
            )
        )

    def answer(self, number: int, content: Any) -> None:  # noqa: ANN401 - what can be pickled
        """Sends an answer, as (key, answer), to the job with this number, from 0; see `job.request_answer`."""
        self._pool.answer(number, content)

    def poll(self) -> list[Message | JobResult]:
        """Waits for messages and results of jobs, and returns all that occurred."""
        return [event if isinstance(event, Message) else self._collect_result(event) for event in self._pool.poll()]

    def _collect_result(self, event: JobExit) -> JobResult:
        """Frees the slot of a job that ended, and returns its result. Logs an error if the job failed."""
        self._free_slots.append(self._used_slots.pop(event.number))
        config = self._configs.pop(event.number)
        failure = event.failure
        job: JobReturn | None = None
        if event.returned:
            try:
                job = cloudpickle.loads(event.value)
            except Exception as error:  # noqa: BLE001 - unpickling a user's class may raise anything
                failure = f"its return value cannot be unpickled: {type(error).__name__}: {error}"
        if job and job.status == JobStatus.FAILED:
            raised = get_job_error(job)
            failure = f"{type(raised).__name__}: {raised}"
        if failure:
            _log.error("\t#%d failed: %s. Its output is in %s", event.number, failure, self._get_log_file(config))
        return JobResult(event.number, job or self._build_failure(event.number, config, failure), failure)

    def _build_failure(self, number: int, config: DictConfig, failure: str) -> JobReturn:
        """Returns the `JobReturn` of a job that did not run to its end."""
        task_config, hydra_config = config.copy(), OmegaConf.create({"hydra": config.hydra})
        with open_dict(task_config):
            del task_config["hydra"]
        overrides = list(config.hydra.overrides.task)
        message = f"job {number} ({' '.join(overrides)}): {failure}. Its output is in {self._get_log_file(config)}"
        job = JobReturn(overrides=overrides, cfg=task_config, hydra_cfg=hydra_config, status=JobStatus.FAILED)
        job.working_dir, job.task_name = str(Path.cwd()), config.hydra.job.name
        job.return_value = TrialError(message)
        return job

    def _get_log_file(self, config: DictConfig) -> Path:
        """Returns the path of a job's log file, ``logs/<hydra.job.id>.log``."""
        return self._logs / f"{config.hydra.job.id}.log"


class _HydraJob:
    """The function that runs a job of Hydra; it is pickled and sent to the process of the job."""

    def __init__(self, shared: bytes, config: DictConfig) -> None:
        """Creates the function.

        Args:
            shared: What all jobs have in common, pickled once: Hydra's context, the task function, Hydra's singletons.
            config: The config of the job.
        """
        self._shared = shared
        self._config = config

    def __call__(self) -> bytes:
        """Runs the job with Hydra's `run_job`, and returns its `JobReturn`, pickled by cloudpickle."""
        for name in _STRIPPED:
            os.environ.pop(name, None)
        setup_globals()
        hydra_context, task_function, state = cloudpickle.loads(self._shared)
        Singleton.set_state(state)
        HydraConfig.instance().set_config(self._config)
        job = run_job(
            hydra_context=hydra_context,
            task_function=task_function,
            config=self._config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        return _pickle_job_return(job)


def _pickle_job_return(job: JobReturn) -> bytes:
    """Returns a pickled `JobReturn`.

    A return value that cannot be pickled is dropped. An exception that cannot be pickled or unpickled is replaced by a
    TrialError with its message.
    """
    failed = job.status == JobStatus.FAILED
    try:
        pickled: bytes = cloudpickle.dumps(job)
        if failed:
            cloudpickle.loads(pickled)  # some exception classes can be pickled but not unpickled
    except Exception as error:  # noqa: BLE001 - a user's class may raise anything; the job itself has ended
        if failed:
            raised = get_job_error(job)
            job.return_value = TrialError(f"{type(raised).__name__}: {raised}")
        else:
            _log.warning("the return value of the task cannot be pickled and is dropped: %s", error)
            job.return_value = None
        pickled = cloudpickle.dumps(job)
    return pickled

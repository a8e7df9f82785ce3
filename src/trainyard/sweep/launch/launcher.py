"""Runs Hydra's jobs side by side, each in a process of its own; a new one starts the moment a place is free.

Any Hydra program can use it, ``python program.py -m hydra/launcher=fork ...``: the task function may be a closure, its
script needs no guard, and what it returns or raises comes back as Hydra's launchers are bound to hand it back. A job
that exits, is killed or takes too long fails, and no other is lost with it.

`run_batch` keeps Hydra's contract, a batch of jobs in, all that came of them out. `open_jobs`, and `open_ray_jobs` on a
cluster, are for a sweeper that hands in one job at a time and wants to hear of each as soon as it ends.
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

from trainyard.errors import ConfigError, TrialError
from trainyard.sweep.launch.devices import share_out
from trainyard.sweep.launch.process_pool import PRELOADED, End, Job, Message, ProcessPool
from trainyard.sweep.launch.ray_pool import RaySettings, open_pool

LOGS = "logs"
"""The folder within that of the sweep where each job's output goes, as ``<hydra.job.id>.log``."""

_STRIPPED = ("MLFLOW_RUN_ID",)
"""Variables that mean one run, and that jobs must not share."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended.

    Attributes:
        number: As Hydra counts jobs, from 0.
        job: What Hydra's launchers return of it.
        failure: What went wrong, in a line; empty where nothing did.
    """

    number: int
    job: JobReturn
    failure: str


@dataclass(frozen=True, slots=True)
class Multirun:
    """What Hydra hands its launchers.

    Attributes:
        hydra_context: With the loader that composes jobs, and the callbacks.
        task_function: Run in each job's process.
        config: Of the whole multirun.
    """

    hydra_context: HydraContext
    task_function: TaskFunction
    config: DictConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkSettings:
    """The fields of ``hydra.launcher``.

    Attributes:
        n_jobs: How many run side by side; None: one per GPU, or per core where there is none.
        time_limit_seconds: How long one may take; None: as long as it likes.
        preload: Modules that are imported once, before the first; None: Trainyard's, for a task of its own.
    """

    n_jobs: int | None = None
    time_limit_seconds: float | None = None
    preload: Sequence[str] | None = None


def run_batch(
    opened: AbstractContextManager[Jobs], job_overrides: Sequence[Sequence[str]], initial_job_idx: int
) -> list[JobReturn]:
    """Runs a batch of jobs, and returns what came of each, in the order of the batch.

    Args:
        opened: What runs them, by `open_jobs` or `open_ray_jobs`.
        job_overrides: The overrides of each job.
        initial_job_idx: The number of the first.

    Returns:
        A `JobReturn` per job. That of a job which did not come to its end is FAILED, and raises a TrialError when it
        is asked for its return value.

    Raises:
        ConfigError: If a setting is out of range.
    """
    numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
    returns: dict[int, JobReturn] = {}
    with opened as jobs:
        _log.info("Launching %d jobs, %d at a time, each in a process of its own", len(numbers), jobs.places)
        composed = [jobs.compose(number, job) for number, job in zip(numbers, job_overrides, strict=True)]
        composed.reverse()
        while composed or len(jobs):
            while composed and jobs.free:
                jobs.submit(composed.pop())
            for event in jobs.poll():
                if isinstance(event, JobEnd):
                    returns[event.number] = event.job
    return [returns[number] for number in numbers]


@contextlib.contextmanager
def open_jobs(multirun: Multirun, settings: ForkSettings, held: Path | None = None) -> Iterator[Jobs]:
    """Yields what runs jobs side by side on this machine; at the end of the block none is left.

    Args:
        multirun: What they are jobs of.
        settings: Of the launcher.
        held: A file that each job's process holds a shared lock on for as long as it lives.

    Raises:
        ConfigError: If a setting is out of range.
    """
    preload = settings.preload
    if preload is None:
        preload = PRELOADED if type(multirun.task_function).__module__.startswith("trainyard.") else ()
    places = share_out(settings.n_jobs, os.environ)
    with _with_logging(multirun, settings.time_limit_seconds), ProcessPool(preload=preload) as pool:
        yield Jobs(multirun, pool, places, limit_seconds=settings.time_limit_seconds, held=held)


@contextlib.contextmanager
def open_ray_jobs(multirun: Multirun, settings: RaySettings, held: Path | None = None) -> Iterator[Jobs]:
    """Yields what runs jobs on a Ray cluster; see `open_jobs`, and `raypool.open_pool` for further errors."""
    with _with_logging(multirun, settings.time_limit_seconds), open_pool(settings) as pool:
        yield Jobs(multirun, pool, [{}] * pool.places, limit_seconds=settings.time_limit_seconds, held=held)


@contextlib.contextmanager
def _with_logging(multirun: Multirun, limit_seconds: float | None) -> Iterator[None]:
    """Has Hydra's log lines go where the config says, before and after what jobs do to logging."""
    if limit_seconds is not None and not limit_seconds > 0:
        raise ConfigError(f"hydra.launcher.time_limit_seconds: expected a number above 0, got {limit_seconds}")
    setup_globals()
    hydra_section = multirun.config.hydra
    configure_log(hydra_section.hydra_logging, hydra_section.verbose)
    yield
    configure_log(hydra_section.hydra_logging, hydra_section.verbose)


class Pool(Protocol):
    """What runs jobs."""

    def submit(self, job: Job) -> None:
        """Starts a job."""

    def answer(self, number: int, content: Any) -> None:  # noqa: ANN401 - what can be pickled
        """Answers a job that waits for it."""

    def poll(self) -> list[Message | End]:
        """Waits until something happens, and returns all that has."""


class Jobs:
    """Jobs that run side by side, as many as there are places."""

    def __init__(
        self,
        multirun: Multirun,
        pool: Pool,
        places: list[dict[str, str]],
        *,
        limit_seconds: float | None,
        held: Path | None,
    ) -> None:
        """Takes what `open_jobs` prepares."""
        self.places = len(places)
        self._multirun = multirun
        self._pool = pool
        self._free = list(places)
        self._taken: dict[int, dict[str, str]] = {}
        self._limit_seconds = limit_seconds
        self._held = held
        self._logs = Path(str(multirun.config.hydra.sweep.dir)) / LOGS
        self._configs: dict[int, DictConfig] = {}
        self._shared = cloudpickle.dumps((multirun.hydra_context, multirun.task_function, Singleton.get_state()))

    def __len__(self) -> int:
        """How many are running."""
        return len(self._taken)

    @property
    def free(self) -> bool:
        """Whether a job could begin at once."""
        return bool(self._free)

    def compose(self, number: int, overrides: Sequence[str]) -> DictConfig:
        """Returns a job's config: what is edited while it waits changes nothing."""
        loader = self._multirun.hydra_context.config_loader
        config = loader.load_sweep_config(self._multirun.config, list(overrides))
        with open_dict(config):
            config.hydra.job.num = number
            if OmegaConf.is_missing(config.hydra.job, "id"):
                config.hydra.job.id = f"{number}"
        return config

    def submit(self, config: DictConfig) -> None:
        """Starts a job, in a place that is free."""
        number = int(config.hydra.job.num)
        _log.info("\t#%d : %s", number, " ".join(filter_overrides(config.hydra.overrides.task)))
        self._configs[number] = config
        self._taken[number] = self._free.pop(0)
        self._pool.submit(
            Job(
                number=number,
                work=cloudpickle.dumps(_Work(self._shared, config)),
                log=self._log_file(config),
                limit_seconds=self._limit_seconds,
                environment=self._taken[number],
                held=self._held,
            )
        )

    def answer(self, number: int, content: Any) -> None:  # noqa: ANN401 - what can be pickled
        """Answers a job, by its number from 0, with the key of what it asked and the answer; see `job.ask`."""
        self._pool.answer(number, content)

    def poll(self) -> list[Message | JobEnd]:
        """Waits until something happens, and returns all that has: what jobs reported, and how they ended."""
        return [event if isinstance(event, Message) else self._end(event) for event in self._pool.poll()]

    def _end(self, event: End) -> JobEnd:
        self._free.append(self._taken.pop(event.number))
        config = self._configs.pop(event.number)
        failure = event.failure
        job: JobReturn | None = None
        if event.returned:
            try:
                job = cloudpickle.loads(event.value)
            except Exception as error:  # noqa: BLE001 - whatever a class raises that can't be made anew here
                failure = f"what it returned can't be read here: {type(error).__name__}: {error}"
        if job and job.status == JobStatus.FAILED:
            raised = job._return_value  # noqa: SLF001 - return_value would raise it
            failure = f"{type(raised).__name__}: {raised}"
        if failure:
            _log.error("\t#%d failed: %s. Its output is in %s", event.number, failure, self._log_file(config))
        return JobEnd(event.number, job or self._failed(event.number, config, failure), failure)

    def _failed(self, number: int, config: DictConfig, failure: str) -> JobReturn:
        """Returns what Hydra is handed for a job that did not come to its end."""
        task_config, hydra_config = config.copy(), OmegaConf.create({"hydra": config.hydra})
        with open_dict(task_config):
            del task_config["hydra"]
        overrides = list(config.hydra.overrides.task)
        told = f"job {number} ({' '.join(overrides)}): {failure}. Its output is in {self._log_file(config)}"
        job = JobReturn(overrides=overrides, cfg=task_config, hydra_cfg=hydra_config, status=JobStatus.FAILED)
        job.working_dir, job.task_name = str(Path.cwd()), config.hydra.job.name
        job.return_value = TrialError(told)
        return job

    def _log_file(self, config: DictConfig) -> Path:
        return self._logs / f"{config.hydra.job.id}.log"


class _Work:
    """A job as it travels into its process."""

    def __init__(self, shared: bytes, config: DictConfig) -> None:
        """Takes what all jobs have in common, pickled once, and the config of this one."""
        self._shared = shared
        self._config = config

    def __call__(self) -> bytes:
        """Runs the job as Hydra runs jobs, and returns its JobReturn, pickled by cloudpickle."""
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
        return _pickle(job)


def _pickle(job: JobReturn) -> bytes:
    """Returns a job so that it can be read again: without a value that can't, with the text of such an exception."""
    failed = job.status == JobStatus.FAILED
    try:
        pickled: bytes = cloudpickle.dumps(job)
        if failed:
            cloudpickle.loads(pickled)  # an exception may be of a class that can't be made anew
    except Exception as error:  # noqa: BLE001 - whatever its classes raise: the job was done all the same
        if failed:
            raised = job._return_value  # noqa: SLF001 - return_value would raise it
            job.return_value = TrialError(f"{type(raised).__name__}: {raised}")
        else:
            _log.warning("what the task returned can't be pickled, and is dropped: %s", error)
            job.return_value = None
        pickled = cloudpickle.dumps(job)
    return pickled

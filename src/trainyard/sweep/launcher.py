"""Runs Hydra's jobs side by side, each in a process of its own; a new one starts the moment a place is free.

Any Hydra program can use it, ``python program.py -m hydra/launcher=fork ...``: the task function may be a closure, its
script needs no guard, and what it returns or raises comes back as Hydra's launchers are bound to hand it back. A job
that exits, is killed or takes too long fails, and no other is lost with it.

A task function that is an object with `job_began`, `job_reported` and `job_ended` is told of its jobs, how they failed
too; then it is not told again by the sweeper, which would end the sweep at the first batch with a failure.

Before it: pool, places. After it: the plugin through which Hydra finds it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from trainyard.errors import ConfigError, TrialError
from trainyard.sweep.places import share_out
from trainyard.sweep.pool import PRELOADED, End, Job, Message, ProcessPool

LOGS = "logs"
"""The folder within that of the sweep where each job's output goes, as ``<number>.log``."""

_STRIPPED = ("MLFLOW_RUN_ID",)
"""Variables that mean one run, and that jobs must not share."""

_log = logging.getLogger(__name__)


def launch_jobs(
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    initial_job_idx: int,
    *,
    n_jobs: int | None = None,
    time_limit_seconds: float | None = None,
    preload: Sequence[str] | None = None,
) -> list[JobReturn]:
    """Runs a batch of jobs, and returns what came of each, in the order of the batch.

    Args:
        hydra_context: As Hydra hands it to launchers.
        task_function: Run in each job's process.
        config: Of the whole multirun.
        job_overrides: The overrides of each job.
        initial_job_idx: The number of the first.
        n_jobs: How many run side by side; None: one per GPU, or per core where there is none.
        time_limit_seconds: How long one may take; None: as long as it likes.
        preload: Modules that are imported once, before the first; None: Trainyard's, for a task of its own.

    Returns:
        A `JobReturn` per job. That of a job which did not come to its end is FAILED, and raises a TrialError when it
        is asked for its return value.

    Raises:
        ConfigError: If a setting is out of range.
    """
    if time_limit_seconds is not None and not time_limit_seconds > 0:
        raise ConfigError(f"hydra.launcher.time_limit_seconds: expected a number above 0, got {time_limit_seconds}")
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    folder = Path(str(config.hydra.sweep.dir))
    folder.mkdir(parents=True, exist_ok=True)
    if preload is None:
        preload = PRELOADED if str(getattr(task_function, "__module__", "")).startswith("trainyard.") else ()
    places = share_out(n_jobs, os.environ)
    _log.info("Launching %d jobs, %d at a time, each in a process of its own", len(job_overrides), len(places))
    batch = _Batch(hydra_context, task_function, config, folder, time_limit_seconds)
    todo = [batch.compose(number, overrides) for number, overrides in enumerate(job_overrides, start=initial_job_idx)]
    todo.reverse()
    taken: dict[int, dict[str, str]] = {}
    with ProcessPool(preload=preload) as pool:
        while todo or len(pool):
            while todo and places:
                number = todo.pop()
                taken[number] = places.pop(0)
                pool.submit(batch.begin(number, taken[number]))
            for event in pool.poll():
                if isinstance(event, Message):
                    batch.tell("job_reported", event.number, event.content)
                else:
                    places.append(taken.pop(event.number))
                    batch.end(event)
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    return [batch.returns[number] for number in range(initial_job_idx, initial_job_idx + len(job_overrides))]


class _Batch:
    """The jobs of one call: what each is, and what came of it."""

    def __init__(
        self,
        hydra_context: HydraContext,
        task_function: TaskFunction,
        config: DictConfig,
        folder: Path,
        time_limit_seconds: float | None,
    ) -> None:
        self.returns: dict[int, JobReturn] = {}
        self._hydra_context = hydra_context
        self._task_function = task_function
        self._config = config
        self._folder = folder
        self._time_limit_seconds = time_limit_seconds
        self._configs: dict[int, DictConfig] = {}
        self._shared = cloudpickle.dumps((hydra_context, task_function, Singleton.get_state()))

    def compose(self, number: int, overrides: Sequence[str]) -> int:
        """Composes a job's config before the first job begins: what is edited while it waits changes nothing."""
        config = self._hydra_context.config_loader.load_sweep_config(self._config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = f"{number}"
            config.hydra.job.num = number
        self._configs[number] = config
        return number

    def begin(self, number: int, environment: dict[str, str]) -> Job:
        """Returns a job, ready to start, and tells of it."""
        config = self._configs[number]
        _log.info("\t#%d : %s", number, " ".join(filter_overrides(config.hydra.overrides.task)))
        self.tell("job_began", number, list(config.hydra.overrides.task))
        return Job(
            number=number,
            work=cloudpickle.dumps(_Work(self._shared, config)),
            log=self._log_file(number),
            limit_seconds=self._time_limit_seconds,
            environment=environment,
        )

    def end(self, event: End) -> None:
        """Takes in how a job ended, and tells of it."""
        number, failure = event.number, event.failure
        job: JobReturn | None = None
        if event.returned:
            try:
                job = cloudpickle.loads(event.value)
            except Exception as error:  # noqa: BLE001 - whatever a class raises that can't be made anew here
                failure = f"what it returned can't be read here: {type(error).__name__}: {error}"
        self.returns[number] = job or self._failed(number, failure)
        if job and job.status == JobStatus.FAILED:
            raised = job._return_value  # noqa: SLF001 - return_value would raise it
            failure = f"{type(raised).__name__}: {raised}"
        if failure:
            _log.error("\t#%d failed: %s. Its output is in %s", number, failure, self._log_file(number))
        told = self.tell("job_ended", number, failure)
        if failure and told:
            self.returns[number].status = JobStatus.COMPLETED
            self.returns[number].return_value = None

    def tell(self, what: str, number: int, content: object) -> bool:
        """Calls a method of the task function; returns False where it has none."""
        listener = getattr(self._task_function, what, None)
        if listener:
            listener(number, content)
        return listener is not None

    def _failed(self, number: int, failure: str) -> JobReturn:
        """Returns what Hydra is handed for a job that did not come to its end."""
        config = self._configs[number]
        task_config, hydra_config = config.copy(), OmegaConf.create({"hydra": config.hydra})
        with open_dict(task_config):
            del task_config["hydra"]
        overrides = list(config.hydra.overrides.task)
        told = f"job {number} ({' '.join(overrides)}): {failure}. Its output is in {self._log_file(number)}"
        job = JobReturn(overrides=overrides, cfg=task_config, hydra_cfg=hydra_config, status=JobStatus.FAILED)
        job.working_dir, job.task_name = str(Path.cwd()), config.hydra.job.name
        job.return_value = TrialError(told)
        return job

    def _log_file(self, number: int) -> Path:
        return self._folder / LOGS / f"{number}.log"


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
        try:
            return cloudpickle.dumps(job)  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001 - whatever can't be pickled: the job was done all the same
            if job.status == JobStatus.FAILED:
                raised = job._return_value  # noqa: SLF001 - return_value would raise it
                job.return_value = TrialError(f"{type(raised).__name__}: {raised}")
            else:
                _log.warning("what the task returned can't be pickled, and is dropped: %s", error)
                job.return_value = None
            return cloudpickle.dumps(job)  # type: ignore[no-any-return]

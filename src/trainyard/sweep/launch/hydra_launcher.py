"""Runs the jobs of a Hydra multirun in a pool: implements ``hydra/launcher=fork`` and ``hydra/launcher=ray``.

It works with any Hydra program: ``python program.py -m hydra/launcher=fork ...``. The task function may be a closure,
and the script needs no `__main__` guard. Return values and exceptions are passed to Hydra as by its own launchers. A
job that exits, is killed or exceeds the time limit fails without affecting other jobs.

The trials of Trainyard's own sweeps do not use Hydra; see `trainyard.sweep.trial_runner`.
"""

from __future__ import annotations

import logging
import sys
import textwrap
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from trainyard.config import describe_error, get_job_error
from trainyard.errors import ConfigError, TrialError
from trainyard.sweep.launch.process_pool import Job, JobExit
from trainyard.sweep.launch.ray_pool import open_pool

_log = logging.getLogger(__name__)

_PRELOADED = ("hydra", "omegaconf", "hydra_plugins.trainyard_plugins")
"""The modules that every job of a Hydra program needs."""


def run_batch(
    hydra_arguments: tuple[HydraContext, TaskFunction, DictConfig],
    job_overrides: Sequence[Sequence[str]],
    initial_job_idx: int,
) -> list[JobReturn]:
    """Runs a batch of jobs and returns their results, in the order of the batch.

    `hydra_arguments` are what Hydra passes to a launcher's `setup`, the last two arguments what it passes to `launch`.
    If a job did not run to its end, the status of its result is FAILED, and its `return_value` raises a TrialError.
    Raises ConfigError if a setting of the launcher is out of range.
    """
    context, task_function, master_config = hydra_arguments
    hydra_section = master_config.hydra
    limit_seconds = hydra_section.launcher.time_limit_seconds
    if limit_seconds is not None and not limit_seconds > 0:
        raise ConfigError(f"hydra.launcher.time_limit_seconds: expected a number above 0, or null, got {limit_seconds}")
    setup_globals()
    configure_log(hydra_section.hydra_logging, hydra_section.verbose)
    shared = cloudpickle.dumps((context, task_function, Singleton.get_state()))
    logs = Path(str(hydra_section.sweep.dir)) / "logs"
    numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
    _log.info("Launching %d jobs, each in a separate process", len(numbers))
    configs = {
        number: _compose_job(context, master_config, number, job)
        for number, job in zip(numbers, job_overrides, strict=True)
    }
    waiting = [*numbers][::-1]
    returns: dict[int, JobReturn] = {}
    preload = [*_PRELOADED, *(hydra_section.launcher.get("preload") or ())]
    with open_pool(hydra_section.launcher, preload=preload) as pool:
        while waiting or len(pool):
            while waiting and pool.has_free_slot:
                number = waiting.pop()
                config = configs[number]
                _log.info("\t#%d : %s", number, " ".join(filter_overrides(config.hydra.overrides.task)))
                work = cloudpickle.dumps(partial(_run_hydra_job, shared, config))
                pool.submit(Job(number, work, _get_log_file(logs, config), limit_seconds))
            for event in pool.poll():
                if isinstance(event, JobExit):
                    config = configs.pop(event.number)
                    returns[event.number] = _build_return(event, config, _get_log_file(logs, config))
    configure_log(hydra_section.hydra_logging, hydra_section.verbose)  # jobs change it
    return [returns[number] for number in numbers]


def _compose_job(context: HydraContext, master_config: DictConfig, number: int, overrides: Sequence[str]) -> DictConfig:
    """Returns the config of a job. Config files that are edited afterwards do not affect it."""
    config = context.config_loader.load_sweep_config(master_config, list(overrides))
    with open_dict(config):
        config.hydra.job.num = number
        if OmegaConf.is_missing(config.hydra.job, "id"):
            config.hydra.job.id = f"{number}"
    return config


def _get_log_file(logs: Path, config: DictConfig) -> Path:
    """Returns the path of a job's log file, ``logs/<hydra.job.id>.log``."""
    return logs / f"{config.hydra.job.id}.log"


def _build_return(event: JobExit, config: DictConfig, log: Path) -> JobReturn:
    """Returns the `JobReturn` of a job that ended. Logs an error if the job failed."""
    job: JobReturn | None = None
    failure = event.failure
    if not failure:
        try:
            job = cloudpickle.loads(event.value)
            failure = describe_failure(job)
        except Exception as error:  # noqa: BLE001 - unpickling a user's class may raise anything
            failure = f"its return value cannot be unpickled: {type(error).__name__}: {error}"
    if failure:
        notes = getattr(job and get_job_error(job), "__notes__", ())
        _log.error("\n".join([f"\t#{event.number} failed: {failure}. Its output is in {log}", *notes]))
    if job:
        return job
    task_config, hydra_config = config.copy(), OmegaConf.create({"hydra": config.hydra})
    with open_dict(task_config):
        del task_config["hydra"]
    overrides = list(config.hydra.overrides.task)
    job = JobReturn(overrides=overrides, cfg=task_config, hydra_cfg=hydra_config, status=JobStatus.FAILED)
    job.return_value = TrialError(f"job {event.number} ({' '.join(overrides)}): {failure}. Its output is in {log}")
    return job


def describe_failure(job: JobReturn) -> str:
    """Returns the exception of a job of Hydra, and its location; empty if the job succeeded."""
    raised = get_job_error(job)
    return describe_error(raised) if raised else ""


def _run_hydra_job(shared: bytes, config: DictConfig) -> bytes:
    """Runs a job with Hydra's `run_job` in the process of the job, and returns its pickled `JobReturn`.

    `shared` is what all jobs have in common, pickled once: Hydra's context, the task function, Hydra's singletons.
    """
    setup_globals()
    hydra_context, task_function, state = cloudpickle.loads(shared)
    Singleton.set_state(state)
    HydraConfig.instance().set_config(config)
    job = run_job(
        hydra_context=hydra_context,
        task_function=task_function,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    if raised := get_job_error(job):  # a pickled exception has no traceback
        text = "".join(traceback.format_exception(raised)).rstrip()
        sys.stderr.write(f"{text}\n")
        raised.add_note(f"Traceback of the job:\n{textwrap.indent(text, '  ')}")
    return _pickle_job_return(job)


def _pickle_job_return(job: JobReturn) -> bytes:
    """Returns a pickled `JobReturn`.

    A return value that cannot be pickled or unpickled is dropped; such an exception is replaced by a TrialError with
    its message.
    """
    try:
        pickled: bytes = cloudpickle.dumps(job)
        cloudpickle.loads(pickled)  # some classes can be pickled but not unpickled
    except Exception as error:  # noqa: BLE001 - a user's class may raise anything; the job itself has ended
        if failure := describe_failure(job):
            job.return_value = TrialError(failure)
        else:
            _log.warning("the return value of the task cannot be pickled and is dropped: %s", error)
            job.return_value = None
        pickled = cloudpickle.dumps(job)
    return pickled

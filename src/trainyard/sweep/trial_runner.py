"""Starts the trials of a sweep: in a pool of this machine or of a Ray cluster, or through another launcher of Hydra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cloudpickle
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from trainyard.config import BASIC_LAUNCHER, FORK_LAUNCHER, build_hydra_context
from trainyard.evaluation import Trial
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.launch.devices import RAY_LAUNCHER
from trainyard.sweep.launch.hydra_launcher import describe_failure
from trainyard.sweep.launch.process_pool import Job, JobExit, Message
from trainyard.sweep.launch.ray_pool import JobPool, open_pool
from trainyard.sweep.plan import SweepPlan
from trainyard.sweep.space import NOT_DRAWN
from trainyard.sweep.trial_task import TrialTask, build_trial_tree

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader

_DRAWN_BATCH_SIZE = 8
"""Default number of trials in a batch of a search, for launchers that run batches."""


class PoolRunner:
    """Runs each trial as a job of a pool. The job has the number of the trial."""

    def __init__(self, pool: JobPool, task: TrialTask, folder: SweepFolder, limit_seconds: float | None) -> None:
        self._pool = pool
        self._task = task
        self._folder = folder
        self._threads = folder.threads
        self._limit_seconds = limit_seconds
        self.poll = pool.poll

    @property
    def has_free_slot(self) -> bool:
        """Whether a trial can be started now."""
        return self._pool.has_free_slot

    def __len__(self) -> int:
        return len(self._pool)

    def start(self, trial: Trial, folder: Path) -> None:
        """Starts a trial in a new run folder."""
        work = cloudpickle.dumps(partial(self._task.run_planned, trial, folder, self._threads))
        self._pool.submit(Job(trial.number, work, self._folder.get_log_file(trial.number), self._limit_seconds))


class LauncherRunner:
    """Runs batches of trials with a launcher of Hydra: `poll` runs the trials that were started since the last call.

    The return values of the jobs are discarded: the configs of ten thousand trials would take a gigabyte.
    """

    def __init__(self, launcher: Launcher, batch_size: int | None) -> None:
        self._launcher = launcher
        self._batch_size = batch_size
        self._batch: list[Trial] = []

    @property
    def has_free_slot(self) -> bool:
        """Whether the next batch is not full."""
        return len(self._batch) != self._batch_size

    def __len__(self) -> int:
        return len(self._batch)

    def start(self, trial: Trial, folder: Path) -> None:  # noqa: ARG002 - the loader determines the same folder
        """Adds a trial to the next batch."""
        self._batch.append(trial)

    def poll(self) -> list[Message | JobExit]:
        """Runs the batch, and returns how its trials ended."""
        batch, self._batch = self._batch, []
        returns = self._launcher.launch([trial.overrides for trial in batch], initial_job_idx=batch[0].number - 1)
        failures = [describe_failure(job) for job in returns]
        return [JobExit(trial.number, None, failure) for trial, failure in zip(batch, failures, strict=True)]


TrialRunner = PoolRunner | LauncherRunner


@contextmanager
def open_trial_runner(plan: SweepPlan, folder: SweepFolder, task: TrialTask) -> Iterator[TrialRunner]:
    """Yields a runner that uses the launcher of the sweep. On exit it ends all trials.

    With Ray, raises ConfigError if Ray is not installed, a setting is out of range, or no node has enough resources for
    a trial, and TrainyardError if the cluster cannot be reached.
    """
    launcher = plan.hydra_section.launcher
    if launcher._target_ in (FORK_LAUNCHER, RAY_LAUNCHER):
        with open_pool(launcher, lock_file=folder.trials_lock_file) as pool:
            yield PoolRunner(pool, task, folder, launcher.time_limit_seconds)
    else:
        yield _open_launcher(plan, folder, task)


def _open_launcher(plan: SweepPlan, folder: SweepFolder, task: TrialTask) -> LauncherRunner:
    """Returns a runner that uses a launcher which is not Trainyard's, such as submitit's."""
    config = build_trial_tree(plan.trials[0], folder.threads)  # the section refers to it, for example to its name
    with open_dict(config):
        config.hydra = plan.hydra_section.copy()
    OmegaConf.set_readonly(config.hydra, False)
    with open_dict(config.hydra):
        config.hydra.mode = RunMode.MULTIRUN
        config.hydra.sweep.dir = str(folder.path)
    context = build_hydra_context(cast("ConfigLoader", FrozenConfigLoader(folder)))
    launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
    is_sequential = plan.hydra_section.launcher._target_ == BASIC_LAUNCHER
    default_size = _DRAWN_BATCH_SIZE if plan.space else None
    batch_size = 1 if is_sequential else plan.hydra_section.sweeper.get("max_batch_size") or default_size
    return LauncherRunner(launcher, batch_size)


class FrozenConfigLoader:
    """Provides the planned configs to Hydra's launchers, so that later edits of config files do not affect a sweep.

    Launchers request the config of each job by its overrides; some do so in another process. The configs are read from
    the plan in the folder of the sweep.
    """

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = SweepFolder(folder.path)  # without its ledger, because launchers pickle this object
        self._trials: dict[tuple[str, ...], Trial] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Excludes the trials from pickling; the other process reads them from the plan when it needs them."""
        return {**self.__dict__, "_trials": {}}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Returns the planned config of the trial with these overrides, with the section `hydra` added."""
        if tuple(sweep_overrides) not in self._trials:
            self._trials = {trial.overrides: trial for trial in self._folder.read_trials() if trial.label != NOT_DRAWN}
        trial = self._trials[tuple(sweep_overrides)]
        tree = build_trial_tree(trial, self._folder.threads)
        with open_dict(tree):
            tree.hydra = master_config.hydra.copy()
        hydra = tree.hydra
        with open_dict(hydra):
            hydra.overrides.task = list(sweep_overrides)
            hydra.job.override_dirname = ",".join(sweep_overrides)
            hydra.job.name = trial.label
            hydra.job.num = trial.number - 1
            hydra.job.id = f"{trial.number}"
            hydra.sweep.subdir = str(self._folder.find_next_attempt_folder(trial.number).relative_to(self._folder.path))
        return tree

"""Registers the launcher ``hydra/launcher=fork`` in Hydra: each job runs in a separate process on this machine.

Every Hydra program in the environment imports this module. It therefore imports Trainyard only when it is used.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, List, Optional  # noqa: UP035 - required by OmegaConf

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class ForkLauncherConf:
    """The config fields in ``hydra.launcher``."""

    _target_: str = "hydra_plugins.trainyard_fork_launcher.ForkLauncher"
    n_jobs: Optional[int] = None  # noqa: UP045
    """Number of jobs that run at the same time. `null` uses one per GPU, or one per CPU core if there is no GPU."""
    time_limit_seconds: Optional[float] = None  # noqa: UP045
    """Maximum duration of a job in seconds. `null` sets no limit."""
    preload: Optional[List[str]] = None  # noqa: UP006, UP045
    """Modules that are imported once, before the first job. `null` imports none; the trials of Trainyard's own sweeps
    import the modules that a training needs."""


ConfigStore.instance().store(group="hydra/launcher", name="fork", node=ForkLauncherConf, provider="trainyard")


class ForkLauncher(Launcher):
    """Runs each job in a separate process on this machine."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - the fields of ForkLauncherConf
        self._settings = ForkLauncherConf(**settings)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Stores the arguments that Hydra passes."""
        self._hydra_arguments = (hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs a batch of jobs. See `trainyard.sweep.launch.hydra_launcher.run_batch`."""
        from trainyard.sweep import ProcessPool, allocate_slots, run_batch

        slots = allocate_slots(self._settings.n_jobs, os.environ)
        pool = ProcessPool(slots, preload=self._settings.preload or ())
        return run_batch(pool, self._hydra_arguments, job_overrides, initial_job_idx)

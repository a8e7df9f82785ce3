"""Through this file Hydra finds the launcher ``hydra/launcher=fork``; what it does stands in trainyard.sweep.launcher.

Every Hydra program in the environment imports it, so it imports nothing of Trainyard until it is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import List, Optional  # noqa: UP035 - what OmegaConf reads

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class ForkLauncherConf:
    """The fields of ``hydra.launcher``."""

    _target_: str = "hydra_plugins.trainyard_fork_launcher.ForkLauncher"
    n_jobs: Optional[int] = None  # noqa: UP045
    """How many jobs run side by side; null: one per GPU, or per core where there is no GPU."""
    time_limit_seconds: Optional[float] = None  # noqa: UP045
    """How long a job may take; null: as long as it likes."""
    preload: Optional[List[str]] = None  # noqa: UP006, UP045
    """Modules that are imported once, before the first job; null: Trainyard's own, for its own runs."""


ConfigStore.instance().store(group="hydra/launcher", name="fork", node=ForkLauncherConf, provider="trainyard")


class ForkLauncher(Launcher):
    """Runs each job in a process of its own."""

    def __init__(
        self, n_jobs: int | None = None, time_limit_seconds: float | None = None, preload: Sequence[str] | None = None
    ) -> None:
        self._n_jobs = n_jobs
        self._time_limit_seconds = time_limit_seconds
        self._preload = preload

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what Hydra hands over."""
        self._hydra_context = hydra_context
        self._task_function = task_function
        self._config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs a batch of jobs; see `trainyard.sweep.launcher.launch_jobs`."""
        from trainyard.sweep.launcher import launch_jobs

        return launch_jobs(
            self._hydra_context,
            self._task_function,
            self._config,
            job_overrides,
            initial_job_idx,
            n_jobs=self._n_jobs,
            time_limit_seconds=self._time_limit_seconds,
            preload=self._preload,
        )

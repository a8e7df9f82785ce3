"""Registers the launcher ``hydra/launcher=fork`` in Hydra. It is implemented in `trainyard.sweep.launch.launcher`.

Every Hydra program in the environment imports this module. It therefore imports Trainyard only when it is used.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, List, Optional  # noqa: UP035 - required by OmegaConf

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from trainyard.sweep import JobRunner


@dataclass
class ForkLauncherConf:
    """The config fields in ``hydra.launcher``."""

    _target_: str = "hydra_plugins.trainyard_fork_launcher.ForkLauncher"
    n_jobs: Optional[int] = None  # noqa: UP045
    """Number of jobs that run at the same time. `null` uses one per GPU, or one per CPU core if there is no GPU."""
    time_limit_seconds: Optional[float] = None  # noqa: UP045
    """Maximum duration of a job in seconds. `null` sets no limit."""
    preload: Optional[List[str]] = None  # noqa: UP006, UP045
    """Modules that are imported once, before the first job. `null` uses those that Trainyard's own jobs need."""


ConfigStore.instance().store(group="hydra/launcher", name="fork", node=ForkLauncherConf, provider="trainyard")


class ForkLauncher(Launcher):
    """Runs each job in a separate process on this machine."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - the fields of ForkLauncherConf
        self._settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Stores the arguments that Hydra passes."""
        self._hydra_arguments = (hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs a batch of jobs. See `trainyard.sweep.launch.launcher.run_batch`."""
        from trainyard.sweep import run_batch

        return run_batch(self.open(), job_overrides, initial_job_idx)

    def open(self, lock_file: Path | None = None) -> "AbstractContextManager[JobRunner]":
        """Returns a runner that accepts one job at a time. See `trainyard.sweep.launch.launcher.open_jobs`."""
        from trainyard.sweep import ForkSettings, Multirun, open_jobs

        return open_jobs(Multirun(*self._hydra_arguments), ForkSettings(**self._settings), lock_file)

"""Through this file Hydra finds the launcher ``hydra/launcher=fork``; what it does stands in trainyard.sweep.launch.launcher.

Every Hydra program in the environment imports it, so it imports nothing of Trainyard until it is used.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, List, Optional  # noqa: UP035 - what OmegaConf reads

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from trainyard.sweep.launch.launcher import Jobs


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

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - the fields of ForkLauncherConf
        self._settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what Hydra hands over."""
        self._given = (hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs a batch of jobs; see `trainyard.sweep.launch.launcher.run_batch`."""
        from trainyard.sweep.launch.launcher import run_batch

        return run_batch(self.open(), job_overrides, initial_job_idx)

    def open(self, held: Path | None = None) -> "AbstractContextManager[Jobs]":
        """Returns what takes one job at a time; see `trainyard.sweep.launch.launcher.open_jobs`."""
        from trainyard.sweep.launch.launcher import ForkSettings, Multirun, open_jobs

        return open_jobs(Multirun(*self._given), ForkSettings(**self._settings), held)

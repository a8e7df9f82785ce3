"""Through this file Hydra finds the launcher ``hydra/launcher=ray``; what it does stands in trainyard.sweep.launch.ray_pool.

Every Hydra program in the environment imports it, so it imports nothing of Trainyard, nor of Ray, until it is used.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional  # noqa: UP035 - what OmegaConf reads

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from trainyard.sweep.launch.launcher import Jobs


@dataclass
class RayLauncherConf:
    """The fields of ``hydra.launcher``."""

    _target_: str = "hydra_plugins.trainyard_ray_launcher.RayLauncher"
    address: Optional[str] = None  # noqa: UP045
    """Of the cluster, host:port, or auto for the one of this machine; null: RAY_ADDRESS, or this machine alone."""
    num_cpus: float = 1
    """Cores that each job takes."""
    num_gpus: float = 0
    """GPUs that each job takes; a share of one is fine."""
    resources: Dict[str, float] = field(default_factory=dict)  # noqa: UP006
    """What else each job takes, as nodes were started with."""
    n_jobs: Optional[int] = None  # noqa: UP045
    """How many jobs run side by side at most; null: as many as the nodes have room for."""
    time_limit_seconds: Optional[float] = None  # noqa: UP045
    """How long a job may take, from when it is handed to the cluster; null: as long as it likes."""


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConf, provider="trainyard")


class RayLauncher(Launcher):
    """Runs each job as a task of a Ray cluster."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - the fields of RayLauncherConf
        self._settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what Hydra hands over."""
        self._given = (hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs a batch of jobs; see `trainyard.sweep.launch.launcher.run_batch`."""
        from trainyard.sweep.launch.launcher import run_batch

        return run_batch(self.open(), job_overrides, initial_job_idx)

    def open(self, held: Path | None = None) -> "AbstractContextManager[Jobs]":
        """Returns what takes one job at a time; see `trainyard.sweep.launch.launcher.open_ray_jobs`."""
        from trainyard.sweep.launch.launcher import Multirun, open_ray_jobs
        from trainyard.sweep.launch.ray_pool import RaySettings

        return open_ray_jobs(Multirun(*self._given), RaySettings(**self._settings), held)

"""Registers the launcher ``hydra/launcher=ray`` in Hydra: each job runs as a task on a Ray cluster.

Every Hydra program in the environment imports this module. It therefore imports Trainyard and Ray only when it is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Dict, Optional  # noqa: UP035 - required by OmegaConf

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class RayLauncherConf:
    """The config fields in ``hydra.launcher``."""

    _target_: str = "hydra_plugins.trainyard_ray_launcher.RayLauncher"
    address: Optional[str] = None  # noqa: UP045
    """Address of the Ray cluster as ``host:port``, or ``auto`` for the cluster of this machine. `null` uses
    ``RAY_ADDRESS``, or starts Ray on this machine only."""
    num_cpus: float = 1
    """Number of CPU cores per job."""
    num_gpus: float = 0
    """Number of GPUs per job. Can be a fraction."""
    resources: Dict[str, float] = field(default_factory=dict)  # noqa: UP006
    """Custom Ray resources per job, by name. Nodes declare them when they are started."""
    n_jobs: Optional[int] = None  # noqa: UP045
    """Maximum number of jobs that run at the same time. `null` uses the capacity of the nodes."""
    time_limit_seconds: Optional[float] = None  # noqa: UP045
    """Maximum duration of a job in seconds, from its submission to the cluster. `null` sets no limit."""


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConf, provider="trainyard")


class RayLauncher(Launcher):
    """Runs each job as a task on a Ray cluster."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - the fields of RayLauncherConf
        self._settings = RayLauncherConf(**settings)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Stores the arguments that Hydra passes."""
        self._hydra_arguments = (hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs a batch of jobs. See `trainyard.sweep.launch.hydra_launcher.run_batch`."""
        from trainyard.sweep import open_ray_pool, run_batch

        return run_batch(open_ray_pool(self._settings), self._hydra_arguments, job_overrides, initial_job_idx)

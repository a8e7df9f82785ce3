"""Registers ``hydra/launcher=fork``, ``hydra/launcher=ray`` and ``hydra/sweeper=trainyard`` in Hydra.

Every Hydra program in the environment imports this module. It therefore imports Trainyard only when it is used.
``trainyard sweep`` and ``trainyard train --multirun`` plan and run their trials themselves, so Hydra uses these classes
only in other programs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional  # noqa: UP035 - required by OmegaConf

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class ForkLauncherConf:
    """The config fields in ``hydra.launcher`` of the launcher ``fork``."""

    _target_: str = "hydra_plugins.trainyard_plugins.ForkLauncher"
    n_jobs: Optional[int] = None  # noqa: UP045
    """Number of jobs that run at the same time. `null` uses one per GPU, or one per CPU core if there is no GPU."""
    time_limit_seconds: Optional[float] = None  # noqa: UP045
    """Maximum duration of a job in seconds. `null` sets no limit."""
    preload: Optional[List[str]] = None  # noqa: UP006, UP045
    """Modules that are imported once, before the first job. `null` imports none; the trials of Trainyard's own sweeps
    import the modules that a training needs."""


@dataclass
class RayLauncherConf:
    """The config fields in ``hydra.launcher`` of the launcher ``ray``."""

    _target_: str = "hydra_plugins.trainyard_plugins.RayLauncher"
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


@dataclass
class TrainyardSweeperConf:
    """The config fields in ``hydra.sweeper``."""

    _target_: str = "hydra_plugins.trainyard_plugins.TrainyardSweeper"
    max_batch_size: Optional[int] = None  # noqa: UP045
    """Maximum number of jobs per batch, for launchers that run batches. `null` uses one batch for all jobs."""
    params: Optional[Dict[str, str]] = field(default_factory=dict)  # noqa: UP006, UP045 - values cannot be merged into null
    """Parameters to vary that are not in the overrides: a mapping of keys to values in Hydra's sweep syntax."""


for _group, _name, _node in (
    ("hydra/launcher", "fork", ForkLauncherConf),
    ("hydra/launcher", "ray", RayLauncherConf),
    ("hydra/sweeper", "trainyard", TrainyardSweeperConf),
):
    ConfigStore.instance().store(group=_group, name=_name, node=_node, provider="trainyard")


class PoolLauncher(Launcher):
    """Runs each job in a separate process."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - the fields of the config
        """Ignores the settings: they are read from the config that `setup` receives."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Stores the arguments that Hydra passes."""
        self._hydra_arguments = (hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs a batch of jobs. See `trainyard.sweep.launch.hydra_launcher.run_batch`."""
        from trainyard.sweep import run_batch

        return run_batch(self._hydra_arguments, job_overrides, initial_job_idx)


class ForkLauncher(PoolLauncher):
    """Runs each job in a separate process on this machine."""


class RayLauncher(PoolLauncher):
    """Runs each job as a task on a Ray cluster."""


class TrainyardSweeper(Sweeper):
    """Runs all combinations of the swept values, as Hydra's own sweeper does."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - the fields of TrainyardSweeperConf
        from trainyard.config import build_basic_sweeper

        self._basic = build_basic_sweeper(**settings)

    def setup(self, **arguments: Any) -> None:  # noqa: ANN401 - the arguments of Hydra
        """Stores the arguments that Hydra passes, and creates the launcher."""
        self._basic.setup(**arguments)

    def sweep(self, arguments: List[str]) -> Any:  # noqa: ANN401, UP006 - the signature of Hydra
        """Runs all jobs of the sweep, and returns a list of results per batch."""
        return self._basic.sweep(arguments)

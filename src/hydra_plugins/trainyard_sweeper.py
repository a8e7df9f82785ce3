"""Registers the sweeper ``hydra/sweeper=trainyard`` in Hydra. It is implemented in `trainyard.sweep.scheduler`.

Every Hydra program in the environment imports this module. It therefore imports Trainyard only when it is used. For
other programs, it is identical to Hydra's basic sweeper.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional  # noqa: UP035 - required by OmegaConf

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class TrainyardSweeperConf:
    """The config fields in ``hydra.sweeper``."""

    _target_: str = "hydra_plugins.trainyard_sweeper.TrainyardSweeper"
    max_batch_size: Optional[int] = None  # noqa: UP045
    """Maximum number of jobs per batch, for launchers that run batches. `null` uses one batch for all jobs."""
    params: Optional[Dict[str, str]] = field(default_factory=dict)  # noqa: UP006, UP045 - values cannot be merged into null
    """Parameters to vary that are not in the overrides: a mapping of keys to values in Hydra's sweep syntax."""


ConfigStore.instance().store(group="hydra/sweeper", name="trainyard", node=TrainyardSweeperConf, provider="trainyard")


class TrainyardSweeper(Sweeper):
    """Runs a sweep that Trainyard has planned. For other tasks, runs all combinations of the swept values."""

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        self._max_batch_size, self._params = max_batch_size, params
        self._basic: Any = None
        self._planned: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Stores the arguments that Hydra passes, and creates the launcher."""
        from trainyard.config import build_basic_sweeper

        if type(task_function).__module__.startswith("trainyard."):
            from trainyard.sweep import SweepScheduler

            if isinstance(task_function, SweepScheduler):
                self._planned = task_function
                loader = task_function.build_loader(hydra_context.config_loader)
                hydra_context = HydraContext(config_loader=loader, callbacks=hydra_context.callbacks)
                task_function = task_function.task_function
        self._basic = build_basic_sweeper(self._max_batch_size, self._params)
        self._basic.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: List[str]) -> Any:  # noqa: ANN401, UP006 - the signature of Hydra
        """Runs all jobs of the sweep."""
        if self._planned is not None:
            self._planned.run(self._basic.launcher, self._max_batch_size)
            return []
        return self._basic.sweep(arguments)

"""Through this file Hydra finds the sweeper ``hydra/sweeper=trainyard``; what it does is in trainyard.sweep.scheduler.

Every Hydra program in the environment imports it, so it imports nothing of Trainyard until it is used. For a task that
is not Trainyard's own it is Hydra's grid, with its `params` and `max_batch_size`.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional  # noqa: UP035 - what OmegaConf reads

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class TrainyardSweeperConf:
    """The fields of ``hydra.sweeper``."""

    _target_: str = "hydra_plugins.trainyard_sweeper.TrainyardSweeper"
    max_batch_size: Optional[int] = None  # noqa: UP045
    """How many jobs a launcher is handed at once that takes batches; null: all."""
    params: Optional[Dict[str, str]] = field(default_factory=dict)  # noqa: UP006, UP045 - null could not be merged into
    """What is swept, where overrides don't say it: keys to what stands behind their ``=``."""


ConfigStore.instance().store(group="hydra/sweeper", name="trainyard", node=TrainyardSweeperConf, provider="trainyard")


class TrainyardSweeper(BasicSweeper):
    """Carries out a sweep that Trainyard planned; of any other task, every combination."""

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size, params)
        self._planned: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what Hydra hands over, and has the launcher made."""
        if type(task_function).__module__.startswith("trainyard."):
            from trainyard.sweep.scheduler import PlannedSweep

            if isinstance(task_function, PlannedSweep):
                self._planned = task_function
                loader = task_function.freeze(hydra_context.config_loader)
                hydra_context = HydraContext(config_loader=loader, callbacks=hydra_context.callbacks)
                task_function = task_function.work
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: List[str]) -> Any:  # noqa: ANN401, UP006 - as Hydra declares it
        """Runs all jobs."""
        if self._planned is not None:
            self._planned.conduct(self.launcher, self.max_batch_size)
            return []
        return super().sweep(arguments)

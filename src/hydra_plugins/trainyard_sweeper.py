"""Registers the sweeper ``hydra/sweeper=trainyard`` in Hydra: it runs all combinations of the swept values.

``trainyard sweep`` and ``trainyard train --multirun`` plan and run their trials themselves, so Hydra uses this class
only in other programs, all of which import this module. It therefore imports Trainyard only when it is used.
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
    """Runs all combinations of the swept values, as Hydra's own sweeper does."""

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        from trainyard.config import build_basic_sweeper

        self._basic = build_basic_sweeper(max_batch_size, params)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Stores the arguments that Hydra passes, and creates the launcher."""
        self._basic.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: List[str]) -> Any:  # noqa: ANN401, UP006 - the signature of Hydra
        """Runs all jobs of the sweep, and returns a list of results per batch."""
        return self._basic.sweep(arguments)

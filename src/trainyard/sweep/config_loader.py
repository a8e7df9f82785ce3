"""Hands Hydra the planned configs in the place of composed ones, so that what is edited meanwhile changes nothing.

Hydra's launchers ask a loader for the config of each job, by its overrides, some of them in another process. This is
such a loader: what it knows of a sweep's trials it reads from the plan in the sweep's folder.
"""

from __future__ import annotations

from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from trainyard.config.compose import from_tree
from trainyard.config.registry import load_plugins
from trainyard.evaluation.trials import Trial
from trainyard.sweep.folder import SweepFolder


class FrozenLoader(ConfigLoader):
    """Loads the configs of planned trials; all else is left to Hydra's loader."""

    def __init__(self, loader: ConfigLoader, folder: SweepFolder) -> None:
        self._loader = loader
        self._folder = folder
        self._trials: dict[tuple[str, ...], Trial] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Travels without the trials, which are read where they are asked for."""
        return {**self.__dict__, "_trials": {}}

    def take_in(self, trial: Trial) -> None:
        """Takes in a trial that was drawn just now."""
        self._trials[trial.overrides] = trial

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Returns the config of a trial, with Hydra's section beside it."""
        load_plugins()
        if tuple(sweep_overrides) not in self._trials:
            self._trials = {trial.overrides: trial for trial in self._folder.read_trials()}
        trial = self._trials[tuple(sweep_overrides)]
        tree = from_tree(trial.config, f"trial {trial.number}")
        if tree.training.threads is None:
            tree.training.threads = self._folder.threads
        with open_dict(tree):
            tree.hydra = master_config.hydra.copy()
        hydra = tree.hydra
        with open_dict(hydra):
            hydra.overrides.task = list(sweep_overrides)
            hydra.job.override_dirname = ",".join(sweep_overrides)
            hydra.job.name = trial.label
            hydra.job.num = trial.number - 1
            hydra.job.id = f"{trial.number}"
            hydra.sweep.dir = str(self._folder.path)
            hydra.sweep.subdir = str(self._folder.next_attempt(trial.number).relative_to(self._folder.path))
        return tree

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Leaves it to Hydra's loader, as all that follows."""
        return self._loader.load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)

    def get_search_path(self) -> Any:  # noqa: ANN401, D102
        return self._loader.get_search_path()

    def get_sources(self) -> Any:  # noqa: ANN401, D102
        return self._loader.get_sources()

    def list_groups(self, parent_name: str) -> list[str]:  # noqa: D102
        return self._loader.list_groups(parent_name)

    def get_group_options(self, *arguments: Any, **named: Any) -> list[str]:  # noqa: ANN401, D102
        return self._loader.get_group_options(*arguments, **named)

    def compute_defaults_list(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401, D102
        return self._loader.compute_defaults_list(*arguments, **named)

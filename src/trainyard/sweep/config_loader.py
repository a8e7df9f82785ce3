"""Provides the planned configs to Hydra's launchers, so that later edits of config files do not affect a sweep.

Hydra's launchers request the config of each job from a config loader, by its overrides; some do so in another process.
This loader returns the configs from the plan in the folder of the sweep.
"""

from __future__ import annotations

from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from trainyard.config import build_tree, load_plugins
from trainyard.evaluation import Trial
from trainyard.sweep.folder import SweepFolder


class FrozenConfigLoader(ConfigLoader):
    """Returns the planned configs of trials. All other requests are passed to Hydra's loader."""

    def __init__(self, loader: ConfigLoader, folder: SweepFolder) -> None:
        self._loader = loader
        self._folder = folder
        self._trials: dict[tuple[str, ...], Trial] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Excludes the trials from pickling; the other process reads them from the plan when it needs them."""
        return {**self.__dict__, "_trials": {}}

    def add_trial(self, trial: Trial) -> None:
        """Adds a trial that was drawn after the plan was read."""
        self._trials[trial.overrides] = trial

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Returns the planned config of the trial with these overrides, with the section `hydra` added.

        Sets `training.threads` to the default of the sweep if the trial does not set it.
        """
        load_plugins()
        if tuple(sweep_overrides) not in self._trials:
            self._trials = {trial.overrides: trial for trial in self._folder.read_trials()}
        trial = self._trials[tuple(sweep_overrides)]
        tree = build_tree(trial.config, f"trial {trial.number}")
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
            hydra.sweep.subdir = str(self._folder.find_next_attempt_folder(trial.number).relative_to(self._folder.path))
        return tree

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Returns Hydra's config for these overrides, without using the plan.

        Only `load_sweep_config` returns planned configs.
        """
        return self._loader.load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)

    def get_search_path(self) -> Any:  # noqa: ANN401
        """Returns the folders in which Hydra searches for configs."""
        return self._loader.get_search_path()

    def get_sources(self) -> Any:  # noqa: ANN401
        """Returns the config sources of the search path."""
        return self._loader.get_sources()

    def list_groups(self, parent_name: str) -> list[str]:
        """Returns the config groups below a parent group."""
        return self._loader.list_groups(parent_name)

    def get_group_options(self, *arguments: Any, **named: Any) -> list[str]:  # noqa: ANN401
        """Returns the options of a config group."""
        return self._loader.get_group_options(*arguments, **named)

    def compute_defaults_list(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        """Returns the resolved defaults list of a config."""
        return self._loader.compute_defaults_list(*arguments, **named)

"""The search path of configs: --config-dir, ./conf in the working directory, and the configs shipped with Trainyard."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from trainyard.config.hydra_adapter import remove_stored_config, store_config
from trainyard.config.registry import get_registered_components, load_plugins
from trainyard.config.schema import COMPONENT_GROUPS, RunConfig


def find_shipped_config_folder() -> Path:
    """Returns the folder of the configs shipped with Trainyard: in the installed package, else in the checkout."""
    installed = Path(__file__).parents[1] / "conf"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "conf"


def list_config_folders(config_dir: Path | None = None) -> list[Path]:
    """Returns the folders in which configs are searched, in this order: `config_dir`, ./conf, the shipped configs."""
    folders = [*([config_dir] if config_dir else []), Path.cwd() / "conf", find_shipped_config_folder()]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def list_choices(group: str, config_dir: Path | None = None) -> list[str]:
    """Returns the choices of a config group, sorted: names of YAML files and of registered components."""
    files = {path.stem for folder in list_config_folders(config_dir) for path in (folder / group).glob("*.yaml")}
    return sorted(files | set(get_registered_components(group)))


def list_groups(config_dir: Path | None = None) -> list[str]:
    """Returns the config groups in the order of the schema, followed by groups that are not in it (``experiment``)."""
    folders = {folder.name for conf in list_config_folders(config_dir) for folder in conf.iterdir() if folder.is_dir()}
    groups = folders | set(COMPONENT_GROUPS)
    sections = [spec.name for spec in dataclasses.fields(RunConfig) if spec.name in groups]
    return [*sections, *sorted(groups - set(sections))]


class _UserFolders(SearchPathPlugin):
    """Adds the user's config folders before the shipped configs. Registered only when Trainyard composes a config."""

    folders: ClassVar[list[Path]] = []

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Prepends the user's folders to Hydra's search path. Hydra calls this method."""
        for folder in reversed(self.folders):
            search_path.prepend(provider="trainyard-own", path=folder.absolute().as_uri(), anchor="main")


def prepare_hydra(config_dir: Path | None = None) -> None:
    """Loads plugins, and registers the config folders of the user and all components without a YAML file in Hydra.

    A component that an earlier call registered is removed if it has a YAML file now.
    """
    load_plugins()
    _UserFolders.folders = [
        folder for folder in list_config_folders(config_dir) if folder != find_shipped_config_folder()
    ]
    Plugins.instance().register(_UserFolders)
    for group in COMPONENT_GROUPS:
        files = {path.stem for folder in list_config_folders(config_dir) for path in (folder / group).glob("*.yaml")}
        for name, component in get_registered_components(group).items():
            if name in files:
                remove_stored_config(group, name)
            else:
                store_config(group, name, component)

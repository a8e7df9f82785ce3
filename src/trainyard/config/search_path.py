"""Where configs are found: ./conf of the working directory, the configs that Trainyard ships, and --config-dir."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from trainyard.config.registry import components, load_plugins
from trainyard.config.schema import COMPONENT_GROUPS, RunConfig


def shipped_conf() -> Path:
    """Returns the folder of the configs that come with Trainyard: inside the wheel, else in the checkout."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "conf"


def conf_folders(config_dir: Path | None = None) -> list[Path]:
    """Returns the folders where configs are looked up, first to last: the one named, ./conf, the shipped ones."""
    folders = [*([config_dir] if config_dir else []), Path.cwd() / "conf", shipped_conf()]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def choices(group: str, config_dir: Path | None = None) -> list[str]:
    """Returns what can be chosen in a group, sorted: YAML files and registered components."""
    files = {path.stem for folder in conf_folders(config_dir) for path in (folder / group).glob("*.yaml")}
    return sorted(files | set(components(group)))


def groups(config_dir: Path | None = None) -> list[str]:
    """Returns the config groups, in the order of the schema, the experiments last."""
    folders = {folder.name for conf in conf_folders(config_dir) for folder in conf.iterdir() if folder.is_dir()}
    known = [spec.name for spec in dataclasses.fields(RunConfig)]
    return sorted(
        folders | set(COMPONENT_GROUPS),
        key=lambda group: (known.index(group) if group in known else len(known), group),
    )


class _OwnFolders(SearchPathPlugin):
    """Puts the user's folders in front of the shipped configs. Registered only when we compose, for our process."""

    folders: ClassVar[list[Path]] = []

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in reversed(self.folders):
            search_path.prepend(provider="trainyard-own", path=folder.absolute().as_uri(), anchor="main")


def prepare_hydra(config_dir: Path | None = None) -> None:
    """Loads plugins, and makes the user's folders and every component without a YAML file known to Hydra.

    Raises:
        ConfigError: If a plugin can't be imported.
    """
    load_plugins()
    _OwnFolders.folders = [folder for folder in conf_folders(config_dir) if folder != shipped_conf()]
    Plugins.instance().register(_OwnFolders)
    store = ConfigStore.instance()
    for group in COMPONENT_GROUPS:
        files = {path.stem for folder in conf_folders(config_dir) for path in (folder / group).glob("*.yaml")}
        for name, component in components(group).items():
            stored = store.repo.get(group, {}).get(f"{name}.yaml")
            if name in files:  # stored under the same name as a YAML file, it would be taken for that file's schema
                store.repo[group].pop(f"{name}.yaml", None)
            elif stored is None or OmegaConf.get_type(stored.node) is not component:
                store.store(group=group, name=name, node=component(), provider="trainyard")

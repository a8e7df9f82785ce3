"""Composes the configs of many trials quickly: once with Hydra per combination of config groups, then by copying.

Hydra needs 45 ms to compose a config, and a sweep can have ten thousand trials. Overrides that only set fields are
converted and type-checked by OmegaConf, once per value, and then set in copies of the composed config.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from trainyard.config import (
    PRIMARY_CONFIG,
    RunConfig,
    build_unchecked_config,
    compose_trees,
    forbid_code_execution,
    translate_hydra_errors,
)
from trainyard.errors import ConfigError
from trainyard.sweep.grid import AxisSetting, Point

_ABSENT = object()


class Composer:
    """Composes the configs of points. It does not validate them."""

    def __init__(self, config_name: str | None = None, config_dir: Path | None = None) -> None:
        self._config_name = config_name or PRIMARY_CONFIG
        self._config_dir = config_dir
        self._bases: dict[tuple[str, ...], BaseConfig] = {}

    def build_config(self, point: Point) -> RunConfig:
        """Returns the config of a point. Raises ConfigError, with one line per problem, if a setting is invalid."""
        return self.get_base(point).build_config([setting for setting in point if not setting.structural])

    def get_base(self, point: Point) -> BaseConfig:
        """Returns the config composed from only the structural settings of a point. Rejects those that execute code."""
        key = tuple(setting.text for setting in point if setting.structural)
        if key not in self._bases:
            tree, hydra_section = compose_trees(key, config_name=self._config_name, config_dir=self._config_dir)
            forbid_code_execution(hydra_section, key)
            self._bases[key] = BaseConfig(tree, hydra_section)
        return self._bases[key]


class BaseConfig:
    """A composed config from which other configs are built by setting fields."""

    def __init__(self, tree: DictConfig, hydra_section: DictConfig) -> None:
        self.hydra_section = hydra_section
        self._tree = tree
        self._scratch = tree.copy()
        self._converted: dict[str, Any] = {}
        self._sections: dict[tuple[str, ...], Any] = {}
        self._config: RunConfig | None = None
        self._container = OmegaConf.to_container(tree, resolve=False)
        if "${" not in json.dumps(self._container, default=str):  # without interpolations between fields
            with contextlib.suppress(ConfigError):  # a required field is missing, which the points may set
                self._config = build_unchecked_config(tree)

    def has_path(self, path: str) -> bool:
        """Returns whether a field or section exists at a dotted path, even if its value is missing."""
        node: Any = self._container
        for name in path.split("."):
            if not isinstance(node, dict) or name not in node:
                return False
            node = node[name]
        return True

    def build_config(self, settings: Sequence[AxisSetting]) -> RunConfig:
        """Returns a copy of the config with the given fields set. Copies share their equal sections."""
        values = [self._convert_value(setting) for setting in settings]
        if self._config is None or any(value is _ABSENT for value in values):
            tree = self._tree.copy()
            for setting in settings:
                _set_field(tree, setting)
            return build_unchecked_config(tree)
        changes: dict[str, list[tuple[AxisSetting, Any]]] = {}
        for setting, value in zip(settings, values, strict=True):
            changes.setdefault(setting.key.partition(".")[0], []).append((setting, value))
        return dataclasses.replace(self._config, **{name: self._build_section(name, changes[name]) for name in changes})

    def _build_section(self, name: str, changes: Sequence[tuple[AxisSetting, Any]]) -> Any:  # noqa: ANN401 - any section
        """Returns a section, or a value beside the sections, after some changes; the same object for equal changes."""
        key = tuple(setting.text for setting, _ in changes)
        if key not in self._sections:
            section = getattr(self._config, name)
            for setting, value in changes:
                section = _replace_field(section, setting.key.split(".")[1:], value)
            self._sections[key] = section
        return self._sections[key]

    def _convert_value(self, setting: AxisSetting) -> Any:  # noqa: ANN401 - any value
        """Returns a setting's value in the type of its field, or `_ABSENT` if that needs the whole config."""
        if setting.text not in self._converted:
            _set_field(self._scratch, setting)
            self._converted[setting.text] = self._read_converted_value(setting)
        return self._converted[setting.text]

    def _read_converted_value(self, setting: AxisSetting) -> Any:  # noqa: ANN401 - any value
        """Returns a value of the scratch config as a Python object, or `_ABSENT` if it needs the whole config."""
        owner: Any = self._config
        for name in setting.key.split("."):
            if not dataclasses.is_dataclass(owner) or not hasattr(owner, name):
                return _ABSENT
            owner = getattr(owner, name)
        if dataclasses.is_dataclass(owner) or isinstance(owner, dict) or "${" in setting.text:
            return _ABSENT
        value = OmegaConf.select(self._scratch, setting.key)
        return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value


def _set_field(tree: DictConfig, setting: AxisSetting) -> None:
    """Sets a field of a config tree in place, as Hydra does. OmegaConf checks and converts the value."""
    with translate_hydra_errors():
        OmegaConf.update(tree, setting.key, setting.value, merge=True)


def _replace_field(section: Any, names: list[str], value: Any) -> Any:  # noqa: ANN401 - any section, any value
    """Returns a copy of a config section in which the field at a path has a new value; at an empty path, the value."""
    if not names:
        return value
    name, *nested_names = names
    return dataclasses.replace(section, **{name: _replace_field(getattr(section, name), nested_names, value)})

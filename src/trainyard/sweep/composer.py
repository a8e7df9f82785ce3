"""Configs of many trials in little time: composed once for each combination of groups, then changed value by value.

Hydra takes 45 ms to compose a config, and a sweep may have ten thousand. What only sets fields is checked against
their types by OmegaConf, once for each value, and then put into copies of the config that was composed.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from trainyard.config.compose import PRIMARY, compose_trees, read_tree
from trainyard.config.hydra_errors import in_our_words
from trainyard.config.schema import RunConfig
from trainyard.config.security import refuse_doors
from trainyard.errors import ConfigError
from trainyard.sweep.grid import Point, Setting

_ABSENT = object()


class Composer:
    """Makes configs of points; they are yet to be validated."""

    def __init__(self, config_name: str | None = None, config_dir: Path | None = None) -> None:
        """Takes the primary config, and a further folder with configs."""
        self._config_name = config_name or PRIMARY
        self._config_dir = config_dir
        self._bases: dict[tuple[str, ...], _Base] = {}

    def hydra_section(self, point: Point) -> DictConfig:
        """Returns Hydra's section of the config that a point is made from."""
        return self._base(point).hydra_section

    def has(self, point: Point, path: str) -> bool:
        """Tells whether there is a field or a section at a path in the config that a point is made from."""
        return self._base(point).has(path)

    def make(self, point: Point) -> RunConfig:
        """Returns the config of a point.

        Raises:
            ConfigError: With a line per mistake.
        """
        return self._base(point).make([setting for setting in point if not setting.structural])

    def _base(self, point: Point) -> _Base:
        """Returns the composed config that a point is made from; what only sets fields has no part in it."""
        key = tuple(setting.text for setting in point if setting.structural)
        if key not in self._bases:
            self._bases[key] = self._compose(key)
        return self._bases[key]

    def _compose(self, overrides: Sequence[str]) -> _Base:
        tree, hydra_section = compose_trees(overrides, config_name=self._config_name, config_dir=self._config_dir)
        refuse_doors(hydra_section, overrides)
        return _Base(tree, hydra_section)


class _Base:
    """A composed config, and what is made from it."""

    def __init__(self, tree: DictConfig, hydra_section: DictConfig) -> None:
        self.hydra_section = hydra_section
        self._tree = tree
        self._scratch = tree.copy()
        self._read: dict[str, Any] = {}
        self._config: RunConfig | None = None
        if not _holds_interpolations(tree):
            with contextlib.suppress(ConfigError):  # a field without a default, which the points may set
                self._config = read_tree(tree)

    def has(self, path: str) -> bool:
        """Tells whether there is something at a path, be it without a value."""
        node: Any = self._tree
        for name in path.split("."):
            if not isinstance(node, DictConfig) or name not in node.keys():  # noqa: SIM118 - `in` wants a value
                return False
            node = node._get_node(name)  # noqa: SLF001 - without resolving it
        return True

    def make(self, settings: Sequence[Setting]) -> RunConfig:
        """Returns the config with some fields set."""
        values = [self._convert(setting) for setting in settings]
        if self._config is None or _ABSENT in values:
            tree = self._tree.copy()
            for setting in settings:
                _set(tree, setting)
            return read_tree(tree)
        config = self._config
        for setting, value in zip(settings, values, strict=True):
            config = cast("RunConfig", _replaced(config, setting.key.split("."), value))
        return config

    def _convert(self, setting: Setting) -> Any:  # noqa: ANN401 - any value
        """Returns a setting's value as its field takes it; `_ABSENT` where that can't be told from the field alone."""
        if setting.text not in self._read:
            _set(self._scratch, setting)
            self._read[setting.text] = self._value(setting)
        return self._read[setting.text]

    def _value(self, setting: Setting) -> Any:  # noqa: ANN401 - likewise
        owner: Any = self._config
        for name in setting.key.split("."):
            if not dataclasses.is_dataclass(owner) or not hasattr(owner, name):
                return _ABSENT
            owner = getattr(owner, name)
        if dataclasses.is_dataclass(owner) or isinstance(owner, dict) or "${" in setting.text:
            return _ABSENT
        value = OmegaConf.select(self._scratch, setting.key)
        return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value


def _set(tree: DictConfig, setting: Setting) -> None:
    """Sets a field as Hydra does, which checks and converts the value."""
    with in_our_words():
        OmegaConf.update(tree, setting.key, setting.value, merge=True)


def _replaced(section: Any, names: list[str], value: Any) -> Any:  # noqa: ANN401 - any section, any value
    """Returns a section with one field, at the end of a path, changed; it and its parts are new."""
    name, *rest = names
    return dataclasses.replace(section, **{name: _replaced(getattr(section, name), rest, value) if rest else value})


def _holds_interpolations(tree: DictConfig) -> bool:
    def texts(node: Any) -> Iterator[str]:  # noqa: ANN401 - any part of a config
        parts = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        if isinstance(node, str):
            yield node
        for part in parts:
            yield from texts(part)

    return any("${" in text for text in texts(OmegaConf.to_container(tree, resolve=False)))

"""Saves, loads, hashes and compares resolved configs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from trainyard.config.compose import build_run_config
from trainyard.config.fields import get_rule
from trainyard.config.hydra_errors import translate_hydra_errors
from trainyard.config.registry import find_component, load_plugins
from trainyard.config.schema import COMPONENT_GROUPS, RunConfig
from trainyard.errors import ConfigError

HASHED_SECTIONS = ("dataset", "model", "optimizer", "schedule", "loss", "augmentation", "training", "debug")
"""The sections that affect results and are part of the config hash."""


def config_to_dict(config: RunConfig) -> dict[str, Any]:
    """Returns the config as plain dicts, lists and scalars."""
    return dataclasses.asdict(config)


def dump_config(config: RunConfig) -> str:
    """Returns the resolved config as YAML that `load_config` reads back to an equal config."""
    return yaml.safe_dump(config_to_dict(config), sort_keys=False, allow_unicode=True)


def load_config(path: Path | str) -> RunConfig:
    """Loads the ``config.yaml`` of a run, equal to the saved one. Raises a ConfigError with one line per problem."""
    load_plugins()
    try:
        tree = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected a resolved config in YAML, but it cannot be read: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a resolved config, got {type(tree).__name__}")
    return build_run_config(build_tree(tree, str(path)))


def build_tree(tree: Mapping[str, Any], source: str) -> DictConfig:
    """Converts the result of `config_to_dict` into an OmegaConf tree. `source` is its origin, for messages.

    Raises a ConfigError if the name of a component is missing or unknown, or a value has a wrong type.
    """
    with translate_hydra_errors():
        node = OmegaConf.structured(RunConfig)
        for group in COMPONENT_GROUPS:
            section = tree.get(group)
            if not isinstance(section, dict) or "name" not in section:
                raise ConfigError(f"{source}: {group}.name: expected the name of a component, got {section!r}")
            node[group] = find_component(group, section["name"])()
        return typing.cast("DictConfig", OmegaConf.merge(node, OmegaConf.create(escape_interpolations(tree))))


def hash_config(config: RunConfig) -> str:
    """Returns the SHA-256 hash (hexadecimal) of all settings that affect results, except the seed."""
    return hashlib.sha256(json.dumps(_select_hashed_values(config), sort_keys=True).encode()).hexdigest()


def find_config_differences(before: RunConfig, after: RunConfig) -> list[str]:
    """Returns one line per difference of two configs that affects results, such as ``'seed: 1, was 0'``."""
    old, new = ({"seed": config.seed, **_select_hashed_values(config)} for config in (before, after))
    return [f"{path}: {value}, was {old_value}" for path, old_value, value in compare_trees(old, new)]


def compare_trees(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yields (path, old value, new value) for each difference of two trees; a missing value is ``'absent'``."""
    old, new = flatten_tree(before), flatten_tree(after)
    for path in {**new, **old}:
        values = old.get(path, "absent"), new.get(path, "absent")
        if values[0] != values[1]:
            yield path, *values


def _select_hashed_values(config: RunConfig) -> dict[str, Any]:
    """Returns the values of the hashed sections that affect results, as a tree."""
    return {section: _select_result_values(getattr(config, section)) for section in HASHED_SECTIONS}


def flatten_config(config: RunConfig) -> dict[str, Any]:
    """Returns the config as a flat mapping of dotted paths to values. Lists are not flattened."""
    return flatten_tree(config_to_dict(config))


def flatten_tree(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a tree as a flat mapping of dotted paths to values. Lists and empty mappings are not flattened."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= flatten_tree(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _select_result_values(section: Any) -> dict[str, Any]:  # noqa: ANN401 - any section dataclass
    """Returns the values of a section that affect results. An integer in a float field is converted to a float."""
    hints = typing.get_type_hints(type(section))
    values = {
        spec.name: getattr(section, spec.name)
        for spec in dataclasses.fields(section)
        if (rule := get_rule(spec)).identity and (rule.hash_default or getattr(section, spec.name) != spec.default)
    }
    for name, value in values.items():
        if dataclasses.is_dataclass(value):
            values[name] = _select_result_values(value)
        elif hints[name] is float:
            values[name] = float(value)
    return values


def escape_interpolations(node: Any) -> Any:  # noqa: ANN401 - any part of a config
    """Returns a tree in which ``${`` is escaped in all strings, because a resolved config has no interpolations."""
    if isinstance(node, Mapping):
        return {key: escape_interpolations(value) for key, value in node.items()}
    if isinstance(node, list):
        return [escape_interpolations(value) for value in node]
    return node.replace("${", "\\${") if isinstance(node, str) else node

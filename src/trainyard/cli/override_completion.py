"""Completion of the arguments of ``trainyard train`` and ``sweep``: groups, choices, fields, values and flags."""

from __future__ import annotations

import dataclasses
import itertools
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from trainyard.cli.app import complete_path, complete_sweep
from trainyard.config import (
    ComponentConfig,
    RunConfig,
    compose_trees,
    get_override_key,
    get_registered_metrics,
    get_rule,
    list_choices,
    list_groups,
    prepare_hydra,
)
from trainyard.errors import ConfigError

FLAGS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "train": {
        "--cfg": ("all", "hydra", "job"),
        "--config-dir": (),
        "--config-name": (),
        "--help": (),
        "--hydra-help": (),
        "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
        "--multirun": (),
        "--package": (),
        "--resolve": (),
    },
    "sweep": dict.fromkeys(("--config-dir", "--config-name", "--fresh", "--help", "--plan", "--status"), ()),
}
"""The flags of each command, with their possible values if these are a fixed set."""

_PATH_FIELDS = ("resume", "training.start_from", "dataset.path")
"""The fields whose value is a path."""


def complete_overrides(command: str, before: Sequence[str], word: str) -> list[str]:
    """Returns the completions of a word, of which those that end in ``=``, ``.`` or ``/`` are not finished.

    `before` are the arguments between the command, ``train`` or ``sweep``, and this word.

    Raises:
        ConfigError: If a plugin cannot be imported.
    """
    flags = FLAGS[command]
    match before[-1:]:
        case ["--config-dir"]:
            return [path for path in complete_path(word) if path.endswith("/")]
        case ["--status"]:
            return [name for name in complete_sweep() if name.startswith(word)]
        case [flag] if flags.get(flag):
            return [value for value in flags[flag] if value.startswith(word)]
    if word.startswith("-"):
        return [flag for flag in flags if flag.startswith(word)]
    config_dir = next((Path(after) for flag, after in itertools.pairwise(before) if flag == "--config-dir"), None)
    prepare_hydra(config_dir)
    bare = word.lstrip("+")
    key, equals, value = bare.partition("=")
    if not equals:
        completed = _list_keys(key, before, config_dir)
    elif key in _PATH_FIELDS:
        completed = [f"{key}={path}" for path in complete_path(value)]
    else:
        kept = bare[: len(bare) - len(value.rpartition(",")[2])]  # up to the last comma
        completed = [kept + option for option in _list_values(key, before, config_dir)]
    plus_signs = word[: len(word) - len(bare)]
    return [plus_signs + text for text in completed if text.startswith(bare)]


def _list_keys(key: str, before: Sequence[str], config_dir: Path | None) -> list[str]:
    """Returns the groups and the fields of the section in which `key` is."""
    section, dot, _ = key.rpartition(".")
    groups = list_groups(config_dir)
    names = [] if dot else [f"{group}=" for group in groups]
    for name, (annotation, _) in _find_fields(section, before, config_dir).items():
        path = section + dot + name
        if path not in groups:
            names.append(path + ("." if dataclasses.is_dataclass(annotation) else "="))
    return sorted(names)


def _list_values(path: str, before: Sequence[str], config_dir: Path | None) -> list[str]:
    """Returns the possible values of a group or field; an empty list if they are not a fixed set."""
    if path in list_groups(config_dir):
        return list_choices(path, config_dir)
    section, _, name = path.rpartition(".")
    annotation, spec = _find_fields(section, before, config_dir).get(name, (None, None))
    if spec is None:
        return []
    rule = get_rule(spec)
    if rule.elements == "metrics":
        return [f"[{metric}]" for metric in sorted(get_registered_metrics())]
    return [*rule.choices] or (["true", "false"] if annotation is bool else [])


def _find_fields(
    section: str, before: Sequence[str], config_dir: Path | None
) -> dict[str, tuple[Any, dataclasses.Field[Any]]]:
    """Returns the fields of a section that an override can set, with their types. Empty if there is no such section.

    If a preceding choice is wrong or unfinished, the section is that of the default config.
    """
    cls: Any = RunConfig
    if section:
        choices = [word for word in before if get_override_key(word) in list_groups(config_dir)]
        try:
            tree, _ = compose_trees(choices, config_dir=config_dir)
        except ConfigError:
            tree, _ = compose_trees([], config_dir=config_dir)
        node = OmegaConf.select(tree, section)
        cls = OmegaConf.get_type(node) if OmegaConf.is_dict(node) else None
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        return {}
    hints = typing.get_type_hints(cls)
    fixed = "name" if issubclass(cls, ComponentConfig) else ""
    return {spec.name: (hints[spec.name], spec) for spec in dataclasses.fields(cls) if spec.name != fixed}

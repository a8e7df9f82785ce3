"""Completion of the arguments of ``trainyard train`` and ``sweep``: groups, choices, fields, values and flags."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from trainyard.cli.app import complete_path, complete_sweep
from trainyard.config import (
    ComponentConfig,
    RunConfig,
    compose_trees,
    get_registered_metrics,
    get_rule,
    list_choices,
    list_groups,
    prepare_hydra,
)
from trainyard.errors import ConfigError

Flags = Mapping[str, tuple[str, ...] | Callable[[str], list[str]]]
"""Flags, each with its possible values, or with a function that returns the values that start with a prefix."""


def _complete_folder(prefix: str) -> list[str]:
    """Returns the folders whose path starts with a prefix."""
    return [path for path in complete_path(prefix) if path.endswith("/")]


TRAIN_FLAGS: Flags = {
    "--cfg": ("all", "hydra", "job"),
    "--config-dir": _complete_folder,
    "--config-name": (),
    "--help": (),
    "--hydra-help": (),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--multirun": (),
    "--package": (),
    "--resolve": (),
}

SWEEP_FLAGS: Flags = {
    "--config-dir": _complete_folder,
    "--config-name": (),
    "--fresh": (),
    "--help": (),
    "--plan": (),
    "--status": complete_sweep,
}

_PATH_FIELDS = ("resume", "training.start_from", "dataset.path")
"""The fields whose value is a path."""


def complete_overrides(before: Sequence[str], word: str, flags: Flags) -> list[str]:
    """Returns the completions of a word, of which those that end in ``=``, ``.`` or ``/`` are not finished.

    `before` are the arguments between the command, ``trainyard train`` or ``sweep``, and this word.

    Raises:
        ConfigError: If a plugin cannot be imported.
    """
    flag_values = flags.get(before[-1], ()) if before else ()
    if callable(flag_values):
        return flag_values(word)
    if flag_values:
        return [value for value in flag_values if value.startswith(word)]
    if word.startswith("-"):
        return [flag for flag in flags if flag.startswith(word)]
    config_dir = next((Path(after) for flag, after in itertools.pairwise(before) if flag == "--config-dir"), None)
    prepare_hydra(config_dir)
    plus_signs = word[: len(word) - len(word.lstrip("+"))]
    key, equals, value = word[len(plus_signs) :].partition("=")
    if not equals:
        return [plus_signs + name for name in _complete_key(key, before, config_dir)]
    earlier_values, comma, last = value.rpartition(",")
    if key in _PATH_FIELDS:
        earlier_values, comma, last = "", "", value
        options = complete_path(value)
    elif key in list_groups(config_dir):
        options = list_choices(key, config_dir)
    else:
        options = _list_field_values(key, before, config_dir)
    return [f"{plus_signs}{key}={earlier_values}{comma}{option}" for option in options if option.startswith(last)]


def _complete_key(key: str, before: Sequence[str], config_dir: Path | None) -> list[str]:
    """Returns the groups, or the fields of a section, whose dotted path starts with `key`."""
    section, dot, _ = key.rpartition(".")
    config_groups = list_groups(config_dir)
    names = [] if dot else [f"{group}=" for group in config_groups]
    for name, (annotation, _) in _find_fields(section, before, config_dir).items():
        path = section + dot + name
        if path not in config_groups:
            names.append(path + ("." if dataclasses.is_dataclass(annotation) else "="))
    return sorted(name for name in names if name.startswith(key))


def _list_field_values(path: str, before: Sequence[str], config_dir: Path | None) -> list[str]:
    """Returns the possible values of a field; an empty list if they are not a fixed set."""
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
    """Returns the fields of a section that an override can set, with their types."""
    cls = _find_section_class(section, before, config_dir)
    if cls is None:
        return {}
    hints = typing.get_type_hints(cls)
    fixed = "name" if issubclass(cls, ComponentConfig) else ""
    return {spec.name: (hints[spec.name], spec) for spec in dataclasses.fields(cls) if spec.name != fixed}


def _find_section_class(path: str, before: Sequence[str], config_dir: Path | None) -> type[Any] | None:
    """Returns the dataclass of a section, as chosen by the preceding arguments; None if there is no such section.

    If an argument is wrong or unfinished, composes the config with only those that choose groups, or without any.
    """
    if not path:
        return RunConfig
    overrides = [word for word in before if "=" in word and not word.startswith("-")]
    choices = [word for word in overrides if word.partition("=")[0] in list_groups(config_dir)]
    for attempt in (overrides, choices, []):
        with contextlib.suppress(ConfigError):
            tree, _ = compose_trees(attempt, config_dir=config_dir)
            section = OmegaConf.select(tree, path)
            cls = OmegaConf.get_type(section) if OmegaConf.is_dict(section) else None
            return cls if dataclasses.is_dataclass(cls) else None
    return None

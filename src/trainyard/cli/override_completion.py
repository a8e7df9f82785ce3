"""What may come next after ``trainyard train`` or ``sweep``: groups and their choices, fields and values, flags."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from trainyard.config.compose import compose_trees
from trainyard.config.fields import rule_of
from trainyard.config.registry import components, registered_metrics
from trainyard.config.schema import COMPONENT_GROUPS, ComponentConfig, RunConfig
from trainyard.config.search_path import choices, conf_folders, groups, prepare_hydra
from trainyard.errors import ConfigError
from trainyard.sweep.folder import sweep_folders

Flags = Mapping[str, tuple[str, ...] | Callable[[str], list[str]]]
"""Flags, with what may follow each: some words, or what a function finds for the beginning of one."""


def _folders(beginning: str) -> list[str]:
    return complete_path(beginning, folders_only=True)


def complete_sweep(beginning: str) -> list[str]:
    """Returns the sweeps of this folder whose name begins so."""
    return [folder.path.name for folder in sweep_folders() if folder.path.name.startswith(beginning)]


TRAIN_FLAGS: Flags = {
    "--cfg": ("all", "hydra", "job"),
    "--config-dir": _folders,
    "--config-name": (),
    "--help": (),
    "--hydra-help": (),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--multirun": (),
    "--package": (),
    "--resolve": (),
}

SWEEP_FLAGS: Flags = {
    "--config-dir": _folders,
    "--config-name": (),
    "--fresh": (),
    "--help": (),
    "--plan": (),
    "--status": complete_sweep,
}

_PATHS = ("resume", "training.start_from", "dataset.path")
"""The fields that take a place in the file system."""


def complete_overrides(before: Sequence[str], word: str, flags: Flags) -> list[str]:
    """Returns what a word after ``trainyard train`` or ``sweep`` may become.

    Args:
        before: The words between, as the shell hands them on.
        word: What is typed of this one.
        flags: Those of the command.

    Returns:
        Whole words, each beginning with what is typed; one that ends in ``=``, ``.`` or ``/`` wants more.

    Raises:
        ConfigError: If a plugin can't be imported.
    """
    following = flags.get(before[-1], ()) if before else ()
    if callable(following):
        return following(word)
    if following:
        return [value for value in following if value.startswith(word)]
    if word.startswith("-"):
        return [flag for flag in flags if flag.startswith(word)]
    config_dir = next((Path(after) for flag, after in itertools.pairwise(before) if flag == "--config-dir"), None)
    prepare_hydra(config_dir)
    signs = word[: len(word) - len(word.lstrip("+"))]
    key, equals, value = word[len(signs) :].partition("=")
    if not equals:
        return [signs + name for name in _keys(key, before, config_dir)]
    swept, comma, last = value.rpartition(",")
    if key in _PATHS:
        swept, comma, last = "", "", value
        found = complete_path(value)
    elif key in groups(config_dir):
        found = choices(key, config_dir)
    else:
        found = _values(key, before, config_dir)
    return [f"{signs}{key}={swept}{comma}{option}" for option in found if option.startswith(last)]


def complete_path(beginning: str, *, folders_only: bool = False) -> list[str]:
    """Returns the files and folders whose path begins so, folders with a slash at the end."""
    head, tail = os.path.split(beginning)
    folder = Path(head or ".").expanduser()
    found = []
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            hidden = path.name.startswith(".") and not tail.startswith(".")
            if path.name.startswith(tail) and not hidden and (path.is_dir() or not folders_only):
                found.append(os.path.join(head, path.name) + ("/" if path.is_dir() else ""))  # noqa: PTH118 - "./" stays
    return found


def _keys(key: str, before: Sequence[str], config_dir: Path | None) -> list[str]:
    """Returns the groups, or the fields of a section, whose dotted path begins so."""
    section, dot, _ = key.rpartition(".")
    names: list[str] = []
    grouped = groups(config_dir)
    if not dot:
        names = [f"{group}=" for group in grouped]
    cls = _section_class(section, before, config_dir)
    for name, kind in _fields(cls).items():
        path = section + dot + name
        if path not in grouped:
            names.append(path + ("." if dataclasses.is_dataclass(kind) else "="))
    return sorted(name for name in names if name.startswith(key))


def _values(path: str, before: Sequence[str], config_dir: Path | None) -> list[str]:
    """Returns the values that a field may have, where they are few."""
    section, _, name = path.rpartition(".")
    cls = _section_class(section, before, config_dir)
    kind = _fields(cls).get(name)
    if cls is None or kind is None:
        return []
    (rule,) = (rule_of(spec) for spec in dataclasses.fields(cls) if spec.name == name)
    if rule.holds == "metrics":
        return [f"[{metric}]" for metric in sorted(registered_metrics())]
    return [*rule.choices] or (["true", "false"] if kind is bool else [])


def _fields(cls: type[Any] | None) -> dict[str, Any]:
    """Returns the fields that one can set, with their types."""
    if cls is None:
        return {}
    hints = typing.get_type_hints(cls)
    fixed = "name" if issubclass(cls, ComponentConfig) else ""
    return {spec.name: hints[spec.name] for spec in dataclasses.fields(cls) if spec.name != fixed}


def _section_class(path: str, before: Sequence[str], config_dir: Path | None) -> type[Any] | None:
    """Returns the dataclass that stands in a section, as the words before choose it; None where there is no section."""
    cls: Any = RunConfig
    for place, name in enumerate(path.split(".") if path else []):
        kind = _fields(cls).get(name)
        if not dataclasses.is_dataclass(kind):
            return None
        cls = _chosen_component(name, before, config_dir) if place == 0 and name in COMPONENT_GROUPS else kind
    return cls if isinstance(cls, type) else None


def _chosen_component(group: str, before: Sequence[str], config_dir: Path | None) -> type[Any] | None:
    """Returns the component that stands in a group.

    Words that are wrong, or not finished, are passed over: first what they say of fields, then all.
    """
    overrides = [word for word in before if "=" in word and not word.startswith("-")]
    named = [word.partition("=")[2] for word in overrides if word.partition("=")[0] == group]
    files = [folder / group / f"{name}.yaml" for name in named for folder in conf_folders(config_dir)]
    if named and named[-1] in components(group) and not any(file.exists() for file in files):
        return components(group)[named[-1]]  # spares a composition
    chosen = [word for word in overrides if word.partition("=")[0] in groups(config_dir)]
    for attempt in (overrides, chosen, []):
        with contextlib.suppress(ConfigError):
            tree, _ = compose_trees(attempt, config_dir=config_dir)
            return OmegaConf.get_type(tree[group])
    return None

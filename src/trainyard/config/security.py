"""Rejects configs that would execute code or read the environment: a config is data.

Hydra has several settings by which a config can execute code (callbacks, ``_target_``, logging classes) or access its
surroundings (search path, environment variables). They are rejected here, before Hydra runs anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from trainyard.config.hydra_adapter import BASIC_LAUNCHER, list_stored_configs
from trainyard.errors import ConfigError

_RESOLVER = re.compile(r"\$\{[^}]*[:$]")
"""Matches an interpolation that calls a resolver, or a nested interpolation, which could call one."""

_ALLOWED_RESOLVERS = re.compile(r"\$\{(now|hydra|trainyard\.unique):[^${}]*\}")
"""Matches the resolvers that are allowed in the ``hydra`` section: time, Hydra's own values, a unique folder name."""

FORK_LAUNCHER = "hydra_plugins.trainyard_plugins.ForkLauncher"
"""The ``_target_`` of the launcher that runs trials in parallel on this machine."""

_LOGGING_CLASSES = ("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler", "colorlog.ColoredFormatter")


def get_override_key(override: str) -> str:
    """Returns the path or group that an override sets, without the prefix ``+`` or ``~``."""
    return override.partition("=")[0].lstrip("+~")


def forbid_resolvers(tree: DictConfig) -> None:
    """Raises a ConfigError, one line each, for resolvers such as ``${oc.env:HOME}``, not for ``${model.dropout}``."""
    problems = [
        f"{path}: resolvers are refused, because their values would be logged, got {text!r}. Write the value itself"
        for path, text in _iterate_strings(OmegaConf.to_container(tree, resolve=False), "")
        if _RESOLVER.search(text)
    ]
    if problems:
        raise ConfigError(*problems)


def forbid_code_execution(hydra_section: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Raises a ConfigError, one line each, for settings that would execute code, or change or read the environment.

    `hydra_section` is the section ``hydra``. The overrides, which are from the command line, may set more than a
    recipe.
    """
    tree: Any = OmegaConf.to_container(hydra_section, resolve=False)
    remedy = "Remove it from the recipe or the command line"
    problems = []
    if tree["callbacks"]:
        problems.append(f"hydra.callbacks: refused, because a config must not execute code. {remedy}")
    if tree["job"]["env_set"]:
        problems.append(f"hydra.job.env_set: refused, because a config must not change the environment. {remedy}")
    if tree["launcher"].get("preload"):
        problems.append("hydra.launcher.preload: refused, because a config must not execute code. Set it to null")
    problems += _find_launcher_settings_in_recipe(
        tree["launcher"], {get_override_key(override) for override in overrides}
    )
    for path, text in _iterate_strings(tree, "hydra"):
        key = path.rpartition(".")[2]
        if _RESOLVER.search(_ALLOWED_RESOLVERS.sub("", text)):
            problems.append(
                f"{path}: refused, only the resolvers now, hydra and trainyard.unique are allowed, got {text!r}"
            )
        elif key == "_target_" and text not in Plugins.instance().class_name_to_class:
            problems.append(f"{path}: refused, because a config must not execute code, got {text!r}")
        elif "logging." in path and key in ("()", "class") and text not in _LOGGING_CLASSES:
            problems.append(f"{path}: expected one of {', '.join(_LOGGING_CLASSES)}, got {text!r}")
    if problems:
        raise ConfigError(*problems)


def _find_launcher_settings_in_recipe(launcher: dict[str, Any], typed: set[str]) -> list[str]:
    """Returns a problem for each setting of a cluster launcher that is not set on the command line.

    Such settings can execute code: Slurm runs commands from them, and a Ray cluster runs code on machines that join it.
    """
    if launcher.get("_target_") in (FORK_LAUNCHER, BASIC_LAUNCHER):
        return []
    registered = list_stored_configs("hydra/launcher")
    defaults = next((config for config in registered if config.get("_target_") == launcher.get("_target_")), {})
    return [
        f"hydra.launcher.{name}: refused in a recipe, because a cluster executes code. Set it on the command line: "
        f"hydra.launcher.{name}=..."
        for name, value in launcher.items()
        if value != defaults.get(name) and not any(f"{key}.".startswith(f"hydra.launcher.{name}.") for key in typed)
    ]


def _iterate_strings(node: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any part of a config
    """Yields the dotted path and the value of every string in a tree."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _iterate_strings(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _iterate_strings(value, f"{path}[{index}]")
    elif isinstance(node, str):
        yield path, node

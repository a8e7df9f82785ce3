"""A config is data: what could make it execute code or read the environment is refused.

Hydra itself offers several doors by which a config names code (callbacks, ``_target_``, logging classes) or reaches
out (search path, environment). They are closed here, before Hydra runs anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from trainyard.errors import ConfigError

_RESOLVER = re.compile(r"\$\{[^}]*[:$]")
"""An interpolation that calls a resolver, or that is put together from others so that one can't tell."""

_HARMLESS = re.compile(r"\$\{(now|hydra|trainyard\.unique):[^${}]*\}")
"""The resolvers that Hydra's section may call: the time, Hydra's own values, a name for a folder."""

FORK_LAUNCHER = "hydra_plugins.trainyard_fork_launcher.ForkLauncher"
BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
"""The launchers of this machine, by what Hydra makes them of."""

_LOGGING_CLASSES = (
    "logging.StreamHandler",
    "logging.FileHandler",
    "logging.NullHandler",
    "colorlog.ColoredFormatter",
)


def refuse_resolvers(tree: DictConfig) -> None:
    """Refuses resolvers such as ``${oc.env:HOME}`` in a run's config; ``${optimizer.learning_rate}`` is fine.

    Raises:
        ConfigError: Names each place.
    """
    found = [
        f"{path}: resolvers are refused, got {text!r}; what they read would be logged with the config. Write the value"
        for path, text in _texts(OmegaConf.to_container(tree, resolve=False), "")
        if _RESOLVER.search(text)
    ]
    if found:
        raise ConfigError(*found)


def refuse_doors(hydra_section: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Refuses what in Hydra's own section would execute code, change the environment or read it.

    Args:
        hydra_section: The ``hydra`` node of a composed config.
        overrides: What it was composed with: what is typed may say more than what a recipe says.

    Raises:
        ConfigError: Names each place.
    """
    tree: Any = OmegaConf.to_container(hydra_section, resolve=False)
    problems = [
        f"hydra.{door}: refused, a config must not {consequence}. Remove it from the recipe or the command line"
        for door, section, consequence in (
            ("callbacks", tree["callbacks"], "execute code"),
            ("job.env_set", tree["job"]["env_set"], "change the environment"),
        )
        if section
    ]
    if tree["launcher"].get("preload"):
        problems.append("hydra.launcher.preload: refused, a config must not name code. Leave it null")
    problems += _set_by_a_recipe(tree["launcher"], {override.partition("=")[0].lstrip("+~") for override in overrides})
    for path, text in _texts(tree, "hydra"):
        key = path.rpartition(".")[2]
        if _RESOLVER.search(_HARMLESS.sub("", text)):
            problems.append(
                f"{path}: refused, only the resolvers now, hydra and trainyard.unique may stand here, got {text!r}"
            )
        elif key == "_target_" and text not in Plugins.instance().class_name_to_class:
            problems.append(f"{path}: refused, a config must not name code, got {text!r}")
        elif "logging." in path and key in ("()", "class") and text not in _LOGGING_CLASSES:
            problems.append(f"{path}: expected one of {', '.join(_LOGGING_CLASSES)}, got {text!r}")
    if problems:
        raise ConfigError(*problems)


def _set_by_a_recipe(launcher: dict[str, Any], typed: set[str]) -> list[str]:
    """Returns a line for each setting of a cluster's launcher that was not typed.

    Slurm runs commands that it is given, and whoever runs a Ray cluster runs code in those who join it.
    """
    if launcher.get("_target_") in (FORK_LAUNCHER, BASIC_LAUNCHER):
        return []
    nodes = (entry.node for entry in ConfigStore.instance().repo["hydra"]["launcher"].values())
    known: list[Any] = [OmegaConf.to_container(node, resolve=False) for node in nodes]
    defaults: dict[str, Any] = next((one for one in known if one.get("_target_") == launcher.get("_target_")), {})
    return [
        f"hydra.launcher.{name}: refused in a recipe, as a cluster runs code. Type it: hydra.launcher.{name}=..."
        for name, value in launcher.items()
        if value != defaults.get(name) and not any(f"{key}.".startswith(f"hydra.launcher.{name}.") for key in typed)
    ]


def _texts(node: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any part of a config
    """Yields the dotted path of every text in a tree, with the text."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _texts(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _texts(value, f"{path}[{index}]")
    elif isinstance(node, str):
        yield path, node

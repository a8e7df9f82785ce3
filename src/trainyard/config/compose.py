"""Composes Hydra overrides into a validated `RunConfig`.

Other modules do not use DictConfig. Errors of Hydra and OmegaConf are translated into messages with the dotted path,
what was expected, what was received, and what to do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import threading
import typing
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from trainyard.config.hydra_errors import format_unknown_key, translate_hydra_errors
from trainyard.config.overrides import check_overrides, normalize_overrides
from trainyard.config.schema import RunConfig
from trainyard.config.search_path import find_shipped_config_folder, prepare_hydra
from trainyard.config.security import forbid_resolvers
from trainyard.config.validation import validate_config
from trainyard.errors import ConfigError

VERSION_BASE = "1.3"
_hydra_lock = threading.RLock()
"""Hydra uses global state, so only one config at a time can be composed in a process."""

PRIMARY_CONFIG = "config"
"""The name of the primary config, conf/config.yaml."""


def make_unique_name() -> str:
    """Returns a unique name for the folder of a run that sorts by time, such as ``2026-03-01_14-05-59_7f3a9c``."""
    return f"{datetime.now().astimezone():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(3)}"


ConfigStore.instance().store(name="base_run", node=RunConfig, provider="trainyard")
OmegaConf.register_new_resolver("trainyard.unique", make_unique_name, use_cache=True)


def compose_config(
    overrides: Sequence[str] = (), *, config_name: str = PRIMARY_CONFIG, config_dir: Path | None = None
) -> RunConfig:
    """Composes the config of a run, and validates it as far as possible without data.

    Args:
        overrides: Overrides in Hydra's syntax, such as ``["experiment=quickstart", "model.hidden_units=[64]"]``.
        config_name: The name of the primary config.
        config_dir: An additional folder with configs.

    Raises:
        ConfigError: If the config is invalid. One line per problem.

    Example:
        >>> compose_config(["model.hidden_units=[64, 32]"]).model.label
        '64x32 relu'
    """
    tree, _ = compose_trees(overrides, config_name=config_name, config_dir=config_dir, sweep_command="run_sweep")
    return build_run_config(tree)


def compose_trees(
    overrides: Sequence[str],
    *,
    config_name: str = PRIMARY_CONFIG,
    config_dir: Path | None = None,
    sweep_command: str = "trainyard sweep",
) -> tuple[DictConfig, DictConfig]:
    """Composes a config into OmegaConf trees, without validation: that of the run, and Hydra's own section.

    See `compose_config`. `sweep_command` is the command or function that accepts several values, for messages.
    """
    overrides = normalize_overrides(overrides)
    check_overrides(overrides, config_dir, sweep_command)
    with open_hydra(config_dir):
        tree = hydra.compose(config_name, list(overrides), return_hydra_config=True)
    hydra_section = tree.hydra
    with open_dict(tree):
        del tree["hydra"]
    return tree, hydra_section


@contextlib.contextmanager
def open_hydra(config_dir: Path | None = None) -> Iterator[Any]:
    """Yields a Hydra object that searches the folders of configs. Translates Hydra's errors to ConfigErrors."""
    with _hydra_lock, translate_hydra_errors(config_dir):
        original = GlobalHydra.instance().hydra  # the caller may have initialized Hydra
        GlobalHydra.instance().clear()
        try:
            prepare_hydra(config_dir)
            with hydra.initialize_config_dir(str(find_shipped_config_folder()), version_base=VERSION_BASE):
                yield GlobalHydra.instance().hydra
        finally:
            GlobalHydra.instance().hydra = original


def build_run_config(tree: DictConfig) -> RunConfig:
    """Converts a tree, without Hydra's section, into a RunConfig. Raises a ConfigError with one line per problem."""
    config = build_unchecked_config(tree)
    validate_config(config)
    return config


def build_unchecked_config(tree: DictConfig) -> RunConfig:
    """Converts a composed tree into a RunConfig without validating its values. See `build_run_config`."""
    if OmegaConf.get_type(tree) is not RunConfig:
        raise ConfigError(
            "the primary config does not extend Trainyard's schema. Add base_run as first entry of its defaults list"
        )
    if problems := list(_find_undeclared_keys(tree, "")):
        raise ConfigError(*problems)
    forbid_resolvers(tree)
    with translate_hydra_errors():
        return typing.cast("RunConfig", OmegaConf.to_object(tree))


def _find_undeclared_keys(tree: DictConfig, path: str) -> Iterator[str]:
    """Yields a problem for each key that is not in the schema. Hydra accepts such keys, as in ``+training.foo=3``."""
    section_type = OmegaConf.get_type(tree)
    names = [spec.name for spec in dataclasses.fields(section_type)] if dataclasses.is_dataclass(section_type) else None
    for key in tree:
        dotted = f"{path}.{key!s}" if path else str(key)
        if names is not None and key not in names:
            yield format_unknown_key(dotted, names)
        elif OmegaConf.is_missing(tree, key) or OmegaConf.is_interpolation(tree, str(key)):
            continue
        elif isinstance(section := tree[key], DictConfig):
            yield from _find_undeclared_keys(section, dotted)

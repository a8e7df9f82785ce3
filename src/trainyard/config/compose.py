"""From Hydra overrides to a checked `RunConfig`, and from there to one YAML file and back.

After this module nothing sees a DictConfig. What Hydra and OmegaConf raise is answered here in our own words: the
dotted path, what was expected, what was received, what to do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import secrets
import threading
import typing
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict

from trainyard import data, models
from trainyard.config.fields import rule_of
from trainyard.config.hydra_errors import in_our_words, unknown_key
from trainyard.config.registry import BASE_PREFIX, load_plugins, look_up, unknown
from trainyard.config.schema import COMPONENT_GROUPS, RunConfig
from trainyard.config.search_path import choices, groups, prepare_hydra, shipped_conf
from trainyard.config.security import refuse_resolvers
from trainyard.config.validation import validate
from trainyard.data import augmentation
from trainyard.errors import ConfigError
from trainyard.evaluation import metrics
from trainyard.tracking import stores
from trainyard.training import debug, losses, optimizers, schedules

COMPONENT_MODULES = (augmentation, data, debug, losses, metrics, models, optimizers, schedules, stores)
"""Importing them is what registers the components."""

HASHED_SECTIONS = ("dataset", "model", "optimizer", "schedule", "loss", "augmentation", "training", "debug")
VERSION_BASE = "1.3"
_composing = threading.RLock()
"""Hydra composes one config at a time in a process."""

PRIMARY = "config"
"""The name of the primary config, conf/config.yaml."""


def unique_name() -> str:
    """Returns a name for a run's folder that sorts by time and is nobody else's, ``2026-03-01_14-05-59_7f3a9c``."""
    return f"{datetime.now().astimezone():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(3)}"


ConfigStore.instance().store(name="base_run", node=RunConfig, provider="trainyard")
OmegaConf.register_new_resolver("trainyard.unique", unique_name, use_cache=True)


# ---------------------------------------------------------------------------------------------------------------
# Composition


def compose_config(
    overrides: Sequence[str] = (), *, config_name: str = PRIMARY, config_dir: Path | None = None
) -> RunConfig:
    """Composes and checks the config of a run.

    Args:
        overrides: In Hydra's grammar: ``["experiment=quickstart", "model.hidden_units=[64]"]``.
        config_name: The primary config.
        config_dir: A further folder with configs.

    Returns:
        A config that passed every check that needs no data.

    Raises:
        ConfigError: With a line per mistake.

    Example:
        >>> compose_config(["model.hidden_units=[64, 32]"]).model.label
        '64x32 relu'
    """
    tree, _ = compose_trees(overrides, config_name=config_name, config_dir=config_dir)
    return to_run_config(tree)


def compose_trees(
    overrides: Sequence[str], *, config_name: str = PRIMARY, config_dir: Path | None = None
) -> tuple[DictConfig, DictConfig]:
    """Composes the config as Hydra sees it; see `compose_config`.

    Returns:
        The run's tree, and Hydra's own section.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"expected a list of overrides, got the text {overrides!r}. Put it in brackets")
    _check_overrides(overrides, config_dir)
    with _composing, _hydra_to_ourselves(), in_our_words(config_dir):
        prepare_hydra(config_dir)
        with hydra.initialize_config_dir(str(shipped_conf()), version_base=VERSION_BASE):
            tree = hydra.compose(config_name, list(overrides), return_hydra_config=True)
    hydra_section = tree.hydra
    with open_dict(tree):
        del tree["hydra"]
    return tree, hydra_section


@contextlib.contextmanager
def _hydra_to_ourselves() -> Iterator[None]:
    """Sets aside a Hydra that the caller initialised, and puts it back."""
    callers = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = callers


def key_of(override: str) -> str:
    """Returns what an override sets, without its ``+`` or ``~``."""
    return override.partition("=")[0].lstrip("+~")


def expand_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Returns the overrides of each job of a multirun, every combination of the swept values.

    Raises:
        ConfigError: If an override is not in Hydra's grammar.
    """
    with in_our_words():
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [list(job) for job in jobs]


def _check_overrides(overrides: Sequence[str], config_dir: Path | None) -> None:
    """Checks what Hydra answers with a traceback: the grammar, and groups that are given no name or taken away."""
    with in_our_words(config_dir):
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    for override in parsed:
        key = override.key_or_group
        if key.startswith("hydra.searchpath"):
            raise ConfigError("hydra.searchpath: refused, it can import packages. Name a folder with --config-dir")
        if override.is_sweep_override():
            raise ConfigError(
                f"{key}: expected one value, got several: {override.input_line}. A list goes in brackets and quotes, "
                f"'{key}=[1,2]'; a run for each value wants --multirun"
            )
        if override.is_delete() and not key.startswith("tracking.tags."):
            raise ConfigError(f"{key}: a run can't do without it, got {override.input_line!r}. Set it to what you want")
        if key not in groups(config_dir) or override.is_delete():
            continue
        value, options = override.value(), choices(key, config_dir)
        if override.is_add() and key in (*COMPONENT_GROUPS, "training", "experiment"):
            raise ConfigError(f"{key}: the config has this group already. Leave the + out: {key}={value}")
        if isinstance(value, str) and value.startswith(BASE_PREFIX):
            raise ConfigError(unknown(key, f"unknown {key}", value, options))
        if not isinstance(value, str) and not (value is None and key == "experiment"):
            raise ConfigError(f"{key}: expected one of {', '.join(options)}, got {value!r}")


def to_run_config(tree: DictConfig) -> RunConfig:
    """Turns a composed tree into a checked RunConfig.

    Args:
        tree: Without Hydra's section.

    Raises:
        ConfigError: With a line per mistake.
    """
    config = read_tree(tree)
    validate(config)
    return config


def read_tree(tree: DictConfig) -> RunConfig:
    """Turns a composed tree into a RunConfig that is yet to be validated; see `to_run_config`."""
    if OmegaConf.get_type(tree) is not RunConfig:
        raise ConfigError(
            "the primary config does not extend Trainyard's schema. Begin its defaults list with base_run"
        )
    if extra := list(_undeclared(tree, "")):
        raise ConfigError(*extra)
    refuse_resolvers(tree)
    with in_our_words():
        config = OmegaConf.to_object(tree)
    if not isinstance(config, RunConfig):
        raise ConfigError(f"expected a RunConfig, got {type(config).__name__}")
    return config


def _undeclared(tree: DictConfig, path: str) -> Iterator[str]:
    """Yields a problem for each key that the schema does not declare (``+training.foo=3`` adds one, unseen)."""
    declared = OmegaConf.get_type(tree)
    names = [spec.name for spec in dataclasses.fields(declared)] if dataclasses.is_dataclass(declared) else None
    for key in tree:
        dotted = f"{path}.{key!s}" if path else str(key)
        if names is not None and key not in names:
            yield unknown_key(dotted, names)
        elif isinstance(node := tree._get_node(key), DictConfig) and not node._is_none() and not node._is_missing():  # noqa: SLF001
            yield from _undeclared(node, dotted)


# ---------------------------------------------------------------------------------------------------------------
# One file, and back


def to_tree(config: RunConfig) -> dict[str, Any]:
    """Returns the config as plain dicts, lists and scalars."""
    return dataclasses.asdict(config)


def dump_config(config: RunConfig) -> str:
    """Returns the resolved config as YAML that `load_config` reads back to an equal config."""
    return yaml.safe_dump(to_tree(config), sort_keys=False, allow_unicode=True)


def load_config(path: Path | str) -> RunConfig:
    """Reads a resolved config, as a run logs it.

    Args:
        path: A config.yaml of a run.

    Returns:
        A config equal to the one that was saved.

    Raises:
        ConfigError: If the file is no resolved config; with a line per mistake.
    """
    load_plugins()
    try:
        tree = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected a resolved config, as YAML; it can't be read: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a resolved config, got {type(tree).__name__}")
    return to_run_config(from_tree(tree, str(path)))


def from_tree(tree: Mapping[str, Any], source: str) -> DictConfig:
    """Returns what `to_tree` returned as the tree of a composed config.

    Args:
        tree: Plain dicts, lists and scalars.
        source: Where they are from, for messages.

    Raises:
        ConfigError: If a component is not named, or unknown, or a value is not of its field's type.
    """
    with in_our_words():
        node = OmegaConf.structured(RunConfig)
        for group in COMPONENT_GROUPS:
            section = tree.get(group)
            if not isinstance(section, dict) or "name" not in section:
                raise ConfigError(f"{source}: {group}.name: expected the name of a component, got {section!r}")
            node[group] = look_up(group, section["name"])()
        return typing.cast("DictConfig", OmegaConf.merge(node, OmegaConf.create(literal(tree))))


def hash_config(config: RunConfig) -> str:
    """Returns the sha256, in hexadecimal, of what is computed: the same for all seeds, paths, threads and stores."""
    tree = {section: _identity(getattr(config, section)) for section in HASHED_SECTIONS}
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def config_differences(before: RunConfig, after: RunConfig) -> list[str]:
    """Returns a line per value that makes two configs compute different things: ``'seed: 1, was 0'``."""

    def flat(config: RunConfig) -> dict[str, Any]:
        sections = {section: _identity(getattr(config, section)) for section in HASHED_SECTIONS}
        return {"seed": config.seed, **flatten_tree(sections)}

    old, new = flat(before), flat(after)
    return [
        f"{path}: {new.get(path, 'absent')}, was {old.get(path, 'absent')}"
        for path in {**new, **old}
        if new.get(path, MISSING) != old.get(path, MISSING)
    ]


def flatten_config(config: RunConfig) -> dict[str, Any]:
    """Returns the config as one mapping of dotted paths to values, lists kept whole."""
    return flatten_tree(to_tree(config))


def flatten_tree(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a tree as one mapping of dotted paths to values, lists and empty mappings kept whole."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= flatten_tree(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _identity(section: Any) -> dict[str, Any]:  # noqa: ANN401 - any section dataclass
    """Returns what of a section is computed with, a whole number given for a number as that number."""
    hints = typing.get_type_hints(type(section))
    values = {spec.name: getattr(section, spec.name) for spec in dataclasses.fields(section) if rule_of(spec).identity}
    return {
        name: _identity(value) if dataclasses.is_dataclass(value) else float(value) if hints[name] is float else value
        for name, value in values.items()
    }


def literal(node: Any) -> Any:  # noqa: ANN401 - any part of a config
    """Returns a tree in which no text is an interpolation: a resolved config says what it says."""
    if isinstance(node, Mapping):
        return {key: literal(value) for key, value in node.items()}
    if isinstance(node, list):
        return [literal(value) for value in node]
    return node.replace("${", "\\${") if isinstance(node, str) else node

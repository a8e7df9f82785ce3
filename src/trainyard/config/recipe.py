"""How a config differs from the recipe that it was composed from, and the name of its run, which says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from trainyard.config.compose import compose_config
from trainyard.config.labels import build_label, shorten_keys
from trainyard.config.schema import COMPONENT_GROUPS, RunConfig
from trainyard.config.search_path import list_choices
from trainyard.config.security import get_override_key
from trainyard.config.serialization import HASHED_SECTIONS, compare_trees, flatten_tree, select_hashed_values
from trainyard.errors import ConfigError

_RECIPES = "experiment"
_GROUPS = [group for group in COMPONENT_GROUPS if group in HASHED_SECTIONS]
_MAX_DIFFERENCES = 5
"""The maximum number of differences in the name of a run."""
_MAX_WORD = 24
"""The maximum number of characters of a difference."""


def find_recipe_changes(config: RunConfig, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the settings that differ from the config's recipe and affect results, by dotted path, except the seed.

    Another component is the path of its group, with the label of the model or the name of the component, besides the
    settings of the component that are not its defaults. The settings of `overrides`, with which the config was
    composed, are first. If the recipe is unknown, the result has only these settings.
    """
    order = {get_override_key(override): rank for rank, override in enumerate(overrides)}
    recipe = _compose_recipe(config, overrides)
    if recipe:
        changes = _compare(config, recipe)
    else:
        values = flatten_tree(select_hashed_values(config)) | {group: _get_choice(config, group) for group in _GROUPS}
        changes = {path: values[path] for path in order if path in values}

    def get_rank(path: str) -> int:
        return order.get(path, order.get(path.partition(".")[0], len(order)))

    return {path: changes[path] for path in sorted(changes, key=get_rank)}


def build_run_name(config: RunConfig, overrides: Sequence[str] = ()) -> str:
    """Returns the name of a run: its recipe changes, such as ``relu 64 lr0.01 seed3``, else its architecture.

    It ends with the seed, unless the run draws another one.
    """
    changes = find_recipe_changes(config, overrides) or {"model": config.model.label}
    names = shorten_keys(list(changes))
    words = [_shorten(build_label({path: value}, names)) for path, value in changes.items()]
    if len(words) > _MAX_DIFFERENCES:
        words = [*words[: _MAX_DIFFERENCES - 1], f"+{len(words) - _MAX_DIFFERENCES + 1}"]
    seed = [] if config.training.determinism == "off" else [f"seed{config.seed}"]
    return " ".join([*words, *seed])


def _compose_recipe(config: RunConfig, overrides: Sequence[str]) -> RunConfig | None:
    """Composes the recipe of a config: that of the overrides, else the one with the config's name, else no recipe.

    Returns None if it is in a folder that is not searched (``--config-dir``), or invalid.
    """
    chosen = [override.partition("=")[2] for override in overrides if get_override_key(override) == _RECIPES]
    name = chosen[-1] if chosen else config.name
    try:
        return compose_config([f"{_RECIPES}={name}"] if chosen or name in list_choices(_RECIPES) else [])
    except ConfigError:
        return None


def _compare(config: RunConfig, recipe: RunConfig) -> dict[str, Any]:
    """Returns the settings of a config that differ from those of a recipe, by path; see `find_recipe_changes`."""
    chosen = {group: _get_choice(config, group) for group in _GROUPS if _has_other_component(group, config, recipe)}
    components = {group: getattr(config, group) for group in chosen}
    defaults = {group: value if group == "model" else type(value)() for group, value in components.items()}
    before = select_hashed_values(dataclasses.replace(recipe, **defaults))
    return chosen | {path: value for path, _, value in compare_trees(before, select_hashed_values(config))}


def _has_other_component(group: str, config: RunConfig, recipe: RunConfig) -> bool:
    """Returns whether two configs have different components of a group."""
    return bool(getattr(config, group).name != getattr(recipe, group).name)


def _get_choice(config: RunConfig, group: str) -> str:
    """Returns the label of the model, or the name of the component of another group."""
    return str(config.model.label if group == "model" else getattr(config, group).name)


def _shorten(word: str) -> str:
    """Returns a text with a limited length."""
    return word if len(word) <= _MAX_WORD else f"{word[: _MAX_WORD - 1]}…"

"""The differences between a config and the recipe that it was composed from, and the name of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from trainyard.config.compose import compose_config
from trainyard.config.labels import build_label, shorten_keys
from trainyard.config.schema import COMPONENT_GROUPS, RunConfig
from trainyard.config.search_path import list_choices
from trainyard.config.security import get_override_key
from trainyard.config.serialization import HASHED_SECTIONS, compare_trees, flatten_tree, select_hashed_values

RECIPES = "experiment"
"""The config group of the recipes."""

_GROUPS = [group for group in COMPONENT_GROUPS if group in HASHED_SECTIONS]
_SECTIONS = [*HASHED_SECTIONS[1:], HASHED_SECTIONS[0]]
"""The sections in the order of their settings in a name: the model first, the data set last."""
_MAX_DIFFERENCES = 5
"""The maximum number of differences in the name of a run."""
_MAX_WORD = 24
"""The maximum number of characters of a difference."""


def find_recipe(config: RunConfig, overrides: Sequence[str] = ()) -> str | None:
    """Returns the name of the recipe that a config was composed from with these overrides; None if there is none."""
    chosen = [override.partition("=")[2] for override in overrides if get_override_key(override) == RECIPES]
    return chosen[-1] if chosen else config.name if config.name in list_choices(RECIPES) else None


def select_notes(config: RunConfig, overrides: Sequence[str]) -> str:
    """Returns the notes of a config; empty if they are those of a recipe of which overrides change the result.

    The notes of a recipe describe its architecture and its results, which an override may change.
    """
    keys = [get_override_key(override) for override in overrides]
    return "" if "notes" not in keys and _select_overridden(config, keys) else config.notes


def find_recipe_changes(config: RunConfig, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the settings that differ from the config's recipe and affect results, by dotted path, except the seed.

    Another component is the path of its group, with the label of the model or the name of the component, besides the
    settings of the component that are not its defaults.

    Args:
        config: The config.
        overrides: The overrides with which it was composed: the settings that they change are first, in their order.
            If their recipe is not found, because it is in another folder (``--config-dir``), they are the result.
    """
    order = [get_override_key(override) for override in overrides]
    name = find_recipe(config, overrides)
    if name is None:
        changes = _compare(config, compose_config([]))
    elif name in list_choices(RECIPES):
        changes = _compare(config, compose_config([f"{RECIPES}={name}"]))
    else:
        changes = _select_overridden(config, order)

    def rank(path: str) -> tuple[int, int]:
        place = next((order.index(key) for key in (path, path.partition(".")[0]) if key in order), len(order))
        return place, _SECTIONS.index(path.partition(".")[0])

    return {path: changes[path] for path in sorted(changes, key=rank)}


def _compare(config: RunConfig, recipe: RunConfig) -> dict[str, Any]:
    """Returns the settings of a config that differ from those of a recipe; see `find_recipe_changes`."""
    chosen = {
        group: _describe_component(config, group)
        for group in _GROUPS
        if getattr(config, group).name != getattr(recipe, group).name
    }
    components = {group: getattr(config, group) for group in chosen}
    defaults = {group: value if group == "model" else type(value)() for group, value in components.items()}
    before = select_hashed_values(dataclasses.replace(recipe, **defaults))
    return chosen | {path: value for path, _, value in compare_trees(before, select_hashed_values(config))}


def build_run_name(config: RunConfig, recipe_changes: Mapping[str, Any]) -> str:
    """Returns the name of a run: its recipe changes, such as ``relu 64 lr0.01 seed3``, else its architecture.

    It ends with the seed, unless the run draws another one. For `recipe_changes`, see `find_recipe_changes`.
    """
    changes = recipe_changes or {"model": config.model.label}
    names = shorten_keys(list(changes))
    words = [_shorten(build_label({path: value}, names)) for path, value in changes.items()]
    if len(words) > _MAX_DIFFERENCES:
        words = [*words[: _MAX_DIFFERENCES - 1], f"+{len(words) - _MAX_DIFFERENCES + 1}"]
    seed = [] if config.training.determinism == "off" else [f"seed{config.seed}"]
    return " ".join([*words, *seed])


def _select_overridden(config: RunConfig, keys: Sequence[str]) -> dict[str, Any]:
    """Returns the settings with these keys of overrides that affect results; see `find_recipe_changes`."""
    values = flatten_tree(select_hashed_values(config))
    values |= {group: _describe_component(config, group) for group in _GROUPS}
    chosen = {path: values[path] for key in keys for path in values if key == path or _is_item(key, path)}
    return {key: value for key, value in chosen.items() if "model" not in chosen or not key.startswith("model.")}


def _is_item(key: str, path: str) -> bool:
    """Returns whether a key is that of an item of the list or mapping at a path: ``model.hidden_units.0``."""
    return path not in _GROUPS and key.startswith(f"{path}.")


def _describe_component(config: RunConfig, group: str) -> str:
    """Returns the label of the model, or the name of the component of another group."""
    return str(config.model.label if group == "model" else getattr(config, group).name)


def _shorten(word: str) -> str:
    """Returns a text with a limited length."""
    return word if len(word) <= _MAX_WORD else f"{word[: _MAX_WORD - 1]}…"

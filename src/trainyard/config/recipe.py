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

RECIPES = "experiment"
"""The config group of the recipes."""

_GROUPS = [group for group in COMPONENT_GROUPS if group in HASHED_SECTIONS]
_MAX_DIFFERENCES = 5
"""The maximum number of differences in the name of a run."""
_MAX_WORD = 24
"""The maximum number of characters of a difference."""


def find_recipe_changes(config: RunConfig, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the settings that differ from the config's recipe and affect results, by dotted path, except the seed.

    Another component is the path of its group, with the label of the model or the name of the component, besides the
    settings of the component that are not its defaults.

    Args:
        config: The config.
        overrides: The overrides with which it was composed. They are the result, in their order. Without overrides, the
            config is compared with the recipe that has its name, which is composed in a tenth of a second.
    """
    if overrides:
        return _select_overridden(config, overrides)
    recipe = compose_config([f"{RECIPES}={config.name}"] if config.name in list_choices(RECIPES) else [])
    chosen = {
        group: _describe_component(config, group)
        for group in _GROUPS
        if getattr(config, group).name != getattr(recipe, group).name
    }
    components = {group: getattr(config, group) for group in chosen}
    defaults = {group: value if group == "model" else type(value)() for group, value in components.items()}
    before = select_hashed_values(dataclasses.replace(recipe, **defaults))
    changes = chosen | {path: value for path, _, value in compare_trees(before, select_hashed_values(config))}
    return {path: changes[path] for path in sorted(changes, key=_rank_section)}


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


def _select_overridden(config: RunConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Returns the settings of overrides that affect results; see `find_recipe_changes`."""
    values = flatten_tree(select_hashed_values(config))
    values |= {group: _describe_component(config, group) for group in _GROUPS}
    chosen = {key: values[key] for key in map(get_override_key, overrides) if key in values}
    return {key: value for key, value in chosen.items() if "model" not in chosen or not key.startswith("model.")}


def _rank_section(path: str) -> int:
    """Returns a number that sorts settings by section: the model first, the data set last."""
    sections = [*HASHED_SECTIONS[1:], HASHED_SECTIONS[0]]
    return sections.index(path.partition(".")[0])


def _describe_component(config: RunConfig, group: str) -> str:
    """Returns the label of the model, or the name of the component of another group."""
    return str(config.model.label if group == "model" else getattr(config, group).name)


def _shorten(word: str) -> str:
    """Returns a text with a limited length."""
    return word if len(word) <= _MAX_WORD else f"{word[: _MAX_WORD - 1]}…"

"""Describes all config fields as data, from which the Markdown page and the JSON Schemas are built.

The meaning of a field is the string below the field in its source code, also for components of plugins.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import operator
import textwrap
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from trainyard.config.compose import PRIMARY_CONFIG
from trainyard.config.fields import Rule, find_value_problem, get_rule
from trainyard.config.recipe import RECIPES
from trainyard.config.registry import BASE_PREFIX, get_registered_components
from trainyard.config.schema import COMPONENT_GROUPS, RunConfig
from trainyard.config.search_path import list_choices, list_config_folders, prepare_hydra
from trainyard.config.serialization import flatten_tree
from trainyard.errors import ConfigError


@dataclass(frozen=True, slots=True)
class FieldDoc:
    """The description of a config field."""

    path: str
    annotation: Any
    rule: Rule
    default: Any
    meaning: str
    """The string below the field in the source code; empty if there is none."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class VariationDoc:
    """The description of a YAML file in a config group: a component with other values, or a recipe."""

    name: str
    summary: str
    component: str | None
    """The component whose values it sets; None if it is not based on a component."""
    values: dict[str, Any]
    """The values that it sets, by dotted path from the root of the config."""


@dataclass(frozen=True, slots=True, eq=False)
class SectionDoc:
    """The description of a config section, or of a component, whose path is its group."""

    path: str
    name: str
    summary: str
    fields: tuple[FieldDoc, ...]
    """The fields. For a group, the fields of the base class of its components."""
    sections: tuple[SectionDoc, ...] = ()
    default_choice: str | None = None
    """The default choice of the group; None if the section is not a group."""
    components: tuple[SectionDoc, ...] = ()
    """The components of the group, each with all of its fields."""
    variations: tuple[VariationDoc, ...] = ()
    """The YAML files of the group. For the complete config, the recipes."""

    @property
    def choices(self) -> dict[str, str | None]:
        """The choices of this group, sorted, each with the component that it selects."""
        by_name: dict[str, str | None] = {component.name: component.name for component in self.components}
        return dict(sorted((by_name | {variation.name: variation.component for variation in self.variations}).items()))


@dataclass(frozen=True, slots=True)
class ArgumentType:
    """The values that an argument of a Keras layer accepts."""

    name: str
    """Name in the JSON Schema, such as ``count``."""
    description: str
    """The accepted values in words, for a message after "expected"."""
    rule: Rule

    def accepts(self, value: Any) -> bool:  # noqa: ANN401 - any value
        """Returns whether a value is accepted."""
        return find_value_problem(value, Any, self.rule) is None


@dataclass(frozen=True, slots=True)
class LayerDoc:
    """A Keras layer that a config may use."""

    name: str
    arguments: Mapping[str, ArgumentType]
    required: Sequence[str]
    """The arguments without a default."""


def describe_config() -> SectionDoc:
    """Returns the description of the complete config, with the components of plugins and the YAML files of ./conf."""
    prepare_hydra()
    return dataclasses.replace(_describe_section(RunConfig, ""), variations=_describe_variations(RECIPES))


def _describe_section(cls: type[Any], path: str, name: str | None = None) -> SectionDoc:
    """Returns the description of a dataclass. Fields that are dataclasses or component groups are nested sections."""
    hints, meanings = typing.get_type_hints(cls), _read_meanings(cls)
    fields: list[FieldDoc] = []
    sections: list[SectionDoc] = []
    for spec in dataclasses.fields(cls):
        dotted = f"{path}.{spec.name}" if path else spec.name
        annotation = hints[spec.name]
        if dotted in COMPONENT_GROUPS:
            sections.append(_describe_group(dotted))
        elif isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
            sections.append(_add_choices(_describe_section(annotation, dotted)))
        elif not (name and spec.name == "name"):  # the name of a component selects it and is not a field to set
            default = spec.default if spec.default_factory is dataclasses.MISSING else spec.default_factory()
            fields.append(FieldDoc(dotted, annotation, get_rule(spec), default, meanings.get(spec.name, "")))
    summary = _format_docstring((cls.__doc__ or "").strip().partition("\n")[0])
    return SectionDoc(path, name or path.rpartition(".")[2], summary, tuple(fields), tuple(sections))


def _describe_group(group: str) -> SectionDoc:
    """Returns the description of a group: the fields of the common base class, and each component."""
    classes = get_registered_components(group)
    members = [*classes.values()]
    base = next(
        cls for cls in members[0].__mro__ if cls not in members and all(issubclass(other, cls) for other in members)
    )
    return dataclasses.replace(
        _add_choices(_describe_section(base, group, group)),
        summary=_describe_section(COMPONENT_GROUPS[group], group).summary,
        components=tuple(_describe_section(cls, group, name) for name, cls in sorted(classes.items())),
    )


def _read_meanings(cls: type[Any]) -> dict[str, str]:
    """Returns the strings below the fields of a class and its base classes, by field, if the source is available."""
    meanings: dict[str, str] = {}
    for parent in filter(dataclasses.is_dataclass, reversed(cls.__mro__)):
        try:
            statements = list(ast.walk(ast.parse(textwrap.dedent(inspect.getsource(parent)))))[1].body  # type: ignore[attr-defined]
        except (OSError, TypeError, SyntaxError):  # for example, a class defined in an interpreter
            continue
        for pair in itertools.pairwise(statements):
            match pair:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    meanings[name] = _format_docstring(text)
    return meanings


def _format_docstring(text: str) -> str:
    """Returns a docstring as one line of Markdown, with single backticks around code."""
    return " ".join(text.replace("``", "`").split())


# ---------------------------------------------------------------------------------------------------------------
# From YAML files


def _add_choices(section: SectionDoc) -> SectionDoc:
    """Returns the description of a section with its default choice in the primary config and its YAML files."""
    entries = (entry for entry in _read_yaml(f"{PRIMARY_CONFIG}.yaml").defaults if isinstance(entry, dict))
    default = next((str(entry[section.path]) for entry in entries if entry.get(section.path)), None)
    return dataclasses.replace(section, default_choice=default, variations=_describe_variations(section.path))


def _describe_variations(group: str) -> tuple[VariationDoc, ...]:
    """Returns the descriptions of the YAML files of a group, except files that set no values of their component."""
    registered = get_registered_components(group)
    variations = []
    for name in list_choices(group):
        file = _read_yaml(f"{group}/{name}.yaml")
        prose = (line for line in file.comment if not line.startswith(("@package", "yaml-language-server:")))
        summary = " ".join(itertools.takewhile(bool, itertools.dropwhile(operator.not_, prose)))
        values = flatten_tree(file.values, "" if "@package _global_" in file.comment else f"{group}.")
        if name not in registered or values:
            variations.append(VariationDoc(name, summary, _find_component(group, name), values))
    return tuple(variations)


def _find_component(group: str, name: str, seen: tuple[str, ...] = ()) -> str | None:
    """Returns the component that a choice of a group selects, by following the first entry of each defaults list."""
    registered, entries = get_registered_components(group), _read_yaml(f"{group}/{name}.yaml").defaults
    extended = [entry for entry in entries if isinstance(entry, str) and entry != "_self_"]
    if name in registered and not extended:
        return name
    if not extended or name in seen:
        return None
    if (base := extended[0].removeprefix(BASE_PREFIX)) != extended[0]:
        return base if base in registered else None
    return _find_component(group, base, (*seen, name))


class _ConfigFile(NamedTuple):
    """The values, Hydra's defaults list and the leading comment lines of a YAML file."""

    values: dict[str, Any]
    defaults: list[Any]
    comment: list[str]


def _read_yaml(name: str) -> _ConfigFile:
    """Reads the first file with a name in the search path. Without a file, everything is empty."""
    path = next((folder / name for folder in list_config_folders() if (folder / name).is_file()), None)
    if path is None:
        return _ConfigFile({}, [], [])
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.safe_load(text) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected YAML, but it cannot be read: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of fields to values, got {type(tree).__name__}")
    defaults = tree.pop("defaults", None)
    comment = itertools.takewhile(lambda line: line[:1] == "#", text.splitlines())
    lines = [line.removeprefix("#").strip() for line in comment]
    return _ConfigFile(tree, defaults if isinstance(defaults, list) else [], lines)

"""Every field of a config, as data: where it stands, what it takes, what it is when nothing is said, what it means.

The meaning is the string under the field in the source, so it is written once. Components of plugins are told from
their own source.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import operator
import textwrap
import typing
from dataclasses import dataclass
from typing import Any

import yaml

from trainyard.config.compose import PRIMARY, flatten_tree
from trainyard.config.fields import Rule, rule_of
from trainyard.config.registry import BASE_PREFIX, components
from trainyard.config.schema import COMPONENT_GROUPS, RunConfig
from trainyard.config.search_path import choices, conf_folders, prepare_hydra
from trainyard.errors import ConfigError

RECIPES = "experiment"
"""The group of whole recipes."""


@dataclass(frozen=True, slots=True)
class FieldDoc:
    """A field.

    Attributes:
        path: Dotted, ``optimizer.learning_rate``.
        kind: Its annotation.
        rule: What it accepts beyond that.
        default: The value when the config is silent.
        meaning: What the source says under it; empty where it says nothing.
    """

    path: str
    kind: Any
    rule: Rule
    default: Any
    meaning: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class VariationDoc:
    """A YAML file of a group: a component with other values, or a whole recipe.

    Attributes:
        name: What it is chosen by.
        purpose: The first paragraph of its comment.
        component: The component that it varies; None where it is not one that a component stands behind.
        values: What it says, by dotted path from the root of the config.
    """

    name: str
    purpose: str
    component: str | None
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SectionDoc:
    """A section, or one of the components that may stand in its place.

    Attributes:
        path: Dotted; empty for the whole config; of a component its group.
        name: The last part of the path; of a component what it is chosen by.
        purpose: The first line of its docstring.
        fields: Its fields; of a group those that all its components have from their base.
        sections: The sections within.
        chosen: What is chosen in this group when nothing is said; None where it is no group.
        components: What may be chosen, each with all its fields.
        variations: The YAML files that may be chosen too.
    """

    path: str
    name: str
    purpose: str
    fields: tuple[FieldDoc, ...]
    sections: tuple[SectionDoc, ...] = ()
    chosen: str | None = None
    components: tuple[SectionDoc, ...] = ()
    variations: tuple[VariationDoc, ...] = ()

    @property
    def choices(self) -> dict[str, str | None]:
        """What may be chosen in this group, sorted, each with the component that stands behind it."""
        found: dict[str, str | None] = {component.name: component.name for component in self.components}
        return dict(sorted((found | {variation.name: variation.component for variation in self.variations}).items()))

    def own_fields(self, component: SectionDoc) -> tuple[FieldDoc, ...]:
        """Returns what a component of this group adds to the common fields or has otherwise."""
        return tuple(doc for doc in component.fields if doc not in self.fields)


def describe_config() -> SectionDoc:
    """Returns the whole config, with the components of plugins and the variations that are found from here.

    Raises:
        ConfigError: If a plugin can't be imported, or a YAML file is none.
    """
    prepare_hydra()
    return _describe_section(RunConfig, "")


def describe_recipes() -> tuple[VariationDoc, ...]:
    """Returns the recipes that are found from here.

    Raises:
        ConfigError: If a YAML file is none.
    """
    return _variations(RECIPES)


def _describe_section(cls: type[Any], path: str, name: str | None = None) -> SectionDoc:
    """Describes a dataclass; a field that is one itself, or a group of components, becomes a section of it."""
    hints = typing.get_type_hints(cls)
    fields, sections = [], []
    for spec in dataclasses.fields(cls):
        dotted = f"{path}.{spec.name}" if path else spec.name
        kind = hints[spec.name]
        if dotted in COMPONENT_GROUPS:
            sections.append(_describe_group(dotted))
        elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
            section = _describe_section(kind, dotted)
            sections.append(dataclasses.replace(section, chosen=_chosen(dotted), variations=_variations(dotted)))
        elif not (name and spec.name == "name"):  # a component's name is no setting, but which component it is
            fields.append(FieldDoc(dotted, kind, rule_of(spec), _default(spec), _meaning(cls, spec.name)))
    return SectionDoc(path, name or path.rpartition(".")[2], _first_line(cls), tuple(fields), tuple(sections))


def _describe_group(group: str) -> SectionDoc:
    """Describes a group: what its components have from the nearest base they share, and each of them."""
    classes = components(group)
    members = [*classes.values()]
    base = next(
        cls for cls in members[0].__mro__ if cls not in members and all(issubclass(other, cls) for other in members)
    )
    common = _describe_section(base, group, group)
    return dataclasses.replace(
        common,
        purpose=_first_line(COMPONENT_GROUPS[group]),
        chosen=_chosen(group),
        components=tuple(_describe_section(cls, group, name) for name, cls in sorted(classes.items())),
        variations=_variations(group),
    )


# ---------------------------------------------------------------------------------------------------------------
# What the source says


def _first_line(cls: type[Any]) -> str:
    return _plain((cls.__doc__ or "").strip().partition("\n")[0])


def _default(spec: dataclasses.Field[Any]) -> Any:  # noqa: ANN401 - any field
    return spec.default if spec.default_factory is dataclasses.MISSING else spec.default_factory()


def _meaning(cls: type[Any], field: str) -> str:
    """Returns the string under a field, in the class or the nearest base that has one."""
    found = (_strings_under_fields(parent).get(field) for parent in cls.__mro__ if dataclasses.is_dataclass(parent))
    return next((_plain(text) for text in found if text), "")


@functools.cache
def _strings_under_fields(cls: type[Any]) -> dict[str, str]:
    """Reads the source of a class: what stands as a string right after a field; nothing where there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):  # typed into an interpreter
        return {}
    (definition,) = tree.body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        statement.target.id: following.value.value
        for statement, following in itertools.pairwise(body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
        and isinstance(following.value.value, str)
    }


def _plain(text: str) -> str:
    """Returns a docstring as Markdown on one line: code between single backticks."""
    return " ".join(text.replace("``", "`").split())


# ---------------------------------------------------------------------------------------------------------------
# What the YAML files say


def _chosen(group: str) -> str | None:
    """Returns what the primary config chooses in a group; None where it is no group."""
    entries = _defaults(_read_yaml(f"{PRIMARY}.yaml").tree)
    chosen = [entry[group] for entry in entries if isinstance(entry, dict) and entry.get(group)]
    return str(chosen[0]) if chosen else None


def _variations(group: str) -> tuple[VariationDoc, ...]:
    """Describes the YAML files of a group, except those that say no more than the component of their name."""
    registered = components(group)
    found = []
    for name in choices(group) if group else []:
        file = _read_yaml(f"{group}/{name}.yaml")
        values = flatten_tree(
            {key: value for key, value in file.tree.items() if key != "defaults"}, file.package(group)
        )
        if name not in registered or values:
            found.append(VariationDoc(name, file.comment, _component_behind(group, name), values))
    return tuple(found)


def _component_behind(group: str, name: str, seen: tuple[str, ...] = ()) -> str | None:
    """Returns the component that a choice of a group ends at, by the first of each defaults list."""
    entries = _defaults(_read_yaml(f"{group}/{name}.yaml").tree)
    extended = [entry for entry in entries if isinstance(entry, str) and entry != "_self_"]
    if name in components(group) and not extended:
        return name
    if not extended or name in seen:
        return None
    if (base := extended[0].removeprefix(BASE_PREFIX)) != extended[0]:
        return base if base in components(group) else None
    return _component_behind(group, base, (*seen, name))


def _defaults(tree: dict[str, Any]) -> list[Any]:
    entries = tree.get("defaults")
    return entries if isinstance(entries, list) else []


@dataclass(frozen=True, slots=True)
class _YamlFile:
    """A YAML file of a group: what it says, the first paragraph of its comment, all its lines of comment."""

    tree: dict[str, Any]
    comment: str
    remarks: tuple[str, ...] = ()

    def package(self, group: str) -> str:
        """Returns what is put before its paths: nothing where it speaks of the whole config, else its group's."""
        return "" if "@package _global_" in self.remarks else f"{group}."


def _read_yaml(name: str) -> _YamlFile:
    """Returns the first file of that name; of none, an empty one."""
    path = next((folder / name for folder in conf_folders() if (folder / name).is_file()), None)
    if path is None:
        return _YamlFile({}, "")
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.safe_load(text) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected YAML; it can't be read: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of fields to values, got {type(tree).__name__}")
    remarks = [
        line.removeprefix("#").strip() for line in itertools.takewhile(lambda line: line[:1] == "#", text.splitlines())
    ]
    prose = (words for words in remarks if not words.startswith(("@package", "yaml-language-server:")))
    paragraph = itertools.takewhile(bool, itertools.dropwhile(operator.not_, prose))
    return _YamlFile(tree, " ".join(paragraph), tuple(remarks))

"""Describes all config fields as data: path, type, range, default and meaning.

The meaning of a field is the string below the field in its source code. Components of plugins are described from the
source code of the plugin.
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

from trainyard.config.compose import PRIMARY_CONFIG
from trainyard.config.fields import Rule, get_rule
from trainyard.config.registry import BASE_PREFIX, get_registered_components
from trainyard.config.schema import COMPONENT_GROUPS, RunConfig
from trainyard.config.search_path import list_choices, list_config_folders, prepare_hydra
from trainyard.config.serialization import flatten_tree
from trainyard.errors import ConfigError

RECIPES = "experiment"
"""The config group of the recipes."""


@dataclass(frozen=True, slots=True)
class FieldDoc:
    """The description of a config field.

    Attributes:
        path: The dotted path, such as ``optimizer.learning_rate``.
        annotation: The type annotation.
        rule: The range or the choices.
        default: The default value.
        meaning: The string below the field in the source code; empty if there is none.
    """

    path: str
    annotation: Any
    rule: Rule
    default: Any
    meaning: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class VariationDoc:
    """The description of a YAML file in a config group: a component with other values, or a recipe.

    Attributes:
        name: The name by which it is selected.
        summary: The first paragraph of its leading comment.
        component: The component whose values it sets; None if it is not based on a component.
        values: The values that it sets, by dotted path from the root of the config.
    """

    name: str
    summary: str
    component: str | None
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SectionDoc:
    """The description of a config section, or of a component.

    Attributes:
        path: The dotted path; empty for the complete config. The path of a component is its group.
        name: The last part of the path. The name of a component is the name by which it is selected.
        summary: The first line of the docstring.
        fields: The fields. For a group, the fields of the base class of its components.
        sections: The nested sections.
        default_choice: The default choice of the group; None if the section is not a group.
        components: The components of the group, each with all of its fields.
        variations: The YAML files of the group.
    """

    path: str
    name: str
    summary: str
    fields: tuple[FieldDoc, ...]
    sections: tuple[SectionDoc, ...] = ()
    default_choice: str | None = None
    components: tuple[SectionDoc, ...] = ()
    variations: tuple[VariationDoc, ...] = ()

    @property
    def choices(self) -> dict[str, str | None]:
        """The choices of this group, sorted, each with the component that it selects."""
        by_name: dict[str, str | None] = {component.name: component.name for component in self.components}
        return dict(sorted((by_name | {variation.name: variation.component for variation in self.variations}).items()))

    def specific_fields(self, component: SectionDoc) -> tuple[FieldDoc, ...]:
        """Returns the fields of a component that are not among the common fields of this group, or differ from them."""
        return tuple(doc for doc in component.fields if doc not in self.fields)


def describe_config() -> SectionDoc:
    """Returns the description of the complete config, with the components of plugins and the YAML files of ./conf.

    Raises:
        ConfigError: If a plugin cannot be imported or a YAML file is invalid.
    """
    prepare_hydra()
    return _describe_section(RunConfig, "")


def describe_recipes() -> tuple[VariationDoc, ...]:
    """Returns the descriptions of all recipes, including those in ./conf.

    Raises:
        ConfigError: If a YAML file is invalid.
    """
    return _describe_variations(RECIPES)


def _describe_section(cls: type[Any], path: str, name: str | None = None) -> SectionDoc:
    """Returns the description of a dataclass. Fields that are dataclasses or component groups are nested sections."""
    hints = typing.get_type_hints(cls)
    fields, sections = [], []
    for spec in dataclasses.fields(cls):
        dotted = f"{path}.{spec.name}" if path else spec.name
        annotation = hints[spec.name]
        if dotted in COMPONENT_GROUPS:
            sections.append(_describe_group(dotted))
        elif isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
            section = _describe_section(annotation, dotted)
            sections.append(
                dataclasses.replace(
                    section, default_choice=_find_default_choice(dotted), variations=_describe_variations(dotted)
                )
            )
        elif not (name and spec.name == "name"):  # the name of a component selects it and is not a field to set
            fields.append(
                FieldDoc(dotted, annotation, get_rule(spec), _get_default(spec), _find_meaning(cls, spec.name))
            )
    return SectionDoc(path, name or path.rpartition(".")[2], _get_summary(cls), tuple(fields), tuple(sections))


def _describe_group(group: str) -> SectionDoc:
    """Returns the description of a group: the fields of the common base class, and each component."""
    classes = get_registered_components(group)
    members = [*classes.values()]
    base = next(
        cls for cls in members[0].__mro__ if cls not in members and all(issubclass(other, cls) for other in members)
    )
    common = _describe_section(base, group, group)
    return dataclasses.replace(
        common,
        summary=_get_summary(COMPONENT_GROUPS[group]),
        default_choice=_find_default_choice(group),
        components=tuple(_describe_section(cls, group, name) for name, cls in sorted(classes.items())),
        variations=_describe_variations(group),
    )


# ---------------------------------------------------------------------------------------------------------------
# From source code


def _get_summary(cls: type[Any]) -> str:
    """Returns the first line of the docstring of a class as Markdown; empty without a docstring."""
    return _format_docstring((cls.__doc__ or "").strip().partition("\n")[0])


def _get_default(spec: dataclasses.Field[Any]) -> Any:  # noqa: ANN401 - any field
    """Returns the default value of a field, which may be created by a default factory."""
    return spec.default if spec.default_factory is dataclasses.MISSING else spec.default_factory()


def _find_meaning(cls: type[Any], field: str) -> str:
    """Returns the string below a field, from the class or the nearest base class that has one."""
    texts = (
        _read_strings_under_fields(parent).get(field) for parent in cls.__mro__ if dataclasses.is_dataclass(parent)
    )
    return next((_format_docstring(text) for text in texts if text), "")


@functools.cache
def _read_strings_under_fields(cls: type[Any]) -> dict[str, str]:
    """Returns the strings below the fields of a class, by field name; empty if the source code is not available."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):  # for example, a class defined in an interpreter
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


def _format_docstring(text: str) -> str:
    """Returns a docstring as one line of Markdown, with single backticks around code."""
    return " ".join(text.replace("``", "`").split())


# ---------------------------------------------------------------------------------------------------------------
# From YAML files


def _find_default_choice(group: str) -> str | None:
    """Returns the default choice of a group in the primary config; None if it is not a group."""
    entries = _get_defaults_list(_read_yaml(f"{PRIMARY_CONFIG}.yaml").tree)
    choices = [entry[group] for entry in entries if isinstance(entry, dict) and entry.get(group)]
    return str(choices[0]) if choices else None


def _describe_variations(group: str) -> tuple[VariationDoc, ...]:
    """Returns the descriptions of the YAML files of a group, except files that set no values of their component."""
    registered = get_registered_components(group)
    variations = []
    for name in list_choices(group) if group else []:
        file = _read_yaml(f"{group}/{name}.yaml")
        values = flatten_tree(
            {key: value for key, value in file.tree.items() if key != "defaults"}, file.package(group)
        )
        if name not in registered or values:
            variations.append(VariationDoc(name, file.comment, _find_component(group, name), values))
    return tuple(variations)


def _find_component(group: str, name: str, seen: tuple[str, ...] = ()) -> str | None:
    """Returns the component that a choice of a group selects, by following the first entry of each defaults list."""
    entries = _get_defaults_list(_read_yaml(f"{group}/{name}.yaml").tree)
    extended = [entry for entry in entries if isinstance(entry, str) and entry != "_self_"]
    if name in get_registered_components(group) and not extended:
        return name
    if not extended or name in seen:
        return None
    if (base := extended[0].removeprefix(BASE_PREFIX)) != extended[0]:
        return base if base in get_registered_components(group) else None
    return _find_component(group, base, (*seen, name))


def _get_defaults_list(tree: dict[str, Any]) -> list[Any]:
    """Returns the entries of Hydra's defaults list in a YAML file; empty if the file has none."""
    entries = tree.get("defaults")
    return entries if isinstance(entries, list) else []


@dataclass(frozen=True, slots=True)
class _YamlFile:
    """A YAML file of a group.

    Attributes:
        tree: The values.
        comment: The first paragraph of the leading comment.
        comment_lines: All lines of the leading comment.
    """

    tree: dict[str, Any]
    comment: str
    comment_lines: tuple[str, ...] = ()

    def package(self, group: str) -> str:
        """Returns the prefix of its paths: empty if the package is global, else the group."""
        return "" if "@package _global_" in self.comment_lines else f"{group}."


def _read_yaml(name: str) -> _YamlFile:
    """Returns the first file with a name in the search path, or an empty file if there is none."""
    path = next((folder / name for folder in list_config_folders() if (folder / name).is_file()), None)
    if path is None:
        return _YamlFile({}, "")
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.safe_load(text) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected YAML, but it cannot be read: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of fields to values, got {type(tree).__name__}")
    comment_lines = [
        line.removeprefix("#").strip() for line in itertools.takewhile(lambda line: line[:1] == "#", text.splitlines())
    ]
    prose = (line for line in comment_lines if not line.startswith(("@package", "yaml-language-server:")))
    paragraph = itertools.takewhile(bool, itertools.dropwhile(operator.not_, prose))
    return _YamlFile(tree, " ".join(paragraph), tuple(comment_lines))

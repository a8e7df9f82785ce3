"""Builds JSON Schemas of the config, with which editors validate and complete YAML files."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from trainyard.config.fields import Rule
from trainyard.config.reference.fields import RECIPES, FieldDoc, SectionDoc
from trainyard.config.reference.layers import ArgumentType, LayerDoc
from trainyard.config.registry import BASE_PREFIX, format_unknown_name, get_registered_metrics
from trainyard.config.validation import is_optional, list_accepted_types
from trainyard.errors import ConfigError

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"

RECIPE, RESOLVED = "recipe", "config"
"""The targets of a schema besides the groups: a file in conf/experiment/, and the config.yaml of a run."""

_INTERPOLATION = r"\$\{"
"""Matches a string with an interpolation, such as ``${optimizer.learning_rate}``."""

_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}

_RECIPE_GROUPS = (RECIPES, "sweep")
"""The groups whose files set values of the complete config."""


def build_json_schema(config: SectionDoc, layers: Sequence[LayerDoc], target: str = RECIPE) -> Schema:
    """Builds a JSON Schema, draft 2020-12.

    Args:
        config: The description of the complete config; see `describe_config`.
        layers: The layers that ``model.layers`` may list.
        target: `RECIPE`, `RESOLVED`, or a group whose YAML files are to be validated.

    Raises:
        ConfigError: If the target is unknown.
    """
    groups = {section.path: section for section in config.sections if section.default_choice}
    target = RECIPE if target in _RECIPE_GROUPS else target
    if target not in list_schema_targets(config):
        raise ConfigError(format_unknown_name("--for", "unknown target", target, list_schema_targets(config)))
    builder = _SchemaBuilder(literal=target == RESOLVED, file_of=target if target in groups else "")
    definitions: Schema = builder.layers(layers)
    for section in [groups[target]] if target in groups else config.sections:
        definitions |= builder.section(section)
    if target in groups:
        root = builder.group_file(groups[target], definitions)
    else:
        root = builder.mapping(config, {section.path: _build_reference(section.path) for section in config.sections})
        if target == RECIPE:
            root = builder.recipe(root, groups.values())
    return {"$schema": DRAFT, "title": f"Trainyard: {target}", **root, "$defs": definitions}


def list_schema_targets(config: SectionDoc) -> list[str]:
    """Returns the targets of a schema: a recipe, a resolved config, and the files of each group."""
    return [RECIPE, RESOLVED, *(section.path for section in config.sections if section.default_choice)]


@dataclass(frozen=True, slots=True)
class _SchemaBuilder:
    """Builds the parts of a schema.

    Attributes:
        literal: Whether values are literal: a resolved config has no interpolations.
        file_of: The group whose files are described, which contain a defaults list; empty if there is none.
    """

    literal: bool
    file_of: str

    def section(self, section: SectionDoc) -> Schema:
        """Returns the definitions of a section, its nested sections and its components."""
        definitions: Schema = {}
        for inner in section.sections:
            definitions |= self.section(inner)
        extra = {inner.name: _build_reference(inner.path) for inner in section.sections}
        if section.path == self.file_of:
            extra["defaults"] = _build_defaults_list(section)
        if not section.components:
            return {**definitions, section.path: self.mapping(section, extra)}
        common, references = f"{section.path}.*", []
        definitions[common] = self.mapping(section, {})
        for component in section.components:
            properties = {"name": {"const": component.name}, **extra}
            properties |= {doc.name: _build_reference(f"{common}/properties/{doc.name}") for doc in section.fields}
            schema = self.mapping(dataclasses.replace(component, fields=section.specific_fields(component)), properties)
            if self.literal:
                schema["required"] = ["name"]
            definitions[f"{section.path}.{component.name}"] = schema
            references.append(_build_reference(f"{section.path}.{component.name}"))
        return {**definitions, section.path: {"description": section.summary, "anyOf": references}}

    def mapping(self, section: SectionDoc, other_properties: Schema) -> Schema:
        """Returns the schema of a section with its fields and other properties. No other keys are allowed."""
        return {
            "description": section.summary,
            "type": "object",
            "properties": {**other_properties, **{doc.name: self.field(doc) for doc in section.fields}},
            "additionalProperties": False,
        }

    def field(self, doc: FieldDoc) -> Schema:
        """Returns the schema of a field."""
        options = [
            *list_accepted_types(doc.annotation, doc.rule),
            *([type(None)] if is_optional(doc.annotation) else []),
        ]
        return {"description": doc.meaning, **self.value(options, doc.rule), "default": doc.default}

    def value(self, options: Iterable[Any], rule: Rule) -> Schema:
        """Returns the schema of a value of one of several types. Unless `literal`, it also accepts an interpolation.

        The keywords of all types are in one schema, because JSON Schema ignores those of other types.
        """
        schema: Schema = {"type": []}
        for option in options:
            arguments = typing.get_args(option)
            if arguments and typing.get_origin(option) is list:
                schema["type"].append("array")
                schema["items"] = self.element(arguments[0], rule)
                schema |= {"minItems": 1} if rule.nonempty else {}
            elif arguments:  # a mapping
                schema["type"].append("object")
                schema["additionalProperties"] = self.element(arguments[1], Rule())
            else:
                schema["type"].append(_TYPES[option])
                schema |= {"minLength": 1} if rule.nonempty and option is str else {}
        if {"integer", "number"} & set(schema["type"]):
            schema |= _build_bounds(rule)
        if rule.choices:
            return self._one_of(rule.choices, schema)
        return self.or_interpolation(schema)

    def element(self, annotation: Any, rule: Rule) -> Schema:  # noqa: ANN401 - any annotation
        """Returns the schema of an element of a list."""
        if rule.elements == "layers":
            return _build_reference("layer")
        if rule.elements == "metrics":
            return self.value([str], Rule(choices=tuple(sorted(get_registered_metrics()))))
        if annotation is Any:
            return {}
        return self.value([annotation], Rule(rule.gt, rule.ge, rule.lt, rule.le, rule.choices))

    def _one_of(self, choices: Iterable[str], schema: Schema) -> Schema:
        """Returns a schema in which strings are one of the choices or, unless `literal`, an interpolation."""
        listed: list[Any] = list(choices)
        if not self.literal:  # YAML parses unquoted on and off as booleans, which the config converts to strings
            listed += [boolean for word, boolean in (("on", True), ("off", False)) if word in listed]
        other_types = [name for name in schema["type"] if name != "string"]
        alternatives: list[Schema] = [{"enum": listed}]
        if other_types:
            alternatives.append({**schema, "type": other_types})
        if not self.literal:
            alternatives.append({"type": "string", "pattern": _INTERPOLATION})
        return {"anyOf": alternatives} if len(alternatives) > 1 else alternatives[0]

    def or_interpolation(self, schema: Schema) -> Schema:
        """Returns a schema that, unless `literal`, also accepts an interpolation instead of a value."""
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not self.literal and "string" not in names:
            names = [*names, "string"]
            schema = {**schema, "pattern": _INTERPOLATION}
        return {**schema, "type": names if len(names) > 1 else names[0]}

    def layers(self, layers: Sequence[LayerDoc]) -> Schema:
        """Returns the definitions of a layer in a list of layers, and of the argument types of layers."""
        definitions: Schema = {}
        properties: Schema = {}
        for layer in layers:
            for argument in layer.arguments.values():
                choice = self._one_of(argument.choices, {"type": ["string"]}) if argument.choices else None
                definitions[_build_definition_name(argument)] = choice or self.or_interpolation({**argument.schema})
            properties[layer.name] = {
                "type": "object" if layer.required else ["object", "null"],
                "properties": {
                    name: _build_reference(_build_definition_name(value)) for name, value in layer.arguments.items()
                },
                "additionalProperties": False,
                **({"required": [*layer.required]} if layer.required else {}),
            }
        arguments = {"type": "object", "properties": properties, "additionalProperties": False}
        definitions["layer"] = {
            "description": "A Keras layer: its name, or a mapping of its name to its arguments.",
            "anyOf": [
                {"enum": [layer.name for layer in layers if not layer.required]},
                {**arguments, "minProperties": 1, "maxProperties": 1},
            ],
        }
        return definitions

    def recipe(self, root: Schema, groups: Iterable[SectionDoc]) -> Schema:
        """Returns the root schema of a recipe. Its defaults list restricts each section to the selected component."""
        entries, conditions = {}, []
        for group in groups:
            key = f"override /{group.path}"
            entries[key] = {"anyOf": [{"enum": [*group.choices]}, {"type": "string", "pattern": _INTERPOLATION}]}
            for component, names in _group_names_by_component(group).items():
                entry = {"type": "object", "properties": {key: {"enum": names}}, "required": [key]}
                conditions.append(
                    _build_condition(entry, {"properties": {group.path: _build_reference(f"{group.path}.{component}")}})
                )
        defaults = {
            "description": "The component of each group, such as `override /optimizer: sgd`, and recipes to extend.",
            "type": "array",
            "items": {
                "type": ["string", "object"],
                "properties": entries,
                "patternProperties": {r"^(/|(override|optional) /hydra/)": True},
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            },
        }
        hydra = {"description": "Settings of Hydra, such as the output folder.", "type": "object"}
        return {**root, "properties": {"defaults": defaults, **root["properties"], "hydra": hydra}, "allOf": conditions}

    def group_file(self, group: SectionDoc, definitions: Schema) -> Schema:
        """Returns the root schema of a file of a group, and removes it from the definitions."""
        root: Schema = definitions.pop(group.path)
        if not group.components:
            return {**root, "type": ["object", "null"]}  # a file that contains only comments is null
        conditions = []
        for component, names in _group_names_by_component(group).items():
            entries = {"enum": [BASE_PREFIX + component, *names]}
            conditions.append(_build_condition(entries, _build_reference(f"{group.path}.{component}")))
        return {**root, "required": ["defaults"], "allOf": conditions}


def _build_defaults_list(group: SectionDoc) -> Schema:
    """Returns the schema of the defaults list in a YAML file of a group."""
    names = [*(BASE_PREFIX + component.name for component in group.components), *group.choices, "_self_"]
    return {
        "description": f"The configs that this file extends, such as `{names[0]}`, and `_self_` if it is not last.",
        "type": "array",
        "items": {"anyOf": [{"enum": names}, {"type": "object"}]},
    }


def _group_names_by_component(group: SectionDoc) -> dict[str, list[str]]:
    """Returns the choices that select each component of a group, by component."""
    return {
        component.name: [name for name, selected in group.choices.items() if selected == component.name]
        for component in group.components
    }


def _build_condition(entry: Schema, consequence: Schema) -> Schema:
    """Returns a schema that applies only if the defaults list contains a matching entry."""
    condition = {"properties": {"defaults": {"contains": entry}}, "required": ["defaults"]}
    return {"if": condition, "then": consequence}


def _build_bounds(rule: Rule) -> Schema:
    """Returns the finite bounds of a rule as keywords of JSON Schema."""
    keywords = {
        "exclusiveMinimum": rule.gt, "minimum": rule.ge, "exclusiveMaximum": rule.lt, "maximum": rule.le,
    }  # fmt: skip
    return {keyword: bound for keyword, bound in keywords.items() if bound is not None and math.isfinite(bound)}


def _build_reference(name: str) -> Schema:
    """Returns a schema that refers to the definition with this name."""
    return {"$ref": f"#/$defs/{name}"}


def _build_definition_name(argument: ArgumentType) -> str:
    """Returns the name of the definition of an argument type, such as ``argument.count``."""
    return f"argument.{argument.name}"

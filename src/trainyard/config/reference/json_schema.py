"""Builds JSON Schemas of the config, with which editors validate and complete YAML files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from trainyard.config.fields import Rule, build_type_adapter, format_unknown_name
from trainyard.config.recipe import RECIPES
from trainyard.config.reference.description import LayerDoc, SectionDoc
from trainyard.config.registry import BASE_PREFIX, get_registered_metrics
from trainyard.errors import ConfigError

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
RECIPE, RESOLVED = "recipe", "config"
"""The targets of a schema besides the groups: a file in conf/experiment/, and the config.yaml of a run."""

_INTERPOLATION = {"type": "string", "pattern": r"\$\{"}
"""The schema of a string with an interpolation, such as ``${optimizer.learning_rate}``."""


def build_json_schema(config: SectionDoc, layers: Sequence[LayerDoc], target: str = RECIPE) -> Schema:
    """Builds a JSON Schema for `RECIPE`, `RESOLVED` or a group. Raises a ConfigError if the target is unknown."""
    groups = {section.path: section for section in config.sections if section.default_choice}
    target = RECIPE if target in (RECIPES, "sweep") else target  # their files set values of the complete config
    if target not in (targets := list_schema_targets(config)):
        raise ConfigError(format_unknown_name("--for", "unknown target", target, targets))
    literal = target == RESOLVED
    definitions = _build_layers(layers, literal)
    if target in groups:
        definitions |= _build_section(groups[target], literal, {"defaults": _build_defaults_list(groups[target])})
        root = _build_group_file(groups[target], definitions)
    else:
        for section in config.sections:
            definitions |= _build_section(section, literal, {})
        root = _build_mapping(config, literal, {section.path: _refer(section.path) for section in config.sections})
        root = root if literal else _build_recipe(root, groups.values())
    return {"$schema": DRAFT, "title": f"Trainyard: {target}", **root, "$defs": definitions}


def list_schema_targets(config: SectionDoc) -> list[str]:
    """Returns the targets of a schema: a recipe, a resolved config, and the files of each group."""
    return [RECIPE, RESOLVED, *(section.path for section in config.sections if section.default_choice)]


# ---------------------------------------------------------------------------------------------------------------
# Sections and values. In a resolved config, values are literal; elsewhere, a value may be an interpolation.


def _build_section(section: SectionDoc, literal: bool, properties: Schema) -> Schema:
    """Returns the definitions of a section, which has additional properties, of its nested sections and components."""
    definitions: Schema = {}
    for inner in section.sections:
        definitions |= _build_section(inner, literal, {})
        properties = {**properties, inner.name: _refer(inner.path)}
    if not section.components:
        return {**definitions, section.path: _build_mapping(section, literal, properties)}
    for component in section.components:
        schema = _build_mapping(component, literal, {"name": {"const": component.name}, **properties})
        definitions[f"{section.path}.{component.name}"] = schema | ({"required": ["name"]} if literal else {})
    references = [_refer(f"{section.path}.{component.name}") for component in section.components]
    return {**definitions, section.path: {"description": section.summary, "anyOf": references}}


def _build_mapping(section: SectionDoc, literal: bool, properties: Schema) -> Schema:
    """Returns the schema of a section with its fields and additional properties. No other keys are allowed."""
    for doc in section.fields:
        value = _build_value(doc.annotation, doc.rule, literal)
        properties = {**properties, doc.name: {"description": doc.meaning, **value, "default": doc.default}}
    return _build_object(properties, description=section.summary)


def _build_value(annotation: Any, rule: Rule, literal: bool) -> Schema:  # noqa: ANN401 - any annotation
    """Returns the schema of a value of a type that satisfies a rule."""
    schema = build_type_adapter(annotation, rule).json_schema()
    if rule.elements == "layers":
        schema["items"] = _refer("layer")
    if rule.elements == "metrics":
        schema["items"] = {"enum": sorted(get_registered_metrics())}
    return schema if literal else _accept_interpolations(schema)


def _accept_interpolations(schema: Schema) -> Schema:
    """Returns a schema that also accepts an interpolation instead of a value or of an element."""
    if not schema or "$ref" in schema:
        return schema
    options = [dict(option) for option in schema.get("anyOf", [schema])]
    for option in options:
        for part in ("items", "additionalProperties"):
            if isinstance(option.get(part), dict):
                option[part] = _accept_interpolations(option[part])
        if "enum" in option:  # YAML parses unquoted on and off as booleans, which the config converts to strings
            booleans = [boolean for word, boolean in (("on", True), ("off", False)) if word in option["enum"]]
            option |= {"enum": [*option["enum"], *booleans], "type": ["string", "boolean"]}
    return {"anyOf": [*options, _INTERPOLATION]}


def _build_layers(layers: Sequence[LayerDoc], literal: bool) -> Schema:
    """Returns the definitions of a layer in a list of layers, and of the argument types of layers."""
    types = {argument.name: argument for layer in layers for argument in layer.arguments.values()}
    properties: Schema = {}
    for layer in layers:
        arguments = {name: _refer(f"argument.{argument.name}") for name, argument in layer.arguments.items()}
        properties[layer.name] = _build_object(arguments, required=[*layer.required])
        if not layer.required:
            properties[layer.name]["type"] = ["object", "null"]
    return {
        **{f"argument.{name}": _build_value(Any, argument.rule, literal) for name, argument in types.items()},
        "layer": {
            "description": "A Keras layer: its name, or a mapping of its name to its arguments.",
            "anyOf": [
                {"enum": [layer.name for layer in layers if not layer.required]},
                _build_object(properties, minProperties=1, maxProperties=1),
            ],
        },
    }


def _build_object(properties: Schema, **keywords: Any) -> Schema:  # noqa: ANN401 - keywords of JSON Schema
    """Returns the schema of a mapping in which no other keys are allowed."""
    return {**keywords, "type": "object", "properties": properties, "additionalProperties": False}


def _refer(name: str) -> Schema:
    """Returns a schema that refers to the definition with this name."""
    return {"$ref": f"#/$defs/{name}"}


# ---------------------------------------------------------------------------------------------------------------
# Defaults lists, which select the components


def _build_recipe(root: Schema, groups: Iterable[SectionDoc]) -> Schema:
    """Returns the root schema of a recipe. Its defaults list restricts each section to the selected component."""
    entries, conditions = {}, []
    for group in groups:
        key = f"override /{group.path}"
        entries[key] = {"anyOf": [{"enum": [*group.choices]}, _INTERPOLATION]}
        for component, names in _group_names_by_component(group).items():
            entry = {"type": "object", "properties": {key: {"enum": names}}, "required": [key]}
            selected = {"properties": {group.path: _refer(f"{group.path}.{component}")}}
            conditions.append(_build_condition(entry, selected))
    items = {
        **_build_object(entries, minProperties=1, maxProperties=1),
        "type": ["string", "object"],
        "patternProperties": {r"^(/|(override|optional) /hydra/)": True},
    }
    description = "The component of each group, such as `override /optimizer: sgd`, and recipes to extend."
    defaults = {"description": description, "type": "array", "items": items}
    hydra = {"description": "Settings of Hydra, such as the output folder.", "type": "object"}
    return {**root, "properties": {"defaults": defaults, **root["properties"], "hydra": hydra}, "allOf": conditions}


def _build_group_file(group: SectionDoc, definitions: Schema) -> Schema:
    """Returns the root schema of a file of a group, and removes it from the definitions."""
    root: Schema = definitions.pop(group.path)
    if not group.components:
        return {**root, "type": ["object", "null"]}  # a file that contains only comments is null
    conditions = [
        _build_condition({"enum": [BASE_PREFIX + component, *names]}, _refer(f"{group.path}.{component}"))
        for component, names in _group_names_by_component(group).items()
    ]
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

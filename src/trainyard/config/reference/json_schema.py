"""The reference of the config as a JSON Schema, which tells an editor what may stand in a YAML file."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from trainyard.config.fields import Rule
from trainyard.config.reference.fields import RECIPES, FieldDoc, SectionDoc
from trainyard.config.registry import BASE_PREFIX, registered_metrics, unknown
from trainyard.config.validation import alternatives, is_optional
from trainyard.errors import ConfigError
from trainyard.models import layers
from trainyard.models.layers import LAYERS, Kind, required_arguments

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"

RECIPE, RESOLVED = "recipe", "config"
"""What a schema may be for, beside the groups: a file of conf/experiment/, and the config.yaml of a run."""

_INTERPOLATION = r"\$\{"
"""What a text holds that stands for another value, ``${optimizer.learning_rate}``."""

_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}

_COUNT: Schema = {"type": "integer", "minimum": 1}
_MARGIN: Schema = {"type": "integer", "minimum": 0}
_POSITIVE: Schema = {"type": "number", "minimum": 0}
_ARGUMENTS: dict[Kind, Schema] = {
    layers.COUNT: _COUNT,
    layers.SIZE: {"type": ["integer", "array"], "minimum": 1, "items": _COUNT, "minItems": 1},
    layers.SHARE: {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
    layers.NUMBER: {"type": "number"},
    layers.POSITIVE: _POSITIVE,
    layers.FLAG: {"type": "boolean"},
    layers.AXIS: {"type": ["integer", "array"], "items": {"type": "integer"}, "minItems": 1},
    layers.SHAPE: {"type": "array", "items": {"type": "integer"}, "minItems": 1},
    layers.MARGIN: {
        "type": ["integer", "array"],
        "minimum": 0,
        "items": {"type": ["integer", "array"], "minimum": 0, "items": _MARGIN, "minItems": 1},
        "minItems": 1,
    },
    layers.PENALTY: {
        "type": "object",
        "properties": {"l1": _POSITIVE, "l2": _POSITIVE},
        "additionalProperties": False,
        "minProperties": 1,
    },
}
"""What `Kind.admits` answers, as schemas; a kind of `choices` is told by those."""


_AS_RECIPES = (RECIPES, "sweep")
"""The folders whose files speak of the whole config."""


def build_schema(config: SectionDoc, target: str = RECIPE) -> Schema:
    """Returns a JSON Schema, draft 2020-12.

    Args:
        config: The whole config; see `describe_config`.
        target: `RECIPE`, `RESOLVED`, or a group, for the YAML files of that group.

    Raises:
        ConfigError: If it is none of these.
    """
    groups = {section.path: section for section in config.sections if section.chosen}
    target = RECIPE if target in _AS_RECIPES else target
    if target not in targets(config):
        raise ConfigError(unknown("--for", "unknown kind of file", target, targets(config)))
    writer = _Writer(literal=target == RESOLVED, file_of=target if target in groups else "")
    definitions: Schema = writer.layers()
    for section in [groups[target]] if target in groups else config.sections:
        definitions |= writer.section(section)
    if target in groups:
        root = writer.group_file(groups[target], definitions)
    else:
        root = writer.mapping(config, {section.path: _ref(section.path) for section in config.sections})
        if target == RECIPE:
            root = writer.recipe(root, groups.values())
    return {"$schema": DRAFT, "title": f"Trainyard: {target}", **root, "$defs": definitions}


def targets(config: SectionDoc) -> list[str]:
    """Returns what a schema may be for: a recipe, a resolved config, the files of a group."""
    return [RECIPE, RESOLVED, *(section.path for section in config.sections if section.chosen)]


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes parts of a schema.

    Attributes:
        literal: Whether values are what they say: a resolved config has no interpolations.
        file_of: The group whose files are described, which begin with a defaults list; empty for none.
    """

    literal: bool
    file_of: str

    def section(self, section: SectionDoc) -> Schema:
        """Returns the definitions of a section: itself, what it has within, and each component."""
        definitions: Schema = {}
        for inner in section.sections:
            definitions |= self.section(inner)
        own = {inner.name: _ref(inner.path) for inner in section.sections}
        if section.path == self.file_of:
            own["defaults"] = _group_defaults(section)
        if not section.components:
            return {**definitions, section.path: self.mapping(section, own)}
        common, references = f"{section.path}.*", []
        definitions[common] = self.mapping(section, {})
        for component in section.components:
            named = {"name": {"const": component.name}, **own}
            named |= {doc.name: _ref(f"{common}/properties/{doc.name}") for doc in section.fields}
            schema = self.mapping(dataclasses.replace(component, fields=section.own_fields(component)), named)
            if self.literal:
                schema["required"] = ["name"]
            definitions[f"{section.path}.{component.name}"] = schema
            references.append(_ref(f"{section.path}.{component.name}"))
        return {**definitions, section.path: {"description": section.purpose, "anyOf": references}}

    def mapping(self, section: SectionDoc, others: Schema) -> Schema:
        """Returns what a section may hold: its fields and others, and nothing else."""
        return {
            "description": section.purpose,
            "type": "object",
            "properties": {**others, **{doc.name: self.field(doc) for doc in section.fields}},
            "additionalProperties": False,
        }

    def field(self, doc: FieldDoc) -> Schema:
        """Returns what a field may be."""
        options = [*alternatives(doc.kind, doc.rule), *([type(None)] if is_optional(doc.kind) else [])]
        return {"description": doc.meaning, **self.value(options, doc.rule), "default": doc.default}

    def value(self, options: Iterable[Any], rule: Rule) -> Schema:
        """Returns what a value of one of these types may be. Each keyword speaks of one type and lets others pass."""
        schema: Schema = {"type": []}
        for kind in options:
            arguments = typing.get_args(kind)
            if arguments and typing.get_origin(kind) is list:
                schema["type"].append("array")
                schema["items"] = self.element(arguments[0], rule)
                schema |= {"minItems": 1} if rule.nonempty else {}
            elif arguments:  # a mapping
                schema["type"].append("object")
                schema["additionalProperties"] = self.element(arguments[1], Rule())
            else:
                schema["type"].append(_TYPES[kind])
                schema |= {"minLength": 1} if rule.nonempty and kind is str else {}
        if {"integer", "number"} & set(schema["type"]):
            schema |= _bounds(rule)
        if rule.choices:
            return self._one_of(rule.choices, schema)
        return self.or_interpolation(schema)

    def element(self, kind: Any, rule: Rule) -> Schema:  # noqa: ANN401 - any annotation
        """Returns what an element of a list may be."""
        if rule.holds == "layers":
            return _ref("layer")
        if rule.holds == "metrics":
            return self.value([str], Rule(choices=tuple(sorted(registered_metrics()))))
        if kind is Any:
            return {}
        return self.value([kind], Rule(rule.gt, rule.ge, rule.lt, rule.le, rule.choices))

    def _one_of(self, choices: Iterable[str], schema: Schema) -> Schema:
        """Returns a schema in which text is one of the choices."""
        listed: list[Any] = list(choices)
        if not self.literal:  # YAML's unquoted on and off are truth values, which a config takes for the words
            listed += [truth for word, truth in (("on", True), ("off", False)) if word in listed]
        others = [kind for kind in schema["type"] if kind != "string"]
        found: list[Schema] = [{"enum": listed}]
        if others:
            found.append({**schema, "type": others})
        if not self.literal:
            found.append({"type": "string", "pattern": _INTERPOLATION})
        return {"anyOf": found} if len(found) > 1 else found[0]

    def or_interpolation(self, schema: Schema) -> Schema:
        """Returns a schema that lets an interpolation stand in the place of a value, too."""
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not self.literal and "string" not in kinds:
            kinds = [*kinds, "string"]
            schema = {**schema, "pattern": _INTERPOLATION}
        return {**schema, "type": kinds if len(kinds) > 1 else kinds[0]}

    def layers(self) -> Schema:
        """Returns the definitions of an entry of a list of layers, and of what their arguments may be."""
        names = {kind: f"argument.{name.lower()}" for name, kind in vars(layers).items() if isinstance(kind, Kind)}
        definitions: Schema = {}
        for kind, name in names.items():
            choice = self._one_of(kind.choices, {"type": ["string"]}) if kind.choices else None
            definitions[name] = choice or self.or_interpolation(_ARGUMENTS[kind])
        properties = {}
        for layer, known in LAYERS.items():
            needed = required_arguments(layer)
            properties[layer] = {
                "type": "object" if needed else ["object", "null"],
                "properties": {argument: _ref(names[kind]) for argument, kind in known.items()},
                "additionalProperties": False,
                **({"required": needed} if needed else {}),
            }
        arguments = {"type": "object", "properties": properties, "additionalProperties": False}
        definitions["layer"] = {
            "description": "A layer of Keras: its name, or that with its arguments.",
            "anyOf": [
                {"enum": [name for name in LAYERS if not required_arguments(name)]},
                {**arguments, "minProperties": 1, "maxProperties": 1},
            ],
        }
        return definitions

    def recipe(self, root: Schema, groups: Iterable[SectionDoc]) -> Schema:
        """Returns the root of a recipe: its defaults list narrows each section down to the component it chooses."""
        entries, narrowed = {}, []
        for group in groups:
            key = f"override /{group.path}"
            entries[key] = {"anyOf": [{"enum": [*group.choices]}, {"type": "string", "pattern": _INTERPOLATION}]}
            for component, names in _names_by_component(group).items():
                entry = {"type": "object", "properties": {key: {"enum": names}}, "required": [key]}
                narrowed.append(_if_defaults(entry, {"properties": {group.path: _ref(f"{group.path}.{component}")}}))
        defaults = {
            "description": "Which component each group takes, `override /optimizer: sgd`; or recipes to build on.",
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
        hydra = {"description": "Hydra's own settings, such as the folder of a run.", "type": "object"}
        return {**root, "properties": {"defaults": defaults, **root["properties"], "hydra": hydra}, "allOf": narrowed}

    def group_file(self, group: SectionDoc, definitions: Schema) -> Schema:
        """Returns the root of a file of a group, and takes it out of the definitions."""
        root: Schema = definitions.pop(group.path)
        if not group.components:
            return {**root, "type": ["object", "null"]}  # a file with nothing but a comment is null
        narrowed = []
        for component, names in _names_by_component(group).items():
            entries = {"enum": [BASE_PREFIX + component, *names]}
            narrowed.append(_if_defaults(entries, _ref(f"{group.path}.{component}")))
        return {**root, "required": ["defaults"], "allOf": narrowed}


def _group_defaults(group: SectionDoc) -> Schema:
    names = [*(BASE_PREFIX + component.name for component in group.components), *group.choices, "_self_"]
    return {
        "description": f"What this {group.path} builds on, `{names[0]}`, and `_self_` where it does not come last.",
        "type": "array",
        "items": {"anyOf": [{"enum": names}, {"type": "object"}]},
    }


def _names_by_component(group: SectionDoc) -> dict[str, list[str]]:
    """Returns each component of a group with the choices that it stands behind."""
    return {
        component.name: [name for name, behind in group.choices.items() if behind == component.name]
        for component in group.components
    }


def _if_defaults(entry: Schema, consequence: Schema) -> Schema:
    """Returns what holds where the defaults list has such an entry."""
    condition = {"properties": {"defaults": {"contains": entry}}, "required": ["defaults"]}
    return {"if": condition, "then": consequence}


def _bounds(rule: Rule) -> Schema:
    keywords = {
        "exclusiveMinimum": rule.gt, "minimum": rule.ge, "exclusiveMaximum": rule.lt, "maximum": rule.le,
    }  # fmt: skip
    return {keyword: bound for keyword, bound in keywords.items() if bound is not None and math.isfinite(bound)}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}

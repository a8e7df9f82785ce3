"""Declares config fields: a default value and a rule that values must satisfy. pydantic checks the values."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import operator
import re
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_RULE = "trainyard.rule"
_MAX_INTEGER = 2**63 - 1
"""The largest integer that TensorFlow and MLflow support."""
_MAX_NAME_CHARACTERS = 150


@dataclass(frozen=True, slots=True)
class Rule:
    """The values that a field accepts, besides its type. For a list, bounds and choices apply to each element."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    choices: tuple[str, ...] = ()
    """The only strings that are accepted; empty: any string."""
    rejected: tuple[str, ...] = ()
    """Values that a user may expect among the choices."""
    rejection: str = ""
    """The reason why the values in `rejected` are not accepted."""
    types: tuple[Any, ...] = ()
    """The types of a field that is annotated `Any`, because OmegaConf does not support unions of scalars and lists."""
    elements: str = ""
    """A name for the elements of a list whose type does not describe them: ``'layers'``, ``'metrics'``."""
    nonempty: bool = False
    """Whether an empty string or list is rejected."""
    identity: bool = True
    """Whether the field affects results and is part of the config hash. Paths and thread counts are not."""
    hash_default: bool = True
    """Whether the field is part of the config hash if it has its default value. `False` for a field that was added to
    an existing component, so that the hashes of earlier configs stay the same."""

    @property
    def bounds(self) -> dict[str, Any]:
        """The bounds that are set, by pydantic's name."""
        bounds = {"ge": self.ge, "gt": self.gt, "le": self.le, "lt": self.lt}
        return {name: bound for name, bound in bounds.items() if bound is not None}


def setting(default: Any, **rule: Any) -> Any:  # noqa: ANN401 - the type checker sees a default of any type
    """Declares a config field with its default value and its rule.

    Args:
        default: The value if the config does not set the field. A list or dict is copied for each config.
        **rule: The fields of `Rule`: bounds (`gt`, `ge`, `lt`, `le`), `choices`, `rejected`, `rejection`, `types`,
            `elements`, `nonempty`, `identity`, `hash_default`.

    Example:
        >>> dropout: float = setting(0.0, ge=0, lt=1)
    """
    metadata = {_RULE: Rule(**rule)}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def get_rule(spec: dataclasses.Field[Any]) -> Rule:
    """Returns the rule of a field. A field without a rule accepts all values of its type."""
    rule = spec.metadata.get(_RULE)
    return rule if isinstance(rule, Rule) else Rule()


def list_accepted_types(annotation: Any, rule: Rule) -> tuple[Any, ...]:  # noqa: ANN401 - any annotation
    """Returns the types that a field accepts, without None."""
    if rule.types:
        return rule.types
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(option for option in typing.get_args(annotation) if option is not type(None))
    return (annotation,)


def is_optional(annotation: Any) -> bool:  # noqa: ANN401 - any annotation
    """Returns whether a field accepts null."""
    return type(None) in typing.get_args(annotation)


# ---------------------------------------------------------------------------------------------------------------
# Checking values


@functools.cache
def build_type_adapter(annotation: Any, rule: Rule) -> TypeAdapter[Any]:  # noqa: ANN401 - any annotation
    """Builds the pydantic type of a field. A bool is not a number; an integer is accepted as a float."""
    from pydantic import TypeAdapter

    options = [_add_constraints(option, rule) for option in list_accepted_types(annotation, rule)]
    options += [None] if is_optional(annotation) else []
    return TypeAdapter(functools.reduce(operator.or_, options), config={"strict": True})


def _add_constraints(annotation: Any, rule: Rule) -> Any:  # noqa: ANN401 - any annotation
    """Returns a type with the bounds and choices of a rule, also for its elements."""
    from pydantic import Field

    length = Field(min_length=1 if rule.nonempty else None)
    origin = typing.get_origin(annotation)
    if origin in (list, dict):
        *keys, element = typing.get_args(annotation)
        return typing.Annotated[origin[*keys, _add_constraints(element, rule)], length]
    if annotation in (int, float):
        return typing.Annotated[annotation, Field(allow_inf_nan=None if annotation is int else False, **rule.bounds)]
    if annotation is str:
        return typing.Literal[rule.choices] if rule.choices else typing.Annotated[str, length]
    return annotation


def find_value_problem(value: Any, annotation: Any, rule: Rule) -> str | None:  # noqa: ANN401 - any field
    """Returns what was expected and received if a field does not accept a value, else None."""
    from pydantic import ValidationError

    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, int) and abs(item) > _MAX_INTEGER:
            return f"expected an integer below {_MAX_INTEGER:,}, got one with {len(str(abs(item)))} digits"
    try:
        build_type_adapter(annotation, rule).validate_python(value)
    except ValidationError as error:
        problems = {problem["type"]: problem["input"] for problem in error.errors(include_url=False)}
    else:
        return None
    if "finite_number" in problems:
        return f"expected a finite number, got {value!r}"
    expected = f"expected {describe_type(annotation, rule)}, got {value!r}"
    if problems.keys() & {"too_short", "string_too_short"}:
        return f"{expected}: it must not be empty"
    if isinstance(choice := problems.get("literal_error"), str):
        reason = f" {rule.rejection}" if choice in rule.rejected else format_suggestion(choice, rule.choices)
        return f"{expected}.{reason}"
    return expected


def find_name_problem(name: str) -> str | None:
    """Returns a message if a name cannot be used for a folder and an MLflow experiment, else None."""
    if len(name) > _MAX_NAME_CHARACTERS:
        return f"expected at most {_MAX_NAME_CHARACTERS} characters (it names a folder), got {len(name)}"
    if re.fullmatch(r"\w([\w .+-]*\w)?", name):
        return None
    invalid = re.search(r"[^\w .+-]|^\W|\W$", name)
    reason = f"; {invalid.group()!r} at position {invalid.start() + 1} is not allowed" if invalid else ""
    return f"expected letters and digits, and between them spaces and . _ + - (it names a folder), got {name!r}{reason}"


# ---------------------------------------------------------------------------------------------------------------
# Words for messages and documentation

_TYPE_DESCRIPTIONS = {
    int: "an integer",
    float: "a number",
    str: "a string",
    bool: "true or false",
    dict[str, str]: "a mapping of strings to strings",
    dict[str, Any]: "a mapping of paths to values",
    list[int]: "a list of integers",
    list[float]: "a list of numbers",
}


def describe_type(annotation: Any, rule: Rule | None = None) -> str:  # noqa: ANN401 - any annotation
    """Returns a description of the values that a field accepts, such as ``'a number above 0, or null'``."""
    rule = rule or Rule()
    options = list_accepted_types(annotation, rule)
    accepts_list = any(typing.get_origin(option) is list for option in options)
    other = f"a list of {rule.elements or 'strings'}" if accepts_list else "a section (a mapping of fields to values)"
    description = " or ".join(_TYPE_DESCRIPTIONS.get(option, other) for option in options)
    if rule.choices:
        description = f"one of {', '.join(rule.choices)}" + (", or a list of them" if accepts_list else "")
    if rule.bounds:
        names = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
        bounds = ", ".join(f"{names[name]} {bound:.15g}" for name, bound in rule.bounds.items())
        description += f", each {bounds}" if accepts_list else f" {bounds}"
    return description + (", or null" if is_optional(annotation) else "")


def format_suggestion(word: str, options: Iterable[str]) -> str:
    """Returns ``" Did you mean 'adam'?"`` with the most similar option, or an empty string if none is similar.

    Options with the same letters are preferred, because swapped letters are the most frequent typing mistake.
    """
    similar = difflib.get_close_matches(word, list(options), n=5, cutoff=0.6)
    similar.sort(key=lambda option: sorted(option) != sorted(word))
    return f" Did you mean {similar[0]!r}?" if similar else ""


def format_unknown_name(path: str, description: str, word: str, options: Iterable[str]) -> str:
    """Returns the message for an unknown name, with the path, the most similar name and all names."""
    names = sorted(options)
    return f"{path}: {description} {word!r}.{format_suggestion(word, names)} Available: {', '.join(names)}"

"""Descriptions of the layers of ``model=sequential``, which `trainyard.models` hands to the reference pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentType:
    """The allowed values of an argument of a layer.

    Attributes:
        name: Name of the type in the JSON Schema, such as ``count``.
        description: The allowed values in words, for a message after "expected".
        accepts: Returns whether a value is allowed.
        schema: JSON Schema of the values; empty if only the names in `choices` are allowed.
        choices: The allowed names, if only certain names are allowed; else empty.
    """

    name: str
    description: str
    accepts: Callable[[Any], bool]
    schema: Mapping[str, Any]
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerDoc:
    """A layer that a config may use.

    Attributes:
        name: Name of the Keras layer.
        arguments: Its arguments by name.
        required: The arguments without a default.
    """

    name: str
    arguments: Mapping[str, ArgumentType]
    required: Sequence[str]

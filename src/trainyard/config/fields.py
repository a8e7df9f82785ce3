"""Declares config fields: a default value and a rule that values must satisfy."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_RULE = "trainyard.rule"


@dataclass(frozen=True, slots=True)
class Rule:
    """The values that a field accepts, besides its type. For a list, bounds and choices apply to each element."""

    gt: float | None = None
    """Values must be greater than this; None: no limit."""
    ge: float | None = None
    """Values must be greater than or equal to this; None: no limit."""
    lt: float | None = None
    """Values must be less than this; None: no limit."""
    le: float | None = None
    """Values must be less than or equal to this; None: no limit."""
    choices: tuple[str, ...] = ()
    """The only strings that are accepted; empty: any string."""
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Values that a user may expect among the choices, each with the reason why it is not accepted."""
    types: tuple[Any, ...] = ()
    """The types of a field that is annotated `Any`, because OmegaConf does not support unions of scalars and lists."""
    elements: str = ""
    """A name for the elements of a list whose type does not describe them: ``'layers'``, ``'metrics'``."""
    nonempty: bool = False
    """Whether an empty string or list is rejected."""
    identity: bool = True
    """Whether the field affects results and is part of the config hash. Paths and thread counts are not."""

    def describe_bounds(self) -> str:
        """Returns the bounds as text, such as ``'above 0, below 1'``, or an empty string if there are none."""
        words = {"at least": self.ge, "above": self.gt, "at most": self.le, "below": self.lt}
        return ", ".join(f"{word} {bound:.15g}" for word, bound in words.items() if bound is not None)

    def is_within_bounds(self, value: float) -> bool:
        """Returns whether a number is within the bounds."""
        return (
            (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.lt is None or value < self.lt)
            and (self.le is None or value <= self.le)
        )


def setting(default: Any, **rule: Any) -> Any:  # noqa: ANN401 - the type checker sees a default of any type
    """Declares a config field with its default value and its rule.

    Args:
        default: The value if the config does not set the field. A list or dict is copied for each config.
        **rule: The fields of `Rule`: bounds (`gt`, `ge`, `lt`, `le`), `choices`, `rejected`, `types`, `elements`,
            `nonempty`, `identity`.

    Returns:
        A `dataclasses.field`.

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


_MAX_NAME_CHARACTERS = 150


def find_name_problem(name: str) -> str | None:
    """Returns a message if a name cannot be used for a folder and an MLflow experiment, else None."""
    if len(name) > _MAX_NAME_CHARACTERS:
        return f"expected at most {_MAX_NAME_CHARACTERS} characters (it names a folder), got {len(name)}"
    if re.fullmatch(r"\w([\w .+-]*\w)?", name):
        return None
    invalid = re.search(r"[^\w .+-]|^\W|\W$", name)
    reason = f"; {invalid.group()!r} at position {invalid.start() + 1} is not allowed" if invalid else ""
    return f"expected letters and digits, and between them spaces and . _ + - (it names a folder), got {name!r}{reason}"

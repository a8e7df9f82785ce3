"""The fields of a config: each with its default and the rule that its values keep."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_RULE = "trainyard.rule"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a field accepts beyond its type. Bounds and choices hold for each element of a list."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    choices: tuple[str, ...] = ()
    refuses: Mapping[str, str] = field(default_factory=dict)
    """What one might expect among the choices, each with the reason why it is not."""
    accepts: tuple[Any, ...] = ()
    """The types of a field annotated `Any`, because OmegaConf has no union of a scalar and a list."""
    holds: str = ""
    """What the elements of a list are, where their type does not tell it: layers, metrics."""
    nonempty: bool = False
    identity: bool = True
    """Whether the field belongs to what is computed, and so to the config hash; a path or a thread count does not."""

    def describe_bounds(self) -> str:
        """Returns the bounds in words, ``'above 0, below 1'``, or an empty string."""
        words = {"at least": self.ge, "above": self.gt, "at most": self.le, "below": self.lt}
        return ", ".join(f"{word} {bound:.15g}" for word, bound in words.items() if bound is not None)

    def admits(self, value: float) -> bool:
        """Tells whether a number lies within the bounds."""
        return (
            (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.lt is None or value < self.lt)
            and (self.le is None or value <= self.le)
        )


def setting(default: Any, **rule: Any) -> Any:  # noqa: ANN401 - stands for a field of any type
    """Declares a config field with its default and its rule.

    Args:
        default: The value when the config is silent. A list or dict is copied for each config.
        **rule: The fields of `Rule`: bounds (`gt`, `ge`, `lt`, `le`), `choices`, `refuses`, `accepts`, `holds`,
            `nonempty`, `identity`.

    Returns:
        A `dataclasses.field`.
    """
    metadata = {_RULE: Rule(**rule)}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def rule_of(spec: dataclasses.Field[Any]) -> Rule:
    """Returns a field's rule; a field without one accepts all of its type."""
    rule = spec.metadata.get(_RULE)
    return rule if isinstance(rule, Rule) else Rule()

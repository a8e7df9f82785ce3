"""Converts the configs of a plan to plain dicts. Equal sections of them are one object, and are compared only once.

A plan of 100,000 trials would otherwise need gigabytes, and most of its time for copies of equal sections.
"""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass
from typing import Any

from trainyard.config import RunConfig, SweepConfig
from trainyard.sweep.space import compute_identity

_FIELDS = tuple(spec.name for spec in fields(RunConfig))


class ConfigFreezer:
    """Converts the configs of trials for the plan, with only the name in `sweep`."""

    def __init__(self, name: str, experiment: str | None) -> None:
        """Creates a freezer for a sweep with a name; `experiment` replaces that of the configs, unless it is None."""
        self._sweep = asdict(SweepConfig(name=name))
        self._experiment = experiment
        self._values: dict[int, tuple[Any, Any, int]] = {}
        self._numbers: dict[str, int] = {}

    def __call__(self, config: RunConfig) -> dict[str, Any]:
        """Returns a config as plain dicts, lists and scalars."""
        return self.freeze(config)[0]

    def freeze(self, config: RunConfig) -> tuple[dict[str, Any], dict[str, int]]:
        """Returns a config as plain dicts, and a number for each section and scalar, equal for equal ones."""
        frozen, numbers = {}, {}
        for name in _FIELDS:
            value = getattr(config, name)
            entry = self._values.get(id(value)) or self._freeze_value(name, value)
            _, frozen[name], numbers[name] = entry
        return frozen, numbers

    def _freeze_value(self, name: str, value: Any) -> tuple[Any, Any, int]:  # noqa: ANN401 - a section or a scalar
        """Stores and returns a section or scalar, which keeps its id unique, with its plain value and its number."""
        frozen = value
        if name == "sweep":
            frozen = self._sweep
        elif is_dataclass(value) and not isinstance(value, type):
            frozen = asdict(value)
        if name == "tracking" and self._experiment:
            frozen["experiment"] = self._experiment
        number = self._numbers.setdefault(compute_identity(frozen), len(self._numbers))
        return self._values.setdefault(id(value), (value, frozen, number))

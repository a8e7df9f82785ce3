"""The axes of a sweep, parsed from Hydra overrides and from `sweep.params`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, Quote, QuotedString, RangeSweep, Transformer

from trainyard.config import find_field_path, iterate_sweep_values, list_choices, list_groups, translate_hydra_errors
from trainyard.errors import ConfigError

_ONE_STORE = "because all trials of a sweep are logged to one experiment of one tracking store"
_FIXED = {
    r"sweep(\..*)?": "because it defines how all trials are run",
    r"hydra\b.*": "because it defines how all trials are run",
    r"tracking|tracking\.(uri|experiment)": _ONE_STORE,
    r"resume": "because it resumes a single run",
}
"""Keys that cannot be swept, as regular expressions, with the reason."""


@dataclass(frozen=True, slots=True)
class AxisSetting:
    """One value of one axis.

    Attributes:
        key: Key as on the command line, including a ``+`` or ``~`` prefix.
        text: The complete override, ``key=value``.
        structural: Whether it chooses a config group, adds or deletes keys, so that Hydra must compose a new config.
    """

    key: str
    text: str
    value: Any
    structural: bool


@dataclass(frozen=True, slots=True)
class Interval:
    """The numbers from `low` to `high`, including both.

    Attributes:
        log: Whether numbers are drawn on a logarithmic scale.
        step: Distance between consecutive numbers, or None for all numbers between the ends.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def contains(self, value: Any) -> bool:  # noqa: ANN401 - any value of a config
        """Returns whether a value is one of the numbers."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        return not self.is_integer or (value == int(value) and (int(value) - int(self.low)) % int(self.step or 1) == 0)

    @property
    def is_integer(self) -> bool:
        """Whether all numbers are integers."""
        return isinstance(self.low, int)


@dataclass(frozen=True, slots=True)
class Axis:
    """The settings of one key.

    Attributes:
        key: Key as on the command line, including a ``+`` or ``~`` prefix.
        settings: Settings in the given order. Of an interval, only its two ends.
        swept: Whether the key was given as a sweep, even if the sweep has only one value.
        interval: Range of the settings if they are evenly spaced integers or the ends of an interval; else None.
        is_finite: Whether `settings` contains every possible setting. False for an interval.
    """

    key: str
    settings: tuple[AxisSetting, ...]
    swept: bool
    interval: Interval | None = None
    is_finite: bool = True

    def describe(self) -> str:
        """Returns the values as text: ``[0.1, 0.01]`` or ``interval(0.0001, 0.1), log``."""
        if self.is_finite or self.interval is None:
            return f"[{', '.join(setting.text.partition('=')[2] for setting in self.settings)}]"
        return f"interval({self.interval.low}, {self.interval.high}){', log' if self.interval.log else ''}"

    def build_setting(self, value: Any) -> AxisSetting:  # noqa: ANN401 - a number
        """Returns the setting for a number of the interval."""
        return replace(self.settings[0], text=f"{self.key}={value!r}", value=value)


Point = tuple[AxisSetting, ...]
"""One setting for each axis."""


def parse_axes(
    overrides: Sequence[str], params: Mapping[str, Any] | None = None, config_dir: Path | None = None
) -> list[Axis]:
    """Returns the axes of a sweep. The last override of a key wins, and overrides take precedence over params.

    `params` maps a dotted path or config group to a list of values, or to the text after the ``=`` of an override.
    Raises ConfigError if an override is not valid in the grammar, has no values, or cannot be swept.
    """
    group_names = set(list_groups(config_dir))
    axes = [_parse_param(key, value, group_names, config_dir) for key, value in (params or {}).items()]
    axes += [_build_axis(override, group_names, config_dir) for override in _parse_overrides(overrides, config_dir)]
    return list({axis.key: axis for axis in axes}.values())


def combine_axes(axes: Sequence[Axis]) -> Iterator[Point]:
    """Yields every combination of the axes' settings, the last axis fastest. Raises ConfigError for an interval."""
    for axis in axes:
        if not axis.is_finite:
            raise ConfigError(
                f"{axis.key}: a grid requires a list of values, got an interval. Use choice(...) or range(...), or a "
                "sampler, for example sweep.sampler=tpe"
            )
    return itertools.product(*(axis.settings for axis in axes))


def build_seed_axis(first: int, count: int) -> Axis:
    """Returns an axis with `count` consecutive seeds, starting at `first`."""
    settings = (AxisSetting("seed", f"seed={seed}", seed, structural=False) for seed in range(first, first + count))
    return Axis("seed", tuple(settings), swept=True)


def _parse_overrides(overrides: Sequence[str], config_dir: Path | None) -> list[Override]:
    """Parses overrides with Hydra. Removes ``++`` if the field exists, because the prefix then has no effect."""
    with translate_hydra_errors(config_dir):
        parsed: list[Override] = OverridesParser.create().parse_overrides(list(overrides))
    return [
        replace(override, type=OverrideType.CHANGE)
        if override.is_force_add() and find_field_path(override.key_or_group) == override.key_or_group
        else override
        for override in parsed
    ]


def _parse_param(key: str, value: Any, group_names: set[str], config_dir: Path | None) -> Axis:  # noqa: ANN401 - any YAML
    """Returns the axis of one entry of `sweep.params`; `value` is a list of values or the text of a sweep."""
    _check_sweepable(key)
    if value is None or isinstance(value, dict):
        raise ConfigError(
            f"sweep.params: {key}: expected a list of values, or a sweep as text, got {value!r}. Write the complete "
            "path as one key, for example model.hidden_units: [[64], [32]]"
        )
    try:
        if not isinstance(value, list):
            (override,) = _parse_overrides([f"{key}={value}"], config_dir)
            return _build_axis(override, group_names, config_dir)
        # not as choice(...), which rejects null and removes quotes
        overrides = _parse_overrides([f"{key}={_format_value(item)}" for item in value], config_dir)
        axes = [_build_axis(override, group_names, config_dir) for override in overrides]
        return _check_axis(Axis(key, tuple(setting for axis in axes for setting in axis.settings), swept=True))
    except ConfigError as error:
        raise ConfigError(*(f"sweep.params: {problem}" for problem in error.problems)) from error


def _build_axis(override: Override, group_names: set[str], config_dir: Path | None) -> Axis:
    """Returns the axis of a parsed override; fixed, not swept, for ``key=value`` and for ``~key``."""
    key, is_swept = override.get_key_element(), override.is_sweep_override()
    if override.is_delete() and not is_swept:
        return Axis(key, (AxisSetting(key, str(override.input_line), None, structural=True),), swept=False)
    values: list[tuple[Any, str]]
    interval = None
    if override.is_interval_sweep():
        interval = _build_interval(override)
        values = [(end, repr(end)) for end in (interval.low, interval.high)]
    elif is_swept:
        interval = _build_range_interval(override)
        values = list(iterate_sweep_values(override, list_choices(override.key_or_group, config_dir)))
    else:
        values = [(override.value(), override.get_value_element_as_str())]
    is_field = override.key_or_group not in group_names and override.package is None
    changes_keys = override.is_add() or override.is_force_add() or override.is_delete()
    structural = not is_field or changes_keys or override.is_hydra_override()
    settings = tuple(AxisSetting(key, f"{key}={text}", value, structural) for value, text in values)
    axis = Axis(key, settings, is_swept, interval, is_finite=not override.is_interval_sweep())
    return _check_axis(axis) if is_swept else axis


def _build_interval(override: Override) -> Interval:
    """Returns the interval of ``interval(a, b)``. With ``tag(log, ...)`` its scale is logarithmic."""
    sweep: Any = override.value()
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    if low is None or high is None or not low < high or (log and low <= 0):
        expected = "two numbers above 0, the smaller first" if log else "two numbers, the smaller first"
        raise ConfigError(f"{override.get_key_element()}: expected {expected}, got {override.input_line!r}")
    return Interval(low, high, log, step=1 if isinstance(low, int) and isinstance(high, int) else None)


def _build_range_interval(override: Override) -> Interval | None:
    """Returns the numbers of ``range(a, b)`` as an interval, or None for any other sweep."""
    sweep: Any = override.value()
    if not isinstance(sweep, RangeSweep):
        return None
    numbers, log = sorted(sweep.range()), "log" in sweep.tags
    if len(numbers) < 2 or isinstance(numbers[0], float):  # noqa: PLR2004 - floats are not exactly evenly spaced
        return None
    if log and (abs(sweep.step) != 1 or numbers[0] < 1):  # Optuna does not support it: the values are drawn as choices
        return None
    return Interval(numbers[0], numbers[-1], log, step=abs(sweep.step))


def _check_axis(axis: Axis) -> Axis:
    """Returns the axis unchanged. Raises a ConfigError if it has no settings or cannot be swept."""
    _check_sweepable(axis.key)
    if not axis.settings:
        raise ConfigError(f"{axis.key.lstrip('+~')}: expected values to sweep over, got none")
    return axis


def _check_sweepable(key: str) -> None:
    """Raises a ConfigError if a key must have the same value in all trials; see `_FIXED`."""
    path = key.lstrip("+~")
    for pattern, reason in _FIXED.items():
        if re.fullmatch(pattern, path.partition("@")[0]):
            raise ConfigError(f"{path}: cannot be swept, {reason}. Set it to one value")


def _format_value(value: Any) -> str:  # noqa: ANN401 - any YAML value
    """Returns a value in Hydra's grammar. Strings are quoted, so that they stay strings."""

    def quote(part: Any) -> Any:  # noqa: ANN401 - any YAML value
        """Returns a value with all strings that are not identifiers in single quotes, also in lists and dicts."""
        if isinstance(part, list):
            return [quote(item) for item in part]
        if isinstance(part, dict):
            return {key: quote(item) for key, item in part.items()}
        return QuotedString(part, Quote.single) if isinstance(part, str) and not part.isidentifier() else part

    return Transformer.str(quote(value))

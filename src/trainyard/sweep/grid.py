"""What a sweep varies: Hydra's override grammar and the lists of a file, as axes of settings."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, OverrideType, Quote, QuotedString, RangeSweep

from trainyard.config.hydra_errors import find_path, in_our_words
from trainyard.config.search_path import choices, groups
from trainyard.errors import ConfigError

_ONE_STORE = "all trials of a sweep go to one experiment of one store"
_FIXED = {
    r"sweep(\..*)?": "it says how all trials are run",
    r"hydra\b.*": "it says how all trials are run",
    r"tracking|tracking\.(uri|experiment)": _ONE_STORE,
    r"resume": "it goes on with a single run",
}
"""What can't be swept, as patterns of keys, and why."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of one axis.

    Attributes:
        key: As on the command line, with its ``+`` or ``~``.
        text: The whole override.
        value: In Python's types.
        structural: Whether it chooses a group, adds or removes, so that a config has to be composed anew for it.
    """

    key: str
    text: str
    value: Any
    structural: bool


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers that an axis holds, both ends included.

    Attributes:
        low: The least.
        high: The greatest.
        log: Whether what counts is their ratio: half of them lie below the geometric mean.
        step: From one to the next; None: any number between the ends.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def has(self, value: Any) -> bool:  # noqa: ANN401 - any value of a config
        """Tells whether a value is one of the numbers."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        return not self.whole or (value == int(value) and (int(value) - int(self.low)) % int(self.step or 1) == 0)

    @property
    def whole(self) -> bool:
        """Whether all of them are whole numbers."""
        return isinstance(self.low, int)


@dataclass(frozen=True, slots=True)
class Axis:
    """The settings of one key; more than one, or a sweep of one, where it is swept.

    Attributes:
        key: As on the command line, with its ``+`` or ``~``.
        settings: In the order that they were given in; of an interval its ends.
        swept: Whether there are several, or may be.
        interval: Where the settings are numbers in even steps, or no more than the ends of an interval; else None.
        listed: Whether the settings are all there are; of an interval they are not.
    """

    key: str
    settings: tuple[Setting, ...]
    swept: bool
    interval: Interval | None = None
    listed: bool = True

    def describe(self) -> str:
        """Returns what there is to choose from: ``[0.1, 0.01]``, ``interval(0.0001, 0.1), log``."""
        if self.listed or self.interval is None:
            return f"[{', '.join(setting.text.partition('=')[2] for setting in self.settings)}]"
        return f"interval({self.interval.low}, {self.interval.high}){', log' if self.interval.log else ''}"

    def setting(self, value: Any) -> Setting:  # noqa: ANN401 - a number
        """Returns the setting of a number of the interval."""
        return replace(self.settings[0], text=f"{self.key}={value!r}", value=value)


Point = tuple[Setting, ...]
"""A setting of each axis."""


def read_axes(
    overrides: Sequence[str], params: Mapping[str, Any] | None = None, config_dir: Path | None = None
) -> list[Axis]:
    """Returns the axes of a sweep. Where a key is given twice the later one holds, and an override holds over a param.

    Args:
        overrides: In Hydra's grammar, with or without sweeps.
        params: Dotted paths or groups to lists of values, or to what stands behind the ``=`` of an override.
        config_dir: A further folder with configs.

    Raises:
        ConfigError: If something is not in the grammar, has no values, or can't be swept.
    """
    known = set(groups(config_dir))
    axes = [_axis_of_param(key, value, known, config_dir) for key, value in (params or {}).items()]
    axes += [
        _axis_of_override(override, known, config_dir) for override in map(_plainly, _parse(overrides, config_dir))
    ]
    return list({axis.key: axis for axis in axes}.values())


def combine(axes: Sequence[Axis]) -> Iterator[Point]:
    """Yields every combination of the axes' settings; the last axis varies fastest.

    Raises:
        ConfigError: If one is an interval, which has no end of settings.
    """
    for axis in axes:
        if not axis.listed:
            raise ConfigError(
                f"{axis.key}: a grid wants values, got an interval. Take choice(...) or range(...), or have it drawn "
                "from by a sampler: sweep.sampler=tpe"
            )
    return itertools.product(*(axis.settings for axis in axes))


def seed_axis(first: int, count: int) -> Axis:
    """Returns the axis of so many seeds, counted up from the first."""
    settings = (Setting("seed", f"seed={seed}", seed, structural=False) for seed in range(first, first + count))
    return Axis("seed", tuple(settings), swept=True)


def _parse(overrides: Sequence[str], config_dir: Path | None) -> list[Override]:
    with in_our_words(config_dir):
        return list(OverridesParser.create().parse_overrides(list(overrides)))


def _plainly(override: Override) -> Override:
    """Takes ``++`` of a field that there is anyway for what it says: the field has that value."""
    if override.is_force_add() and find_path(override.key_or_group) == override.key_or_group:
        return replace(override, type=OverrideType.CHANGE)
    return override


def _axis_of_param(key: str, value: Any, known: set[str], config_dir: Path | None) -> Axis:  # noqa: ANN401 - any YAML
    _refuse_fixed(key)
    if value is None or isinstance(value, dict):
        raise ConfigError(
            f"sweep.params: {key}: expected a list of values, or a sweep as text, got {value!r}. A path is written in "
            "one piece, model.hidden_units: [[64], [32]]"
        )
    try:
        if not isinstance(value, list):
            (override,) = _parse([f"{key}={value}"], config_dir)
            return _axis_of_override(_plainly(override), known, config_dir)
        settings = []
        for item in value:
            (override,) = map(_plainly, _parse([f"{key}={_text(item)}"], config_dir))
            settings.append(_setting(override, override.value(), override.get_value_element_as_str(), known))
        return _checked(Axis(key, tuple(settings), swept=True))
    except ConfigError as error:
        raise ConfigError(*(f"sweep.params: {problem}" for problem in error.problems)) from error


def _axis_of_override(override: Override, known: set[str], config_dir: Path | None) -> Axis:
    key = override.get_key_element()
    if override.is_interval_sweep():
        interval = _interval(override)
        ends = [_setting(override, end, repr(end), known) for end in (interval.low, interval.high)]
        return _checked(Axis(key, tuple(ends), swept=True, interval=interval, listed=False))
    if not override.is_sweep_override():
        if override.is_delete():
            return Axis(key, (Setting(key, str(override.input_line), None, structural=True),), swept=False)
        setting = _setting(override, override.value(), override.get_value_element_as_str(), known)
        return Axis(key, (setting,), swept=False)
    settings = tuple(_setting(override, value, text, known) for value, text in _items(override, config_dir))
    return _checked(Axis(key, settings, swept=True, interval=_steps(override)))


def _interval(override: Override) -> Interval:
    """Returns what ``interval(a, b)`` says; ``tag(log, ...)`` has it drawn on a logarithmic scale."""
    sweep: Any = override.value()
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    if low is None or high is None or not low < high or (log and low <= 0):
        wanted = "numbers above 0, the lesser first" if log else "two numbers, the lesser first"
        raise ConfigError(f"{override.get_key_element()}: expected {wanted}, got {override.input_line!r}")
    return Interval(low, high, log, step=1 if isinstance(low, int) and isinstance(high, int) else None)


def _steps(override: Override) -> Interval | None:
    """Returns the numbers of ``range(a, b)`` as an interval; of any other sweep None."""
    sweep = override._value  # noqa: SLF001 - Hydra has no other way to ask
    if not isinstance(sweep, RangeSweep):
        return None
    numbers, log = sorted(sweep.range()), "log" in sweep.tags
    if len(numbers) < 2 or isinstance(numbers[0], float):  # noqa: PLR2004 - floats are not in even steps to the last bit
        return None
    if log and (abs(sweep.step) != 1 or numbers[0] < 1):  # which Optuna has not; they are drawn as choices
        return None
    return Interval(numbers[0], numbers[-1], log, step=abs(sweep.step))


def _items(override: Override, config_dir: Path | None) -> Iterator[tuple[Any, str]]:
    """Yields the values of a sweep, each with its text."""
    if isinstance(override._value, Glob):  # noqa: SLF001 - Hydra would ask a loader that composes, and hide nothing
        yield from ((name, name) for name in override._value.filter(choices(override.key_or_group, config_dir)))  # noqa: SLF001
        return
    for item in override.sweep_iterator():
        yield Override._convert_value(item), Override._get_value_element_as_str(item)  # noqa: SLF001 - as Hydra writes it


def _setting(override: Override, value: Any, text: str, known: set[str]) -> Setting:  # noqa: ANN401 - any value
    key = override.get_key_element()
    plain = override.key_or_group not in known and override.package is None
    changes_keys = override.is_add() or override.is_force_add() or override.is_delete()
    structural = not plain or changes_keys or override.is_hydra_override()
    return Setting(key, f"{key}={text}", value, structural)


def _checked(axis: Axis) -> Axis:
    _refuse_fixed(axis.key)
    if not axis.settings:
        raise ConfigError(f"{axis.key.lstrip('+~')}: expected values to sweep over, got none")
    return axis


def _refuse_fixed(key: str) -> None:
    plain = key.lstrip("+~")
    for pattern, why in _FIXED.items():
        if re.fullmatch(pattern, plain.partition("@")[0]):
            raise ConfigError(f"{plain}: can't be swept, {why}. Give it one value")


def _text(value: Any) -> str:  # noqa: ANN401 - any YAML value
    """Returns a value as Hydra's grammar has it; text in quotes, so that it stays text."""

    def quoted(part: Any) -> Any:  # noqa: ANN401 - likewise
        if isinstance(part, list):
            return [quoted(item) for item in part]
        if isinstance(part, dict):
            return {key: quoted(item) for key, item in part.items()}
        return QuotedString(part, Quote.single) if isinstance(part, str) and not part.isidentifier() else part

    return Override._get_value_element_as_str(quoted(value))  # noqa: SLF001 - as Hydra writes it

"""Whether a config makes sense, as far as that can be known without data and without TensorFlow.

Every field is held against its type and its `Rule`, then sections and the whole are asked for contradictions. All
mistakes are reported at once, each with its dotted path, what was expected and what was received.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trainyard.config.fields import Rule, rule_of
from trainyard.config.registry import did_you_mean, registered_metrics, unknown
from trainyard.config.schema import ComponentConfig, RunConfig
from trainyard.errors import ConfigError

_LARGEST = 2**63 - 1
"""What the libraries beneath can hold."""
_WEIGHT_BYTES = 4
"""Of one parameter; it is kept in single precision in half precision training too."""


def validate(config: RunConfig) -> None:
    """Checks everything about a config that needs no data.

    Args:
        config: The whole config, composed from YAML or made in Python.

    Raises:
        ConfigError: With a line per mistake: the dotted path, what was expected, what was received, what to do.
    """
    if not isinstance(config, RunConfig):
        raise ConfigError(f"expected a RunConfig, from compose_config or load_config, got {config!r}")
    problems = list(section_problems(config, ""))
    if not problems:  # a contradiction between sections means something only where each section is sound
        problems = [f"{path}: {message}" for path, message in config.problems()]
        known = registered_metrics()
        strangers = [name for name in config.evaluation.metrics if name not in known]
        problems += [unknown("evaluation.metrics", "unknown metric", name, known) for name in strangers]
    if not problems and (shape := config.dataset.known_shape):
        problems = [f"model: {told}" for told in size_problems(config.model.count_parameters(*shape))]
    if problems:
        raise ConfigError(*problems)


def size_problems(parameters: int | None) -> Iterator[str]:
    """Yields a problem if a model's weights alone are more than the memory of this machine."""
    held, weights = _memory_bytes(), _WEIGHT_BYTES * (parameters or 0)
    if weights > held:
        yield (
            f"expected weights that fit into this machine's memory of {held // 10**9:,} GB, got {parameters:,} "
            f"parameters, which take {weights // 10**9:,} GB before anything is trained. Make the layers smaller"
        )


@functools.cache
def _memory_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def require_files(config: RunConfig) -> None:
    """Checks that the data and the model to start from are there, where the config says by a path where they are.

    Raises:
        ConfigError: If they are not.
    """
    path = getattr(config.dataset, "path", None)
    if path and not Path(path).expanduser().exists():
        raise ConfigError(f"dataset.path: expected {path} to be there, and there is no such file or folder")
    start = Path(config.training.start_from or "").expanduser()
    if start.suffix in (".keras", ".h5") and not start.is_file():
        raise ConfigError(f"training.start_from: expected the model file {start}, and there is no such file")


def describe_type(kind: Any, rule: Rule | None = None) -> str:  # noqa: ANN401 - any annotation
    """Returns what a field accepts, in words: ``'a number above 0, or null'``."""
    rule = rule or Rule()
    options = alternatives(kind, rule)
    takes_list = any(typing.get_origin(option) is list for option in options)
    description = " or ".join(_describe(option, rule.holds or "texts") for option in options)
    if rule.choices:
        description = f"one of {', '.join(rule.choices)}" + (", or a list of them" if takes_list else "")
    if bounds := rule.describe_bounds():
        description += f", each {bounds}" if takes_list else f" {bounds}"
    return description + (", or null" if is_optional(kind) else "")


_TYPE_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    dict[str, str]: "a mapping of text to text",
    dict[str, Any]: "a mapping of paths to values",
}


def _describe(kind: Any, elements: str) -> str:  # noqa: ANN401 - any annotation
    if typing.get_origin(kind) is list:
        (item,) = typing.get_args(kind)
        return {int: "a list of whole numbers", float: "a list of numbers"}.get(item, f"a list of {elements}")
    return _TYPE_WORDS.get(kind, "a section with fields of its own")


def section_problems(section: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - any section dataclass
    """Yields what is wrong with a section, each problem with its path; contradictions between sections apart."""
    hints = _hints(type(section))  # type: ignore[arg-type]  # a class is hashable
    found_any = False
    for spec in dataclasses.fields(section):
        dotted = f"{path}.{spec.name}" if path else spec.name
        for problem in _field_problems(getattr(section, spec.name), hints[spec.name], rule_of(spec), dotted):
            found_any = True
            yield problem
    if isinstance(section, ComponentConfig):
        if section.name != section.registered_name:
            yield (
                f"{path}.name: fixed to {section.registered_name!r}, got {section.name!r}. "
                f"To choose another component: {path}={section.name}"
            )
        if not found_any:
            yield from (f"{path}.{name}: {message}" for name, message in section.problems())


@functools.cache
def _hints(section: type) -> dict[str, Any]:
    """Returns the types of a section's fields; a sweep asks for them ten thousand times."""
    return typing.get_type_hints(section)


def _field_problems(value: Any, kind: Any, rule: Rule, path: str) -> Iterator[str]:  # noqa: ANN401 - any field
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if isinstance(value, kind):
            yield from section_problems(value, path)
        else:
            yield f"{path}: expected {kind.__name__}, got {value!r}"
        return
    if value is None and is_optional(kind):
        return

    def expected() -> str:
        return f"{path}: expected {describe_type(kind, rule)}, got {value!r}"

    if not any(_matches(value, option) for option in alternatives(kind, rule)):
        yield expected()
        return
    if rule.nonempty and not value:
        yield f"{expected()}: it must not be empty"
    yield from itertools.islice(_item_problems(value, rule, path, expected), 1)


def _item_problems(value: Any, rule: Rule, path: str, expected: Callable[[], str]) -> Iterator[str]:  # noqa: ANN401
    """Yields a problem for each element of a list, or for a value alone, that its rule does not admit."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, float) and not math.isfinite(item):
            yield f"{path}: expected a finite number, got {value!r}"
        elif isinstance(item, int) and abs(item) > _LARGEST:
            yield f"{path}: expected a number below {_LARGEST:,}, got one of {len(str(abs(item)))} digits"
        elif isinstance(item, (int, float)) and not isinstance(item, bool) and not rule.admits(item):
            yield expected()
        elif rule.choices and isinstance(item, str) and item not in rule.choices:
            reason = rule.refuses.get(item)
            yield f"{expected()}. {reason}" if reason else f"{expected()}.{did_you_mean(item, rule.choices)}"


def alternatives(kind: Any, rule: Rule) -> tuple[Any, ...]:  # noqa: ANN401 - any annotation
    """Returns the types that a field takes, null apart."""
    if rule.accepts:
        return rule.accepts
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return tuple(option for option in typing.get_args(kind) if option is not type(None))
    return (kind,)


def is_optional(kind: Any) -> bool:  # noqa: ANN401 - any annotation
    """Tells whether a field may be null."""
    return type(None) in typing.get_args(kind)


def _matches(value: Any, kind: Any) -> bool:  # noqa: ANN401 - any value, any annotation
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return isinstance(value, list) and all(_matches(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            _matches(k, arguments[0]) and _matches(v, arguments[1]) for k, v in value.items()
        )
    if kind in (int, float) and isinstance(value, bool):
        return False
    if kind is Any:
        return True
    return isinstance(value, (int, float) if kind is float else kind)

"""Validates a config without loading data or importing TensorFlow.

First the type and the `Rule` of each field are checked, then contradictions between fields and between sections. All
problems are reported together, each with its dotted path, what was expected and what was received.
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

from trainyard.config.fields import Rule, find_name_problem, get_rule
from trainyard.config.registry import format_suggestion, format_unknown_name, get_registered_metrics
from trainyard.config.schema import ComponentConfig, RunConfig
from trainyard.errors import ConfigError

_MAX_INTEGER = 2**63 - 1
"""The largest integer that TensorFlow and MLflow support."""
_BYTES_PER_PARAMETER = 4
"""Parameters are stored in float32, also with mixed precision."""


def validate_config(config: RunConfig) -> None:
    """Checks a config, as far as possible without data.

    Args:
        config: The complete config, composed from YAML or created in Python.

    Raises:
        ConfigError: If the config is invalid. One line per problem: the dotted path, what was expected, what was
            received, what to do.
    """
    if not isinstance(config, RunConfig):
        raise ConfigError(f"expected a RunConfig, from compose_config or load_config, got {config!r}")
    problems = list(find_section_problems(config, ""))
    if not problems:  # contradictions between sections are meaningful only if each section is valid
        problems = [f"{path}: {message}" for path, message in find_contradictions(config)]
        registered = get_registered_metrics()
        unknown = [name for name in config.evaluation.metrics if name not in registered]
        problems += [format_unknown_name("evaluation.metrics", "unknown metric", name, registered) for name in unknown]
    if not problems and (shape := config.dataset.known_shape):
        problems = [f"model: {problem}" for problem in find_size_problems(config.model.count_parameters(*shape))]
    if problems:
        raise ConfigError(*problems)


def find_contradictions(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Yields (path, message) for each contradiction between sections."""
    for path, monitor in config.training.monitored_metrics():
        if monitor.endswith("/val") and not config.dataset.validation_fraction:
            remedy = "Set dataset.validation_fraction=0.1, or monitor loss/train"
            yield f"training.{path}", f"{monitor} requires validation images, but there are none. {remedy}"
    if config.training.plateau.patience is not None and not config.schedule.is_constant:
        message = f"not possible with schedule={config.schedule.name}, which sets the learning rate at each step"
        yield "training.plateau.patience", f"{message}. Use schedule=constant, or set patience to null"
    stopping = config.training.early_stopping
    if stopping.patience is not None and stopping.restore_best and getattr(config.optimizer, "use_ema", False):
        message = "not possible with optimizer.use_ema=true: it would restore the weights before averaging"
        yield "training.early_stopping.restore_best", f"{message}. Set one of them to false"
    if config.training.keep_best is not None and getattr(config.optimizer, "use_ema", False):
        message = "not possible with optimizer.use_ema=true: it would save the weights before averaging"
        yield "training.keep_best", f"{message}. Set keep_best to null or use_ema to false"
    if config.training.class_weights is not None and config.training.balance_classes:
        yield (
            "training.class_weights",
            "not possible with training.balance_classes=true, which computes them. Set only one of them",
        )
    for name, message in config.schedule.training_problems(config.training.epochs):
        yield f"schedule.{name}", message
    if config.training.determinism == "strict" and config.training.xla == "on":
        message = "on is not possible with training.determinism=strict, because XLA rounds differently than TensorFlow"
        yield "training.xla", f"{message}. Set only one of them"
    names = {"name": config.name, **({"sweep.name": config.sweep.name} if config.sweep.name else {})}
    yield from ((path, problem) for path, name in names.items() if (problem := find_name_problem(name)))


def find_size_problems(parameters: int | None) -> Iterator[str]:
    """Yields a problem if the weights of a model alone are larger than the memory of this machine."""
    memory, weights = _read_memory_bytes(), _BYTES_PER_PARAMETER * (parameters or 0)
    if weights > memory:
        yield (
            f"expected weights that fit into this machine's memory of {memory // 10**9:,} GB, got {parameters:,} "
            f"parameters, which require {weights // 10**9:,} GB before training. Make the layers smaller"
        )


@functools.cache
def _read_memory_bytes() -> int:
    """Returns the main memory of this machine in bytes: the limit for the size of a model's weights."""
    import psutil

    return int(psutil.virtual_memory().total)


def check_files_exist(config: RunConfig) -> None:
    """Checks that the paths in ``dataset.path`` and ``training.start_from`` exist.

    Raises:
        ConfigError: If a path does not exist.
    """
    path = getattr(config.dataset, "path", None)
    if path and not Path(path).expanduser().exists():
        raise ConfigError(f"dataset.path: expected an existing file or folder, got {path}, which does not exist")
    start = Path(config.training.start_from or "").expanduser()
    if start.suffix in (".keras", ".h5") and not start.is_file():
        raise ConfigError(f"training.start_from: expected an existing model file, got {start}, which does not exist")


def describe_type(annotation: Any, rule: Rule | None = None) -> str:  # noqa: ANN401 - any annotation
    """Returns a description of the values that a field accepts, such as ``'a number above 0, or null'``."""
    rule = rule or Rule()
    options = list_accepted_types(annotation, rule)
    accepts_list = any(typing.get_origin(option) is list for option in options)
    description = " or ".join(_describe_single_type(option, rule.elements or "strings") for option in options)
    if rule.choices:
        description = f"one of {', '.join(rule.choices)}" + (", or a list of them" if accepts_list else "")
    if bounds := rule.describe_bounds():
        description += f", each {bounds}" if accepts_list else f" {bounds}"
    return description + (", or null" if is_optional(annotation) else "")


_TYPE_DESCRIPTIONS = {
    int: "an integer",
    float: "a number",
    str: "a string",
    bool: "true or false",
    dict[str, str]: "a mapping of strings to strings",
    dict[str, Any]: "a mapping of paths to values",
}


def _describe_single_type(annotation: Any, elements: str) -> str:  # noqa: ANN401 - any annotation
    """Returns a type in words, without bounds. `elements` names the elements of a list that does not hold numbers."""
    if typing.get_origin(annotation) is list:
        (item,) = typing.get_args(annotation)
        return {int: "a list of integers", float: "a list of numbers"}.get(item, f"a list of {elements}")
    return _TYPE_DESCRIPTIONS.get(annotation, "a section (a mapping of fields to values)")


def find_section_problems(section: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - any section dataclass
    """Yields the problems of a section, each with its path. Contradictions between sections are not checked."""
    hints = _get_type_hints(type(section))  # type: ignore[arg-type]  # a class is hashable
    has_field_problem = False
    for spec in dataclasses.fields(section):
        dotted = f"{path}.{spec.name}" if path else spec.name
        for problem in _find_field_problems(getattr(section, spec.name), hints[spec.name], get_rule(spec), dotted):
            has_field_problem = True
            yield problem
    if isinstance(section, ComponentConfig):
        if section.name != section.registered_name:
            yield (
                f"{path}.name: expected {section.registered_name!r}, got {section.name!r}; the name cannot be changed. "
                f"To select another component, set {path}={section.name}"
            )
        if not has_field_problem:
            yield from (f"{path}.{name}: {message}" for name, message in section.problems())


@functools.cache
def _get_type_hints(section: type) -> dict[str, Any]:
    """Returns the types of the fields of a section. Cached, because a sweep validates thousands of configs."""
    return typing.get_type_hints(section)


def _find_field_problems(value: Any, annotation: Any, rule: Rule, path: str) -> Iterator[str]:  # noqa: ANN401 - any field
    """Yields the problems of a field's value: a wrong type, an empty value, or the first violation of its rule."""
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        if isinstance(value, annotation):
            yield from find_section_problems(value, path)
        else:
            yield f"{path}: expected {annotation.__name__}, got {value!r}"
        return
    if value is None and is_optional(annotation):
        return

    def format_expected() -> str:
        """Returns the problem that the value is not what the field expects, as text."""
        return f"{path}: expected {describe_type(annotation, rule)}, got {value!r}"

    if not any(_matches_type(value, option) for option in list_accepted_types(annotation, rule)):
        yield format_expected()
        return
    if rule.nonempty and not value:
        yield f"{format_expected()}: it must not be empty"
    yield from itertools.islice(_find_item_problems(value, rule, path, format_expected), 1)


def _find_item_problems(value: Any, rule: Rule, path: str, format_expected: Callable[[], str]) -> Iterator[str]:  # noqa: ANN401
    """Yields a problem for each element of a list, or for a single value, that violates the rule."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, float) and not math.isfinite(item):
            yield f"{path}: expected a finite number, got {value!r}"
        elif isinstance(item, int) and abs(item) > _MAX_INTEGER:
            yield f"{path}: expected an integer below {_MAX_INTEGER:,}, got one with {len(str(abs(item)))} digits"
        elif isinstance(item, (int, float)) and not isinstance(item, bool) and not rule.is_within_bounds(item):
            yield format_expected()
        elif rule.choices and isinstance(item, str) and item not in rule.choices:
            reason = rule.rejected.get(item)
            yield (
                f"{format_expected()}. {reason}"
                if reason
                else f"{format_expected()}.{format_suggestion(item, rule.choices)}"
            )


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


def _matches_type(value: Any, annotation: Any) -> bool:  # noqa: ANN401 - any value, any annotation
    """Returns whether a value and its elements have a type. A bool is no number; an integer is accepted as a float."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is list:
        return isinstance(value, list) and all(_matches_type(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            _matches_type(k, arguments[0]) and _matches_type(v, arguments[1]) for k, v in value.items()
        )
    if annotation in (int, float) and isinstance(value, bool):
        return False
    if annotation is Any:
        return True
    return isinstance(value, (int, float) if annotation is float else annotation)

"""Validates a config without loading data or importing TensorFlow.

First the type and the `Rule` of each field are checked, then contradictions between fields and between sections. All
problems are reported together, each with its dotted path, what was expected and what was received.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from trainyard.config.fields import find_name_problem, find_value_problem, format_unknown_name, get_rule
from trainyard.config.registry import get_registered_metrics
from trainyard.config.schema import ComponentConfig, RunConfig
from trainyard.errors import ConfigError

_SECRET_NAMES = ("token", "password", "secret", "api_key")
"""Names of settings and tags that are refused, because the config is logged."""

# cached, because a sweep validates thousands of configs
_get_type_hints = functools.cache(typing.get_type_hints)
_get_fields: Callable[[type], tuple[dataclasses.Field[Any], ...]] = functools.cache(dataclasses.fields)
_get_memory = functools.cache(lambda: psutil.virtual_memory().total)

ValidValues = dict[tuple[type, str, int], Any]
"""Sections and values of fields that are valid, by the type of their section, their path, and their `id`.

The trials of a sweep share most sections as objects, so that each of them has to be checked only once.
"""


def validate_config(config: RunConfig, valid: ValidValues | None = None) -> None:
    """Raises a ConfigError, with one line per problem, if a config is invalid, as far as is known without data.

    The parts in `valid` are not checked again, and those that are found valid are added to it.
    """
    if not isinstance(config, RunConfig):
        raise ConfigError(f"expected a RunConfig, from compose_config or load_config, got {config!r}")
    problems = list(find_section_problems(config, "", valid))
    if not problems:  # contradictions between sections are meaningful only if each section is valid
        problems = [f"{path}: {message}" for path, message in find_contradictions(config)]
        registered = get_registered_metrics()
        unknown = [name for name in config.evaluation.metrics if name not in registered]
        problems += [format_unknown_name("evaluation.metrics", "unknown metric", name, registered) for name in unknown]
    if not problems:
        problems = [f"model: {problem}" for problem in find_size_problems(config.known_parameters)]
    if problems:
        raise ConfigError(*problems)


def _find_secrets(path: str, value: object) -> Iterator[str]:
    """Yields a problem for each value with the name of a secret; a dict, such as that of the tags, has several."""
    values = {f"{path}.{key}": entry for key, entry in value.items()} if isinstance(value, dict) else {path: value}
    for name, entry in values.items():
        if entry and name.rpartition(".")[2].lower() in _SECRET_NAMES:
            yield f"{name}: refused, because the config is logged. Remove it, and use an environment variable"


def find_contradictions(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Yields (path, message) for each contradiction between sections."""
    for path, monitor in config.training.monitored_metrics():
        if monitor.endswith("/val") and not config.dataset.has_validation:
            remedy = "Set dataset.validation_fraction=0.1, or monitor loss/train"
            yield f"training.{path}", f"{monitor} requires validation images, but there are none. {remedy}"
    if config.training.plateau.patience is not None and not config.schedule.is_constant:
        message = f"not possible with schedule={config.schedule.name}, which sets the learning rate at each step"
        yield "training.plateau.patience", f"{message}. Use schedule=constant, or set patience to null"
    stopping = config.training.early_stopping
    if stopping.patience is not None and stopping.restore_best and config.optimizer.averages_weights:
        message = "not possible with optimizer.use_ema=true: it would restore the weights before averaging"
        yield "training.early_stopping.restore_best", f"{message}. Set one of them to false"
    if config.training.keep_best is not None and config.optimizer.averages_weights:
        message = "not possible with optimizer.use_ema=true: it would save the weights before averaging"
        yield "training.keep_best", f"{message}. Set keep_best to null or use_ema to false"
    if config.training.class_weights is not None and config.training.balance_classes:
        message = "not possible with training.balance_classes=true, which computes them. Set only one of them"
        yield "training.class_weights", message
    for name, message in config.schedule.training_problems(config.training.epochs):
        yield f"schedule.{name}", message
    for name, message in config.model.precision_problems(config.training.precision):
        yield f"model.{name}", message
    if config.training.determinism == "strict" and config.training.xla == "on":
        message = "on is not possible with training.determinism=strict, because XLA rounds differently than TensorFlow"
        yield "training.xla", f"{message}. Set only one of them"
    names = {"name": config.name, **({"sweep.name": config.sweep.name} if config.sweep.name else {})}
    yield from ((path, problem) for path, name in names.items() if (problem := find_name_problem(name)))


def find_size_problems(parameters: int | None) -> Iterator[str]:
    """Yields a problem if the weights of a model alone are larger than the memory of this machine."""
    memory, weights = _get_memory(), 4 * (parameters or 0)  # float32, also with mixed precision
    if weights > memory:
        yield (
            f"expected weights that fit into this machine's memory of {memory // 10**9:,} GB, got {parameters:,} "
            f"parameters, which require {weights // 10**9:,} GB before training. Make the layers smaller"
        )


def check_files_exist(config: RunConfig) -> None:
    """Raises a ConfigError if the path in ``dataset.path`` or ``training.start_from`` does not exist."""
    path = getattr(config.dataset, "path", None)
    if path and not os.path.exists(Path(path).expanduser()):  # noqa: PTH110 - Path.exists raises PermissionError
        raise ConfigError(f"dataset.path: expected an existing file or folder, got {path}, which does not exist")
    start = Path(config.training.start_from or "").expanduser()
    if start.suffix in (".keras", ".h5", ".hdf5") and not start.is_file():
        raise ConfigError(f"training.start_from: expected an existing model file, got {start}, which does not exist")


def find_section_problems(
    section: Any,  # noqa: ANN401 - any section dataclass
    path: str,
    valid: ValidValues | None = None,
) -> Iterator[str]:
    """Yields the problems of a section, each with its path. Contradictions between sections are not checked.

    `valid` is as for `validate_config`.
    """
    has_field_problem = False
    for spec in _get_fields(type(section)):
        dotted, value = f"{path}.{spec.name}" if path else spec.name, getattr(section, spec.name)
        key = type(section), dotted, id(value)
        if valid is not None and key in valid:
            continue
        problems = _find_field_problems(section, spec, dotted, valid)
        if not problems and valid is not None:
            valid[key] = value  # the reference keeps the id unique
        has_field_problem |= bool(problems)
        yield from problems
    if isinstance(section, ComponentConfig):
        if section.name != section.registered_name:
            yield (
                f"{path}.name: expected {section.registered_name!r}, got {section.name!r}; the name cannot be changed. "
                f"To select another component, set {path}={section.name}"
            )
        if not has_field_problem:
            yield from (f"{path}.{name}: {message}" for name, message in section.problems())


def _find_field_problems(
    section: Any,  # noqa: ANN401 - any section dataclass
    spec: dataclasses.Field[Any],
    path: str,
    valid: ValidValues | None,
) -> list[str]:
    """Returns the problems of a field of a section; see `find_section_problems`."""
    value, annotation = getattr(section, spec.name), _get_type_hints(type(section))[spec.name]  # type: ignore[arg-type]
    if not dataclasses.is_dataclass(annotation):
        problem = find_value_problem(value, annotation, get_rule(spec))
        return [f"{path}: {problem}"] if problem else list(_find_secrets(path, value))
    if isinstance(value, annotation):  # type: ignore[arg-type]
        return list(find_section_problems(value, path, valid))
    return [f"{path}: expected {annotation.__name__}, got {value!r}"]  # type: ignore[union-attr]

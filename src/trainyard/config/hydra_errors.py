"""Translates errors of Hydra and OmegaConf into messages with the path, what was expected and what was received."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError

from trainyard.config.fields import Rule, describe_type, format_suggestion, format_unknown_name, get_rule
from trainyard.config.registry import get_registered_components
from trainyard.config.schema import RunConfig
from trainyard.config.search_path import list_choices, list_config_folders, list_groups
from trainyard.errors import ConfigError


@contextlib.contextmanager
def translate_hydra_errors(config_dir: Path | None = None) -> Iterator[None]:
    """Converts exceptions of Hydra and OmegaConf in the block into a ConfigError."""
    try:
        yield
    except MissingConfigException as error:
        raise ConfigError(_format_missing_config(error, config_dir)) from error
    except HydraException as error:
        cause = error.__cause__ or error.__context__
        source = re.match(r"In '([^']+)'", str(error))
        location = f" (in {source.group(1)}.yaml)" if source else ""
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            raise ConfigError(_format_invalid_key(cause) + location) from error
        if isinstance(error, OverrideParseException):
            raise ConfigError(_format_invalid_override(error, config_dir)) from error
        raise ConfigError(_shorten_message(str(error))) from error
    except OmegaConfBaseException as error:
        raise ConfigError(_format_invalid_key(error)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", error)  # contains the name of the file, unless it is not UTF-8
        file = getattr(place, "name", None) or _find_undecodable_file(config_dir)
        file = os.path.relpath(file)
        raise ConfigError(f"{file}: expected YAML, but it cannot be read: {_shorten_message(str(error))}") from error
    except ConfigError:
        raise
    except (AssertionError, AttributeError, TypeError, ValueError) as error:  # unhandled errors in Hydra
        key = re.search(r"full_key: (\S+)", str(error))
        path = f"{key.group(1)}: " if key else ""
        raise ConfigError(f"{path}Hydra cannot compose this: {_shorten_message(str(error))}") from error


def _find_undecodable_file(config_dir: Path | None) -> str:
    """Returns the first config file that is not UTF-8."""
    for path in (path for folder in list_config_folders(config_dir) for path in sorted(folder.rglob("*.yaml"))):
        try:
            path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError):
            return str(path)
    return "a config file"


def _format_missing_config(error: MissingConfigException, config_dir: Path | None) -> str:
    """Returns the message for a config file that does not exist: a primary config, a choice of a group, or a plugin."""
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        folders = "./conf, in --config-dir or among the configs of Trainyard"
        return f"--config-name: there is no config {name!r} in {folders}. To select a recipe, use experiment=NAME"
    if group.startswith("hydra/"):
        return f"{group}: there is no config {name!r}. It may belong to a Hydra plugin that is not installed"
    if group not in list_groups(config_dir):
        return format_unknown_name(group, "unknown config group", group, list_groups(config_dir))
    return format_unknown_name(group, f"unknown {group}", name, list_choices(group, config_dir))


def _format_invalid_override(error: OverrideParseException, config_dir: Path | None) -> str:
    """Returns the message for an override with invalid syntax."""
    word = error.override
    key, separator, value = word.partition("=")
    if not separator:
        return _format_missing_value(word, config_dir)
    if any(word.count(opening) != word.count(closing) for opening, closing in ("[]", "{}", "()")):
        return f"{word!r}: unbalanced brackets. If the value contains spaces, quote the override: 'key=[1, 2]'"
    if word.endswith(","):
        return f"{word!r}: expected another value after the comma, got none. Write values to sweep over as key=a,b"
    quote = "Quote texts that contain special characters"
    if fields := find_fields(key.lstrip("+")):
        expected = describe_type(fields[0].annotation, fields[0].rule)
        return f"{fields[0].path}: expected {expected}, got {value!r}" + (f". {quote}" if "strings" in expected else "")
    return f"{_shorten_message(str(error))}. {quote}: 'key=\"a=b\"'"


def _format_missing_value(word: str, config_dir: Path | None) -> str:
    """Returns the message for an override without a value."""
    message = f"{word!r}: expected group=name or field=value, without spaces around the ="
    if Path(word).suffix in (".yaml", ".yml"):
        return f"{message}. To select a recipe in conf/experiment, use experiment={Path(word).stem}"
    groups = [group for group in list_groups(config_dir) if word in list_choices(group, config_dir)]
    path = find_field_path(word)
    if path or groups:
        suggestion = f"{path}=..." if path else f"{groups[-1]}={word}"
        return f"{message}. Did you mean {suggestion!r}?"
    return f"{message}. Quote a value that contains spaces"


def _format_invalid_key(error: OmegaConfBaseException) -> str:
    """Returns the message for a key that is unknown, or whose value has a wrong type."""
    path, owner = str(error.full_key), error.object_type
    fields = {spec.name: spec for spec in dataclasses.fields(owner)} if dataclasses.is_dataclass(owner) else {}
    if isinstance(error, (ConfigAttributeError, ConfigKeyError)):
        if owner is dict:
            return f"{path}: unknown key {error.key!r}. To add it, use +{path}=..."
        return format_unknown_key(path, fields)
    if isinstance(error, ValidationError):
        annotation, rule = error.ref_type, None
        if isinstance(error.key, int):  # an element of a list
            (annotation,) = typing.get_args(annotation)
        if error.key in fields:
            spec = fields[str(error.key)]
            annotation, rule = typing.get_type_hints(owner)[spec.name], get_rule(spec)
        if annotation is not None and not (dataclasses.is_dataclass(annotation) and error.value is None):
            return f"{path}: expected {describe_type(annotation, rule)}, got {error.value!r}"
    return f"{path}: {_shorten_message(str(error))}"


def format_unknown_key(path: str, names: Iterable[str]) -> str:
    """Returns the message for an unknown key, with a suggestion: a similar key, or a path that ends with the key."""
    section, _, key = path.rpartition(".")
    names = sorted(names)
    message = f"{path}: unknown key {key!r}."
    components = get_registered_components(section)
    owners = [name for name, cls in components.items() if key in {spec.name for spec in dataclasses.fields(cls)}]
    if path == "experiment":
        return f"{message} A recipe must begin with the line '# @package _global_', which seems to be missing"
    if owners:
        listed = " and ".join(filter(None, [", ".join(owners[:-1]), owners[-1]]))
        return f"{message} It is a field of {listed}: set {section}={owners[0]}"
    if suggestion := format_suggestion(key, names):
        message += suggestion
    elif similar_path := find_field_path(key):
        message += f" Did you mean {similar_path!r}?"
    return f"{message} {'Keys of ' + section if section else 'Keys'}: {', '.join(names)}"


def find_field_path(key: str) -> str | None:
    """Returns the first dotted path that equals the key or ends with it, or None."""
    paths = (field.path for field in _list_fields())
    return next((path for path in paths if path == key or path.endswith(f".{key}")), None)


class ConfigField(NamedTuple):
    """A field of a section, or of one of the components that a group can select."""

    path: str
    annotation: Any
    rule: Rule


def find_fields(path: str) -> list[ConfigField]:
    """Returns the fields with a dotted path: one for each component that has such a field."""
    owners: list[type] = [RunConfig]
    fields: list[ConfigField] = []
    parts = path.split(".")
    for depth, name in enumerate(parts, start=1):
        prefix = ".".join(parts[:depth])
        specs = [(owner, spec) for owner in owners for spec in dataclasses.fields(owner) if spec.name == name]
        fields = [ConfigField(prefix, typing.get_type_hints(owner)[name], get_rule(spec)) for owner, spec in specs]
        sections = [*get_registered_components(prefix).values(), *(field.annotation for field in fields)]
        owners = [section for section in sections if isinstance(section, type) and dataclasses.is_dataclass(section)]
    return fields


def _list_fields(owner: type = RunConfig, prefix: str = "") -> Iterator[ConfigField]:
    """Yields all fields, including those of all components."""
    hints = typing.get_type_hints(owner)
    for spec in dataclasses.fields(owner):
        path, annotation = prefix + spec.name, hints[spec.name]
        yield ConfigField(path, annotation, get_rule(spec))
        for section in get_registered_components(path).values() or [annotation]:
            if dataclasses.is_dataclass(section):
                yield from _list_fields(section, f"{path}.")


def _shorten_message(text: str) -> str:
    """Returns a message of Hydra or OmegaConf on one line, without technical details and links."""
    details = ("full_key:", "reference_type=", "object_type=", "See http")
    lines = (line.strip() for line in text.splitlines())
    return " ".join(line for line in lines if line and not line.startswith(details))

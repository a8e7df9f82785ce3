"""Overrides as users type them: prepares them for Hydra's grammar, and expands and checks them."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from trainyard.config.fields import format_unknown_name
from trainyard.config.hydra_errors import find_fields, translate_hydra_errors
from trainyard.config.registry import BASE_PREFIX
from trainyard.config.schema import COMPONENT_GROUPS
from trainyard.config.search_path import list_choices, list_groups
from trainyard.errors import ConfigError

_OVERRIDE = re.compile(r"(\+{0,2})([^=~+-][^=]*)=(.*)", re.DOTALL)
_PLAIN_TEXT = re.compile(r"(?!(true|false|nan|inf)$)[a-z_][\w./-]*", re.ASCII | re.IGNORECASE)
_INDEX = re.compile(r"(.+?)\[(\d+)\](.*)")
_HYDRA_TEXTS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.job.name")
_MAPPING = dict[str, str]


def normalize_overrides(overrides: Sequence[str]) -> list[str]:
    """Returns arguments with the overrides among them in a form that Hydra's grammar accepts.

    - The value of a field for text or a path is quoted if the grammar refuses it (``dataset.path=~/birds``), or
      would convert it to a number or a bool (``name=007``).
    - Keys can be added to a mapping of strings without ``+``: ``tracking.tags.team=vision``.
    - ``+experiment=NAME`` is ``experiment=NAME``.

    Raises:
        ConfigError: If the overrides are a string, an element of a list has brackets in its path, or a text has several
            meanings. The message contains the argument to type.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"expected a list of overrides, got the string {overrides!r}. Put it in brackets")
    return [_normalize(override) for override in overrides]


def expand_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Returns the overrides of each job of a sweep. Raises a ConfigError if the syntax of an override is invalid."""
    values = {}
    for override in _parse(overrides):
        is_sweep, key = override.is_sweep_override(), override.get_key_element()
        texts = override.sweep_string_iterator() if is_sweep else [override.get_value_element_as_str()]
        values[key] = [f"{key}={text}" for text in texts]
    return [list(job) for job in itertools.product(*values.values())]


def check_overrides(overrides: Sequence[str], config_dir: Path | None, sweep_command: str) -> None:
    """Raises a ConfigError for overrides that Trainyard does not support or that Hydra rejects with a traceback.

    `sweep_command` is the command or function that accepts several values, for messages.
    """
    for override in _parse(overrides, config_dir):
        key = override.key_or_group
        if key.startswith("hydra.searchpath"):
            remedy = "Add a folder with --config-dir"
            raise ConfigError(f"hydra.searchpath: refused, because it can import packages. {remedy}")
        if override.is_sweep_override():
            text = f"; if it is one text, use {_quote_argument(override.input_line or key)}" if _is_text(key) else ""
            raise ConfigError(
                f"{key}: expected one value, got several: {override.input_line}. For a list, use brackets and quotes: "
                f"'{key}=[1,2]'; to run once per value, use `{sweep_command}`{text}"
            )
        if override.is_delete() and not key.startswith("tracking.tags."):
            raise ConfigError(
                f"{key}: required, cannot be removed, got {override.input_line!r}. Set a value: {key}=..."
            )
        if key in list_groups(config_dir) and not override.is_delete():
            _check_choice(override, key, config_dir)


def _check_choice(override: Override, group: str, config_dir: Path | None) -> None:
    """Raises a ConfigError if an override does not select one of the choices of a group."""
    value, options = override.value(), list_choices(group, config_dir)
    if override.is_add() and group in (*COMPONENT_GROUPS, "training", "experiment"):
        raise ConfigError(f"{group}: the config already contains this group. Remove the +: {group}={value}")
    if isinstance(value, str) and value.startswith(BASE_PREFIX):
        raise ConfigError(format_unknown_name(group, f"unknown {group}", value, options))
    if not isinstance(value, str) and not (value is None and group == "experiment"):
        raise ConfigError(f"{group}: expected one of {', '.join(options)}, got {value!r}")


def _parse(overrides: Sequence[str], config_dir: Path | None = None) -> list[Override]:
    """Parses overrides; raises a ConfigError if the syntax of one is invalid."""
    with translate_hydra_errors(config_dir):
        return OverridesParser.create().parse_overrides(list(overrides))


def _normalize(argument: str) -> str:
    """Returns an argument in a form that Hydra's grammar accepts; see `normalize_overrides`."""
    match = _OVERRIDE.fullmatch(argument)
    if match is None:  # a flag, a deletion or a mistake
        return argument
    prefix, key, value = match.groups()
    if index := _INDEX.fullmatch(key):
        path = f"{index[1]}.{index[2]}{index[3]}"
        raise ConfigError(f"{key}: expected a path with dots, got brackets. Use {path}={value}")
    if key == "experiment":
        prefix = ""
    elif (mapping := _find_mapping(key)) and prefix in ("", "++"):
        prefix = "++"
        if "." in (name := key.removeprefix(f"{mapping}.")) and key != mapping:
            return f"++{mapping}={{{name}: {_normalize_text(key, value)}}}"
    if not _PLAIN_TEXT.fullmatch(value) and _is_text(key):
        value = _normalize_text(key, value)
    return f"{prefix}{key}={value}"


def _normalize_text(key: str, value: str) -> str:
    """Returns the value of a text field, quoted if Hydra would refuse it or convert it to a number or a bool."""
    try:
        parsed: Any = OverridesParser.create().parse_overrides([f"{key}={value}"])[0]
    except HydraException as error:
        if "," in value or "${" in value or value[:1] in ("'", '"', "[", "{"):
            raise ConfigError(_format_ambiguous(key, value)) from error
        return _quote(value)
    if parsed.is_sweep_override():
        return value
    if isinstance(parsed.value(), (list, dict)):
        raise ConfigError(_format_ambiguous(key, value))
    return _quote(value) if isinstance(parsed.value(), (int, float)) else value


def _format_ambiguous(key: str, value: str) -> str:
    """Returns the message for the value of a text field that may have another meaning."""
    return f"{key}: expected a string, got {value!r}. If it is the string, use {_quote_argument(f'{key}={value}')}"


def build_text_argument(key: str, value: str) -> str:
    """Returns the override that sets a field to a text, as it is typed in a shell; in quotes if it is ambiguous."""
    argument = f"{key}={value}"
    try:
        (override,) = _parse([_normalize(argument)])
        is_text = not override.is_sweep_override() and override.value() == value
    except ConfigError:
        is_text = False
    return shlex.quote(argument) if is_text else _quote_argument(argument)


def _quote(text: str) -> str:
    """Returns a text in quotes of Hydra's grammar."""
    return str(QuotedString(text, Quote.single).with_quotes())


def _quote_argument(override: str) -> str:
    """Returns an override whose value is a quoted text, as it is typed in a shell."""
    key, _, value = override.partition("=")
    argument = f"{key}={_quote(value)}"
    return shlex.quote(argument) if set('"$`\\!') & set(argument) else f'"{argument}"'


def _is_text(key: str) -> bool:
    """Returns whether the value of a key is any text, whatever component is selected."""
    if key in _HYDRA_TEXTS or _find_mapping(key) not in (None, key):
        return True
    fields = find_fields(key)
    return bool(fields) and all(field.annotation in (str, str | None) and not field.rule.choices for field in fields)


def _find_mapping(key: str) -> str | None:
    """Returns the path of the mapping of strings to strings that a key names, or that contains the key; else None."""
    parts = key.split(".")
    for path in (".".join(parts[:length]) for length in range(1, len(parts) + 1)):
        if (fields := find_fields(path)) and all(field.annotation == _MAPPING for field in fields):
            return path
    return None

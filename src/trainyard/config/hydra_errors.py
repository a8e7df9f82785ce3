"""What Hydra and OmegaConf raise over a config, in our words: the path, what was expected, what was received."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError

from trainyard.config.fields import rule_of
from trainyard.config.registry import components, did_you_mean, unknown
from trainyard.config.schema import RunConfig
from trainyard.config.search_path import choices, conf_folders, groups
from trainyard.config.validation import describe_type
from trainyard.errors import ConfigError


@contextlib.contextmanager
def in_our_words(config_dir: Path | None = None) -> Iterator[None]:
    """Turns what Hydra and OmegaConf raise into a ConfigError."""
    try:
        yield
    except MissingConfigException as error:
        raise ConfigError(_missing_config(error, config_dir)) from error
    except HydraException as error:
        cause = error.__cause__ or error.__context__
        where = re.match(r"In '([^']+)'", str(error))
        place = f" (in {where.group(1)}.yaml)" if where else ""
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            raise ConfigError(_rejected_key(cause) + place) from error
        if isinstance(error, OverrideParseException):
            raise ConfigError(_unparsable(error, config_dir)) from error
        raise ConfigError(_without_advice(str(error))) from error
    except OmegaConfBaseException as error:
        raise ConfigError(_rejected_key(error)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        file = _unreadable_file(config_dir)
        raise ConfigError(f"{file}: expected YAML, and it can't be read: {_without_advice(str(error))}") from error
    except ConfigError:
        raise
    except (AssertionError, AttributeError, TypeError, ValueError) as error:  # what they did not foresee
        key = re.search(r"full_key: (\S+)", str(error))
        place = f"{key.group(1)}: " if key else ""
        raise ConfigError(f"{place}Hydra can't compose this: {_without_advice(str(error))}") from error


def _unreadable_file(config_dir: Path | None) -> str:
    """Returns the first config file that is no YAML."""
    for folder in conf_folders(config_dir):
        for path in sorted(folder.rglob("*.yaml")):
            try:
                yaml.load(path.read_text(), Loader=get_yaml_loader())  # noqa: S506 - OmegaConf's loader makes no objects
            except (yaml.YAMLError, UnicodeDecodeError, OSError):
                return str(path)
    return "a config file"


def _missing_config(error: MissingConfigException, config_dir: Path | None) -> str:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        where = "./conf, in --config-dir and among Trainyard's own"
        return f"--config-name: there is no config {name!r} in {where}. A recipe is chosen by experiment=NAME"
    if group.startswith("hydra/"):
        return f"{group}: there is no {name!r} here. It is Hydra's own, or that of a plugin that is not installed"
    if group not in groups(config_dir):
        return unknown(group, "unknown config group", group, groups(config_dir))
    return unknown(group, f"unknown {group}", name, choices(group, config_dir))


def _unparsable(error: OverrideParseException, config_dir: Path | None) -> str:
    """Returns the message for a word that is not in Hydra's grammar."""
    word = error.override
    if "=" not in word:
        message = f"{word!r}: expected group=name or field=value, without spaces around the ="
        if Path(word).suffix in (".yaml", ".yml"):
            return f"{message}. A recipe lies in conf/experiment and is chosen by experiment={Path(word).stem}"
        meant = [f"{group}={word}" for group in groups(config_dir) if word in choices(group, config_dir)]
        if path := find_path(word):
            meant.append(f"{path}=...")
        return f"{message}. Did you mean {meant[-1]!r}?" if meant else f"{message}. A value with spaces goes in quotes"
    if any(word.count(opening) != word.count(closing) for opening, closing in ("[]", "{}", "()")):
        return f"{word!r}: a bracket is open. Where a value holds spaces, put all in quotes: 'key=[1, 2]'"
    if word.endswith(","):
        return f"{word!r}: expected another value after the comma, got none. Values to sweep over stand as a,b"
    return f"{_without_advice(str(error))}. Quote a value that holds signs: 'key=\"a=b\"'"


def _rejected_key(error: OmegaConfBaseException) -> str:
    path, owner = str(error.full_key), error.object_type
    fields = {spec.name: spec for spec in dataclasses.fields(owner)} if dataclasses.is_dataclass(owner) else {}
    if isinstance(error, (ConfigAttributeError, ConfigKeyError)):
        if owner is dict:
            return f"{path}: unknown key {error.key!r}. To add it, put a + in front: +{path}=..."
        return unknown_key(path, fields)
    if isinstance(error, ValidationError):
        kind, rule = error.ref_type, None
        if isinstance(error.key, int):  # an element of a list
            (kind,) = typing.get_args(kind)
        if error.key in fields:
            spec = fields[str(error.key)]
            kind, rule = typing.get_type_hints(owner)[spec.name], rule_of(spec)
        if kind is not None and not (dataclasses.is_dataclass(kind) and error.value is None):
            return f"{path}: expected {describe_type(kind, rule)}, got {error.value!r}"
    return f"{path}: {_without_advice(str(error))}"


def unknown_key(path: str, names: Iterable[str]) -> str:
    """Returns the message for a key that is not there; one that stands elsewhere is found by its last part."""
    section, _, key = path.rpartition(".")
    names = sorted(names)
    message = f"{path}: unknown key {key!r}."
    owners = [name for name, component in components(section).items() if key in _field_names(component)]
    if path == "experiment":
        return f"{message} A recipe begins with the line '# @package _global_'; this one seems to lack it"
    if len(owners) == 1:
        return f"{message} It belongs to {owners[0]}: add {section}={owners[0]}"
    if owners:
        return f"{message} It belongs to {', '.join(owners[:-1])} and {owners[-1]}: choose one, {section}={owners[0]}"
    if suggestion := did_you_mean(key, names):
        message += suggestion
    elif elsewhere := find_path(key):
        message += f" Did you mean {elsewhere!r}?"
    return f"{message} {'Keys of ' + section if section else 'Keys'}: {', '.join(names)}"


def find_path(key: str) -> str | None:
    """Returns the dotted path of a field that is named by its last part, or by all of it; the first there is."""
    return next((known for known in _known_paths() if known == key or known.endswith(f".{key}")), None)


def _field_names(owner: type) -> list[str]:
    """Returns the names of a dataclass's fields."""
    return [spec.name for spec in dataclasses.fields(owner)] if dataclasses.is_dataclass(owner) else []


def _known_paths(owner: type = RunConfig, prefix: str = "") -> Iterator[str]:
    """Yields every dotted path that some config has."""
    hints = typing.get_type_hints(owner)
    for spec in dataclasses.fields(owner):
        path, kind = prefix + spec.name, hints[spec.name]
        yield path
        for section in components(path).values() or [kind]:
            if dataclasses.is_dataclass(section):
                yield from _known_paths(section, f"{path}.")


def _without_advice(text: str) -> str:
    """Shortens a message of Hydra or OmegaConf to what it says, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key:", "reference_type=", "object_type=", "See http"))]
    return " ".join(kept)

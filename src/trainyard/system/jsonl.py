"""Append-only logs with one JSON object per line. If the process is killed, at most the last line is incomplete."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import IO, Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from trainyard.errors import ConfigError

T = TypeVar("T")
FieldTypes: TypeAlias = Mapping[str, tuple[type, ...]]
"""The types that a value may have, by the name of its field."""

_MAX_SHOWN_CHARACTERS = 80
_JSON_TYPES: Mapping[Any, tuple[type, ...]] = {float: (float, int), tuple: (list, tuple), Mapping: (dict,)}
"""The types of the JSON values of fields of these types; other types are the same in JSON."""


class UnknownEntryError(ValueError):
    """An entry has a kind or a field that this version of Trainyard does not know."""


def append_entries(file: Path, *entries: Any, durable: bool) -> None:  # noqa: ANN401 - any JSON value
    """Appends JSON values to a log, which is created if it does not exist. First removes an incomplete last line.

    No other process may append at the same time. `durable` syncs the file, so that the entries survive a power failure.
    If an OSError is raised, for example because the disk is full, none of the entries is in the log.
    """
    content = "".join(f"{json.dumps(entry)}\n" for entry in entries).encode()
    with file.open("ab+", buffering=0) as stream:  # unbuffered: close() would otherwise retry a failed write
        size = _remove_incomplete_line(stream)
        try:
            while content:
                content = content[stream.write(content) :]
            if durable:
                os.fsync(stream.fileno())
        except OSError as error:
            stream.truncate(size)
            error.filename = str(file)  # for the message
            raise


def read_entries(file: Path, parse: Callable[[dict[str, Any]], T], *, content: str, remedy: str) -> Iterator[T]:
    """Yields the result of `parse` for each entry of a log, oldest first.

    An incomplete last line is ignored, and so are NUL bytes around an entry, which a power failure can leave.

    Args:
        file: The log.
        parse: Receives an entry. If it raises a ValueError, TypeError or LookupError, the entry is invalid; an
            `UnknownEntryError` means that another version wrote it.
        content: What the log contains, for the message: "an entry of the ledger of a sweep".
        remedy: What the user can do about an invalid entry.

    Raises:
        ConfigError: If a line is not UTF-8, not a JSON object, or not valid. The message contains its number.
        OSError: If the file can't be read.
    """
    with file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                return
            text = line.strip(b"\0\r\n ")
            if not text:
                continue
            try:
                parsed = parse(_load_object(text))
            except (ValueError, TypeError, LookupError) as error:
                reason = f"the field {error} is missing" if isinstance(error, KeyError) else f"{error}"
                if isinstance(error, UnknownEntryError):
                    reason += ". Another version of Trainyard wrote it: use that version"
                shown = text.decode(errors="replace")[:_MAX_SHOWN_CHARACTERS]
                raise ConfigError(
                    f"{file}: line {number}: expected {content}, got {shown!r}: {reason}. {remedy}"
                ) from error
            yield parsed


def check_entry(entry: Mapping[str, Any], kinds: Mapping[str, FieldTypes], time: FieldTypes) -> None:
    """Checks the fields of an entry, whose kind is in its field ``what``; for errors, see `check_fields`.

    `kinds` has the types of the fields by kind, and `time` that of the time, which all entries have. An unknown kind
    raises an UnknownEntryError.
    """
    kind = entry["what"]
    if kind not in kinds:
        raise UnknownEntryError(f"the kind {kind!r} is unknown")
    check_fields(entry, {"what": (str,), **time, **kinds[kind]})


def check_fields(entry: Mapping[str, Any], types: FieldTypes, optional: frozenset[str] = frozenset()) -> None:
    """Checks that a JSON object has a value of one of the given types for each field, and no other fields.

    A missing field raises a KeyError, except an `optional` one, another type a TypeError, and a field that is not in
    `types` an UnknownEntryError.
    """
    for name, expected in types.items():
        if name not in entry:
            if name in optional:
                continue
            raise KeyError(name)
        if not isinstance(entry[name], expected):
            expected_names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in expected)
            raise TypeError(f"{name}: expected {expected_names}, got {entry[name]!r}"[: 3 * _MAX_SHOWN_CHARACTERS])
    if unknown := entry.keys() - types.keys():
        raise UnknownEntryError(f"the field {min(unknown)!r} is unknown")


def build_from_json(cls: type[T], entry: Any) -> T:  # noqa: ANN401 - any JSON value
    """Returns a dataclass object from a JSON object with its fields; for errors, see `check_fields`."""
    if not isinstance(entry, dict):
        raise TypeError(f"expected a JSON object, got {entry!r}"[: 2 * _MAX_SHOWN_CHARACTERS])
    types, optional = _find_field_types(cls)  # type: ignore[arg-type] # a class is hashable
    check_fields(entry, types, optional)
    return cls(**{name: tuple(value) if tuple in types[name] else value for name, value in entry.items()})


@functools.cache
def _find_field_types(cls: type) -> tuple[FieldTypes, frozenset[str]]:
    """Returns the types that the fields of a dataclass have in JSON, and the names of the fields with a default."""
    types = {}
    for name, hint in get_type_hints(cls).items():
        options = [
            get_origin(option) or option for option in (get_args(hint) if isinstance(hint, UnionType) else (hint,))
        ]
        types[name] = tuple(kind for option in options for kind in _JSON_TYPES.get(option, (option,)))
    missing = dataclasses.MISSING
    fields = dataclasses.fields(cls)
    return types, frozenset(f.name for f in fields if f.default is not missing or f.default_factory is not missing)


def _load_object(text: bytes) -> dict[str, Any]:
    """Returns the JSON object in a line."""
    entry = json.loads(text)
    if not isinstance(entry, dict):
        raise TypeError("it is not a JSON object")
    return entry


def _remove_incomplete_line(stream: IO[bytes]) -> int:
    """Truncates the text after the last newline, and returns the size of the file in bytes."""
    size = stream.seek(0, os.SEEK_END)
    if size:
        stream.seek(size - 1)
        if stream.read(1) != b"\n":
            stream.seek(0)
            size = stream.read().rfind(b"\n") + 1
            stream.truncate(size)
    return size

"""Append-only logs: incomplete lines, damaged lines, lines of other versions, and a full disk."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from trainyard.errors import ConfigError
from trainyard.system.jsonl import append_entries, build_from_json, check_entry, read_entries


def _read(file, parse=lambda entry: entry):
    return list(read_entries(file, parse, content="an entry", remedy="Restore it"))


@pytest.mark.parametrize(
    ("content", "entries"),
    [
        (b"", []),
        (b'{"a": 1}\n', [{"a": 1}]),
        (b'{"a": 1}\n{"b"', [{"a": 1}]),
        (b'{"a": 1}\n{"b": 2}', [{"a": 1}]),  # complete JSON, but the newline is missing
        (b'{"a"', []),
        ('{"\N{LINE SEPARATOR}é": "é"}\n'.encode(), [{"\N{LINE SEPARATOR}é": "é"}]),
        (b'{"a": 1}\n' + bytes(512), [{"a": 1}]),  # a power failure left NULs
        (b'{"a": 1}\n' + bytes(512) + b'{"b": 2}\n', [{"a": 1}, {"b": 2}]),
        (b'{"a": 1}' + bytes(512) + b'\n{"b": 2}\n' + bytes(8) + b"\n", [{"a": 1}, {"b": 2}]),
    ],
)
def test_an_incomplete_last_line_is_ignored_and_replaced(tmp_path, content, entries):
    file = tmp_path / "log.jsonl"
    file.write_bytes(content)
    assert _read(file) == entries
    append_entries(file, {"new": [1]}, durable=False)
    append_entries(file, {"b": 2}, {"c": "three\nlines\r"}, durable=True)
    assert _read(file) == [*entries, {"new": [1]}, {"b": 2}, {"c": "three\nlines\r"}]
    assert file.read_bytes().count(b"\n") == content.count(b"\n") + 3


def test_the_first_entry_creates_the_log(tmp_path):
    append_entries(tmp_path / "log.jsonl", {"a": 1}, durable=True)
    assert (tmp_path / "log.jsonl").read_text() == '{"a": 1}\n'


@dataclass(frozen=True)
class Point:
    """An entry with a field of each type that logs use."""

    number: int
    value: float | None
    values: Mapping[str, float]
    names: tuple[str, ...]
    label: str = ""


POINT = {"number": 1, "value": 2, "values": {"a": 0.5}, "names": ["a"]}
KINDS = {"moved": {"to": (str,)}, "counted": {"number": (int,)}}


def test_dataclasses_are_built_from_json():
    assert build_from_json(Point, POINT) == Point(1, 2, {"a": 0.5}, ("a",))
    assert build_from_json(Point, {**POINT, "value": None, "label": "x"}).label == "x"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{broken}", "Expecting property name"),
        (b"\xff\xfe\xfa", "codec can't decode"),
        (b'{"a": "\xff"}', "codec can't decode"),
        (b'{"a": 1} {"b": 2}', "Extra data"),
        (b'{"a"' + bytes(3) + b": 1}", "Expecting ':'"),
        (b"[1, 2]", "it is not a JSON object"),
        (b"5", "it is not a JSON object"),
        (b'{"to": "x"}', "the field 'what' is missing"),
        (b'{"what": "moved"}', "the field 'to' is missing"),
        (b'{"what": "moved", "to": 5}', "to: expected str, got 5"),
        (b'{"what": "counted", "number": null}', "number: expected int, got None"),
        (b'{"what": ["moved"], "to": "x"}', "unhashable"),
        (b'{"what": "painted", "to": "x"}', "the kind 'painted' is unknown. Another version"),
        (b'{"what": "moved", "to": "x", "by": 3}', "the field 'by' is unknown. Another version"),
    ],
)
def test_an_invalid_line_raises_with_its_number(tmp_path, line, reason):
    file = tmp_path / "log.jsonl"
    good = b'{"what": "counted", "number": 1}\n'
    file.write_bytes(good + bytes(4) + b"\n" + line + b"\n" + good)
    with pytest.raises(ConfigError) as caught:
        _read(file, lambda entry: check_entry(entry, KINDS, {}))
    message = str(caught.value)
    assert message.startswith(f"{file}: line 3: expected an entry, got ")
    assert reason in message
    assert message.endswith("Restore it")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"number": "1"}, "number: expected int"),
        ({"value": "high"}, "value: expected float or int or null"),
        ({"values": [1]}, "values: expected dict"),
        ({"names": "a"}, "names: expected list"),
        ({"color": "red"}, "the field 'color' is unknown. Another version"),
    ],
)
def test_a_field_of_another_type_raises(tmp_path, change, reason):
    append_entries(file := tmp_path / "log.jsonl", POINT, {**POINT, **change}, durable=False)
    with pytest.raises(ConfigError) as caught:
        _read(file, lambda entry: build_from_json(Point, entry))
    assert "line 2: " in str(caught.value)
    assert reason in str(caught.value)
    assert json.dumps({**POINT, **change})[:20] in str(caught.value)


@pytest.mark.parametrize("field", POINT)
def test_a_missing_field_raises(field):
    with pytest.raises(KeyError, match=field):
        build_from_json(Point, {name: value for name, value in POINT.items() if name != field})


def test_a_failed_write_leaves_the_log_unchanged(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "log.jsonl"
    append_entries(file, {"a": 1}, durable=True)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        append_entries(file, {"a": 2}, {"a": 3}, durable=True)
    assert _read(file) == [{"a": 1}]

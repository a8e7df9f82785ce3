"""Append-only logs: incomplete lines, damaged lines, and a full disk."""

from __future__ import annotations

import errno
import os

import pytest

from trainyard.system.jsonl import DamagedLineError, append_entries, read_entries


@pytest.mark.parametrize(
    ("content", "entries"),
    [
        (b"", []),
        (b'{"a": 1}\n', [{"a": 1}]),
        (b'{"a": 1}\n{"b"', [{"a": 1}]),
        (b'{"a": 1}\n{"b": 2}', [{"a": 1}]),  # complete JSON, but the newline is missing
        (b'{"a"', []),
        ('"\N{LINE SEPARATOR}é"\n'.encode(), ["\N{LINE SEPARATOR}é"]),
    ],
)
def test_an_incomplete_last_line_is_ignored_and_replaced(tmp_path, content, entries):
    file = tmp_path / "log.jsonl"
    file.write_bytes(content)
    assert list(read_entries(file)) == entries
    append_entries(file, {"new": [1]}, durable=False)
    append_entries(file, 2, "three\nlines\r", durable=True)
    assert list(read_entries(file)) == [*entries, {"new": [1]}, 2, "three\nlines\r"]
    assert file.read_bytes().count(b"\n") == len(entries) + 3


def test_the_first_entry_creates_the_log(tmp_path):
    append_entries(tmp_path / "log.jsonl", {"a": 1}, durable=True)
    assert (tmp_path / "log.jsonl").read_text() == '{"a": 1}\n'


@pytest.mark.parametrize("line", [b"{broken}", b"", b"\xff\xfe\xfa", b'{"a": 1} 2'])
def test_a_damaged_line_raises_with_its_number(tmp_path, line):
    file = tmp_path / "log.jsonl"
    file.write_bytes(b"1\n" + line + b"\n3\n")
    entries = read_entries(file)
    assert next(entries) == 1
    with pytest.raises(DamagedLineError, match="line 2: expected JSON, got") as error_info:
        next(entries)
    assert error_info.value.number == 2


def test_a_failed_write_leaves_the_log_unchanged(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "log.jsonl"
    append_entries(file, 1, durable=True)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        append_entries(file, 2, 3, durable=True)
    assert list(read_entries(file)) == [1]

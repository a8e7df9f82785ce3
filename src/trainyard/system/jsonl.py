"""Append-only logs with one JSON value per line. If the process is killed, at most the last line is incomplete."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


class DamagedLineError(ValueError):
    """A line of a log is not valid JSON: its number, counted from 1, and its text."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"line {number}: expected JSON, got {text[:80]!r}")
        self.number = number
        self.text = text


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


def read_entries(file: Path) -> Iterator[Any]:
    """Yields the entries of a log, oldest first. An incomplete last line is ignored.

    Raises a DamagedLineError if another line is not valid JSON.
    """
    with file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError as error:
                raise DamagedLineError(number, line.decode(errors="replace").rstrip("\n")) from error


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

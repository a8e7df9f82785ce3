"""What a run tells the store, written into its folder as well, line by line, so that it can be told to a store later.

A line is a JSON object. A process that was killed leaves at most its last line torn. Files are not in it: they lie in
the folder. Users and passwords of addresses are not in it either.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainyard.errors import ConfigError
from trainyard.system.files import PARTIAL
from trainyard.system.uris import without_credentials
from trainyard.tracking import operations
from trainyard.tracking.operations import DatasetInput, Measured
from trainyard.training.checkpoint import CHECKPOINTS

JOURNAL = ".tracking.jsonl"
"""Its name in the run folder; hidden, as it is not logged itself."""

LOCK = ".tracking.lock"
"""The file in the run folder that is locked by the process that tells of the run."""

KEY_TAG = "trainyard.key"
"""The tag that tells a run from all others, whichever store it is in."""


class Journal:
    """Writes the journal of one run. A disk that takes no more leaves a gap in it, and does not end the run.

    Attributes:
        key: The run's own.
        has_gap: Whether something could not be written.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        """Begins nothing yet.

        Args:
            folder: Of the run.
            tell: Told, once, when the journal can't be written.
        """
        self.key = uuid.uuid4().hex
        self.has_gap = False
        self._owed: list[tuple[str, dict[str, Any]]] = []
        self._file = folder / JOURNAL
        self._tell = tell

    def begin(
        self, uri: str | None, experiment: str, notes: str, name: str, tags: Mapping[str, str], *, model: bool
    ) -> None:
        """Writes what the run is created with, as `RunRequest`, and whether a servable model is to be logged.

        The URI is None where nothing is tracked.
        """
        shown = without_credentials(uri) if uri else None
        of_run = {"uri": shown, "experiment": experiment, "notes": notes, "name": name, "tags": {**tags}}
        self._write("run", key=self.key, **of_run, model=model)

    def perform(self, operation: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401 - each has its own
        """Writes what is done with the run; operations on files leave no line."""
        if operation is operations.log_params:
            self._write("params", values=arguments[0])
        elif operation is operations.log_metrics:
            values, step, milliseconds = arguments
            floats = {name: float(value) for name, value in values.items()}
            self._write("metrics", values=floats, step=step, milliseconds=milliseconds)
        elif operation is operations.set_tags:
            self._write("tags", values=arguments[0])
        elif operation is operations.log_inputs:
            self._write("inputs", splits=[dataclasses.asdict(split) for split in arguments[0]])

    def end(self, status: str) -> None:
        """Writes how the run ended, whatever the store may know of it: FINISHED, FAILED or KILLED."""
        self._write("end", status=status)

    def stored(self, uri: str, run_id: str) -> None:
        """Writes that a store has all of the run."""
        self._write("stored", uri=without_credentials(uri), run_id=run_id)

    def _write(self, what: str, **content: Any) -> None:  # noqa: ANN401 - what JSON can hold
        try:
            while self._owed:  # without its first line nothing of a journal can be read
                _append(self._file, *self._owed[0])
                self._owed.pop(0)
            _append(self._file, what, content)
        except OSError as error:
            if not self.has_gap:
                self._tell(f"{self._file} can't be written: {error}. trainyard sync will lack what comes now")
            self.has_gap = True
            lost = (what, content) if what == "run" else ("gap", {})
            if lost not in self._owed:
                self._owed.append(lost)


@dataclass(slots=True)
class Account:
    """What a run has told, put together from its journal.

    Attributes:
        key: The run's own, the tag `trainyard.key`.
        uri: The store that it was meant for, without a password; None where nothing was tracked.
        experiment: The name of its experiment.
        notes: What the experiment is about.
        name: The run's name.
        model: Whether a servable model is to be logged.
        started: When it began, in milliseconds since 1970.
        last: When it last told something, likewise.
        tags: The last value of each.
        params: All of them.
        metrics: Values with their step and time.
        inputs: The splits of the data set.
        status: How it ended; None if it did not say.
        stores: The stores that had all of it, without passwords, each with MLflow's id of the run there.
        has_gap: Whether something is missing, as the disk was full.
    """

    key: str
    uri: str | None
    experiment: str
    notes: str
    name: str
    model: bool
    started: int
    last: int
    tags: dict[str, str]
    params: dict[str, Any] = field(default_factory=dict)
    metrics: list[Measured] = field(default_factory=list)
    inputs: list[DatasetInput] = field(default_factory=list)
    status: str | None = None
    stores: dict[str, str] = field(default_factory=dict)
    has_gap: bool = False


def read_account(folder: Path) -> Account:
    """Reads the journal of a run.

    Raises:
        ConfigError: If the folder has none, or one that can't be read.
    """
    file = folder / JOURNAL
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{folder}: expected the folder of a run; its {JOURNAL} can't be read: {error}") from error
    account: Account | None = None
    for number, line in enumerate(lines[:-1], 1):  # what stands behind the last line's end is torn
        try:
            entry = json.loads(line)
            if account is None:
                account = _begin(entry)
            else:
                _take_in(account, entry)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{file}: line {number} is damaged: {type(error).__name__}: {error}") from error
    if account is None:
        raise ConfigError(f"{file}: the run was broken off before it had told anything")
    return account


def logged_files(folder: Path) -> list[Path]:
    """Returns what of a run folder is logged: no hidden or half-written files, nor checkpoints, which serve there."""
    files = (path for path in sorted(folder.iterdir()) if not path.name.startswith((".", PARTIAL)))
    return [path for path in files if path.name != CHECKPOINTS]


def note_stored(folder: Path, uri: str, run_id: str) -> None:
    """Writes into a run's journal that a store has all of it."""
    _append(folder / JOURNAL, "stored", {"uri": without_credentials(uri), "run_id": run_id})


def _append(file: Path, what: str, content: Mapping[str, Any]) -> None:
    line = json.dumps({"what": what, "at": int(time.time() * 1000), **content})
    with file.open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":  # whoever wrote last was killed, or the disk was full
                stream.seek(0)
                stream.truncate(stream.read().rfind(b"\n") + 1)
        stream.write(f"{line}\n".encode())


def _begin(entry: dict[str, Any]) -> Account:
    given = {name: entry[name] for name in ("key", "uri", "experiment", "notes", "name", "model")}
    return Account(**given, started=entry["at"], last=entry["at"], tags=entry["tags"])


def _take_in(account: Account, entry: dict[str, Any]) -> None:
    """Adds a line to what is known."""
    match entry["what"]:
        case "params":
            account.params |= entry["values"]
        case "metrics":
            account.metrics.append((entry["values"], entry["step"], entry["milliseconds"]))
        case "tags":
            account.tags |= entry["values"]
        case "inputs":
            account.inputs += [DatasetInput(**_with_tuple(split)) for split in entry["splits"]]
        case "end":
            account.status = entry["status"]
        case "gap":
            account.has_gap = True
        case "stored":
            account.stores[entry["uri"]] = entry["run_id"]
            return  # no word of the run itself
        case other:
            raise ValueError(f"unknown entry {other!r}")
    account.last = entry["at"]


def _with_tuple(split: dict[str, Any]) -> dict[str, Any]:
    return {**split, "image_shape": tuple(split["image_shape"])}

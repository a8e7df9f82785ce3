"""The operation log: a copy in the run folder of everything a run logs, from which a run can be uploaded later.

Artifacts are not copied, because they are in the run folder already. Credentials are removed from URIs.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.errors import ConfigError
from trainyard.system import PARTIAL_PREFIX, FieldTypes, append_entries, build_from_json, check_entry, read_entries
from trainyard.tracking import names, operations
from trainyard.tracking.operations import DatasetInput, TimedMetrics
from trainyard.training import CHECKPOINTS_FOLDER

if TYPE_CHECKING:
    from trainyard.tracking.tracking_store import TrackingStore
    from trainyard.tracking.writer import RunRequest

OPERATION_LOG_FILE = ".tracking.jsonl"
"""File name in the run folder; hidden, because the operation log itself is not logged."""

LOCK = ".tracking.lock"
"""File in the run folder that is locked by the process that logs the run to the store."""

_TEXT, _COUNT, _OPTIONAL = (str,), (int,), (str, type(None))
_FIELDS: dict[str, FieldTypes] = {
    "run": {
        "key": _TEXT, "uri": _OPTIONAL, "experiment": _TEXT, "notes": _TEXT, "name": _TEXT, "model": _OPTIONAL,
        "tags": (dict,),
    },
    "params": {"values": (dict,)},
    "metrics": {"values": (dict,), "step": _COUNT, "milliseconds": _COUNT},
    "tags": {"values": (dict,)},
    "inputs": {"splits": (list,)},
    "end": {"status": _TEXT},
    "gap": {},
    "stored": {"uri": _TEXT, "run_id": _TEXT, "name": _TEXT},
}  # fmt: skip
"""The types of the fields of an entry in the operation log, by its kind."""


class OperationLog:
    """Writes the operation log of one run, which has a unique `key`. If the disk is full, it gets a gap (`has_gap`)."""

    def __init__(self, folder: Path, notify: Callable[[str], None]) -> None:
        """Writes nothing yet. `notify` is called once, with a message, when the operation log can't be written."""
        self.key = uuid.uuid4().hex
        self.has_gap = False
        self._unwritten: list[tuple[str, dict[str, Any]]] = []
        self._file = folder / OPERATION_LOG_FILE
        self._notify = notify

    def record_start(self, store: TrackingStore | None, request: RunRequest) -> RunRequest:
        """Writes what the run is created with, and returns it with the run's key as an additional tag."""
        request = replace(request, tags={**request.tags, names.RUN_KEY: self.key})
        self._write_entry(
            "run",
            key=self.key,
            uri=store.name if store else None,
            experiment=request.experiment,
            notes=request.notes,
            name=request.name,
            tags=request.tags,
            model=request.model_label,
        )
        return request

    def record_operation(self, operation: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401 - as in Writer
        """Writes an operation and its arguments, if it logs params, metrics, tags or inputs; else does nothing."""
        if operation is operations.log_params:
            self._write_entry("params", values=arguments[0])
        elif operation is operations.log_history:
            for values, step, milliseconds in arguments[0]:
                floats = {name: float(value) for name, value in values.items()}
                self._write_entry("metrics", values=floats, step=step, milliseconds=milliseconds)
        elif operation is operations.set_tags:
            self._write_entry("tags", values=arguments[0])
        elif operation is operations.log_inputs:
            self._write_entry("inputs", splits=[dataclasses.asdict(split) for split in arguments[0]])

    def record_end(self, status: str) -> None:
        """Writes the final status of the run, FINISHED, FAILED or KILLED, which may differ from that in the store."""
        self._write_entry("end", status=status)

    def record_stored(self, store: TrackingStore, run_id: str, name: str) -> None:
        """Writes that a store contains the complete run; see the function of this name."""
        self._write_entry("stored", uri=store.name, run_id=run_id, name=name)

    def _write_entry(self, kind: str, **content: Any) -> None:  # noqa: ANN401 - any JSON value
        """Appends an entry; `kind` is "run" (first), "params", "metrics", "tags", "inputs", "end" or "stored".

        If the disk is full, a "gap" entry is written later in place of the entry, but a "run" entry itself.
        """
        try:
            while self._unwritten:  # for example the first line, without which an operation log can't be read
                _append_entry(self._file, *self._unwritten[0])
                self._unwritten.pop(0)
            _append_entry(self._file, kind, content)
        except OSError as error:
            if not self.has_gap:
                self._notify(
                    f"{self._file}: the operation log can't be written: {error}. The run continues, but "
                    "`trainyard sync` can't upload what is logged from now on. Free disk space"
                )
            self.has_gap = True
            entry = (kind, content) if kind == "run" else ("gap", {})
            if entry not in self._unwritten:
                self._unwritten.append(entry)


@dataclass(slots=True)
class LoggedOperations:
    """Everything that a run has logged, read from its operation log.

    Attributes:
        key: The unique key of the run, a UUID in hexadecimal, also in the tag `trainyard.key`.
        uri: The tracking URI of the run, without credentials; None if tracking was off.
        name: The name of the run in the last of `stores`; without one, the name that was requested.
        model: The label of the architecture of the servable model; None if none is logged.
        started: Start time in milliseconds since 1970; `updated` is the time of the last entry.
        status: FINISHED, FAILED or KILLED; None if there is no end entry: the run is alive or its process died.
        stores: MLflow's id of the run by the URI (without credentials) of each store that contains the complete run.
        has_gap: Whether entries are missing because the disk was full.
    """

    key: str
    uri: str | None
    experiment: str
    notes: str
    name: str
    model: str | None
    started: int
    updated: int
    tags: dict[str, str]
    params: dict[str, Any] = field(default_factory=dict)
    metrics: list[TimedMetrics] = field(default_factory=list)
    inputs: list[DatasetInput] = field(default_factory=list)
    status: str | None = None
    stores: dict[str, str] = field(default_factory=dict)
    has_gap: bool = False


def load_operations(folder: Path) -> LoggedOperations:
    """Loads everything that a run logged from its folder; a ConfigError reports a missing or damaged operation log."""
    file = folder / OPERATION_LOG_FILE
    logged: LoggedOperations | None = None

    def apply(entry: dict[str, Any]) -> None:
        """Updates `logged` from an entry; creates it from the first one, of the kind "run"."""
        nonlocal logged
        check_entry(entry, _FIELDS, {"at": _COUNT})
        if logged is None:
            attributes = {name: entry[name] for name in _FIELDS["run"]}
            logged = LoggedOperations(**attributes, started=entry["at"], updated=entry["at"])
        else:
            _apply_entry(logged, entry)

    remedy = "The run can't be read from this folder. Restore the file from a copy"
    try:
        for _ in read_entries(file, apply, content="an entry of the operation log of a run", remedy=remedy):
            pass
    except OSError as error:
        raise ConfigError(
            f"{folder}: expected a run folder, but its {OPERATION_LOG_FILE} can't be read: {error}"
        ) from error
    if logged is None:
        raise ConfigError(
            f"{file}: the operation log is empty because the run was interrupted at its start. Start a new run"
        )
    return logged


def find_logged_files(folder: Path) -> list[Path]:
    """Returns the paths in a run folder that are logged: all except hidden files, partial files and checkpoints."""
    files = (path for path in sorted(folder.iterdir()) if not path.name.startswith((".", PARTIAL_PREFIX)))
    return [path for path in files if path.name != CHECKPOINTS_FOLDER]


def record_stored(folder: Path, store: TrackingStore, run_id: str, name: str) -> None:
    """Writes into a run's operation log that a store contains the complete run, with an id and a name."""
    _append_entry(folder / OPERATION_LOG_FILE, "stored", {"uri": store.name, "run_id": run_id, "name": name})


def _append_entry(file: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Appends an entry to an operation log; see `_write_entry`."""
    append_entries(file, {"what": kind, "at": int(time.time() * 1000), **content}, durable=False)


def _apply_entry(logged: LoggedOperations, entry: dict[str, Any]) -> None:
    """Updates a `LoggedOperations` in place from a later entry; its kind, `entry["what"]`, is any except "run"."""
    match entry["what"]:
        case "params":
            logged.params |= entry["values"]
        case "metrics":
            logged.metrics.append((entry["values"], entry["step"], entry["milliseconds"]))
        case "tags":
            logged.tags |= entry["values"]
        case "inputs":
            logged.inputs += [build_from_json(DatasetInput, split) for split in entry["splits"]]
        case "end":
            logged.status = entry["status"]
        case "gap":
            logged.has_gap = True
        case "stored":
            logged.stores[entry["uri"]] = entry["run_id"]
            logged.name = entry["name"]
            return  # not logged by the run itself, so `updated` stays
        case "run":
            raise ValueError("only the first entry can be of the kind 'run'")
    logged.updated = entry["at"]

"""The append-only log of a sweep: which trials started, finished and failed. It survives a crash of the sweep.

Each entry is written to the disk before the sweep continues. An incomplete last line, left by a crash, is ignored.
Paths are relative to the folder of the sweep, so that it can be moved and copied.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from trainyard.evaluation import TrialResult
from trainyard.system import FieldTypes, append_entries, build_from_json, check_entry, read_entries

_TEXT, _NUMBER = (str,), (int,)
_FIELDS: dict[str, FieldTypes] = {
    "opened": {"host": _TEXT, "pid": _TEXT, "started": _TEXT, "slots": _NUMBER},
    "closed": {"status": _TEXT},
    "works": {"architecture": _TEXT},
    "knew": {"points": (list,)},
    "drew": {"drawn": (dict,), "point": (int, type(None)), "reason": _TEXT, "duplicate_of": (int, type(None))},
    "exhausted": {},
    "epoch": {"trial": _NUMBER, "epoch": _NUMBER, "epochs": _NUMBER, "value": (float, int)},
    "began": {"trial": _NUMBER, "folder": _TEXT},
    "done": {"trial": _NUMBER, "result": (dict,)},
    "uploaded": {"trial": _NUMBER, "run_id": _TEXT},
    "failed": {"trial": _NUMBER, "reason": _TEXT, "again": (bool,)},
    "pruned": {"trial": _NUMBER, "reason": _TEXT},
}
"""The types of the fields of an entry, by its kind."""


class TrialState(StrEnum):
    """The state of a trial, as it is displayed, in the order in which counts are listed."""

    RUNNING = "running"
    STOPPED = "stopped"  # it was interrupted
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    PRUNED = "pruned"
    RETRY = "again"  # it failed and will be retried


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """What the ledger contains about one trial.

    Attributes:
        state: The state after the last entry. A trial that was running when its sweep was killed remains RUNNING.
        folder: The folder of the last attempt, as an absolute path if the ledger has one; empty if there was none.
        began: The time when the last attempt started, in ISO 8601; empty if there was none.
        result: The result without its history if the trial is done, else None.
        reason: Why the trial failed or was pruned, else empty.
        seconds: The total duration of all attempts that ended, measured by the sweep.
        last_epoch: The newest epoch report, if the sweep has a pruner.
    """

    state: TrialState = TrialState.WAITING
    attempts: int = 0
    folder: str = ""
    began: str = ""
    result: TrialResult | None = None
    reason: str = ""
    seconds: float = 0.0
    last_epoch: EpochReport | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """One process that ran the sweep, from its start to its end. Times are in ISO 8601.

    Attributes:
        started: The time when the process started. With the pid it identifies the process.
        time: The time when the process opened the ledger.
        slots: The number of trials that run at the same time.
        status: "FINISHED", "FAILED" or "KILLED"; empty while the session runs, or if it ended without an entry.
        last: The time of the last entry of the session.
    """

    pid: str
    started: str
    host: str
    time: str
    slots: int
    status: str = ""
    last: str = ""

    @property
    def seconds(self) -> float:
        """The time from the start of the session to its last entry."""
        return _compute_seconds_between(self.time, self.last)


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw of a sampler.

    Attributes:
        drawn: The values, by the keys of the swept settings.
        point: The number of the point that was created from the draw; None if the draw was rejected.
        reason: Why the draw was rejected, in one line.
        duplicate_of: The number of the earlier point with the same config, if that is why the draw was rejected.
    """

    drawn: Mapping[str, Any]
    point: int | None
    reason: str = ""
    duplicate_of: int | None = None


@dataclass(frozen=True, slots=True)
class PriorPoint:
    """A point of an earlier sweep, and its objective value, that a sampler received for a warm start."""

    drawn: Mapping[str, Any]
    value: float
    sweep: str


@dataclass(frozen=True, slots=True)
class EpochReport:
    """The objective value of a trial after an epoch. `epoch` is counted from 1, `epochs` is the planned number."""

    trial: int
    epoch: int
    epochs: int
    value: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a trial: it is done, was pruned, or failed and is not retried in the same session.

    `value` is the objective of a trial that is done; None without an objective, or if the trial is not done.
    """

    trial: int
    state: TrialState
    value: float | None = None


class Ledger:
    """Reads the ledger of a sweep and appends entries to it."""

    def __init__(self, file: Path) -> None:
        """Reads the file, if it exists. Raises ConfigError if a complete line is not an entry that `record_` writes."""
        self._file = file
        self._records: dict[int, TrialRecord] = {}
        self.events: list[PriorPoint | Draw | EpochReport | Ended] = []
        """Everything that samplers and pruners depend on, in the order in which it happened."""
        self.is_exhausted = False
        """Whether the search space contains no further points to draw."""
        self.sessions: list[Session] = []
        self.tested_architectures: set[str] = set()
        """The keys of the architectures that passed the smoke test."""
        self.last_changed = ""
        """The time of the last entry, in ISO 8601; empty if there is none."""
        if not file.exists():
            return
        remedy = (
            "Restore the file from a copy. If the line is damaged, you can also delete it: the results of finished "
            "trials are then read from their folders. Or start the sweep again from the beginning with --fresh"
        )
        for _ in read_entries(file, self._apply_entry, content="an entry of the ledger of a sweep", remedy=remedy):
            pass

    @property
    def is_complete(self) -> bool:
        """Whether the last session finished with all trials done or pruned."""
        return bool(self.sessions) and self.sessions[-1].status == "FINISHED"

    @property
    def has_started(self) -> bool:
        """Whether a trial was started, a point was drawn (or rejected), or points of earlier sweeps were recorded."""
        return bool(self._records or self.events)

    @property
    def trial_numbers(self) -> Collection[int]:
        """The numbers of the trials of which the ledger has entries."""
        return self._records.keys()

    def get_trial_record(self, number: int) -> TrialRecord:
        """Returns what the ledger contains about a trial; a trial without entries is waiting."""
        return self._records.get(number, TrialRecord())

    def record_session_start(self, process: Mapping[str, str], slots: int) -> None:
        """Records that a process (host, pid, start time) now runs the sweep, with this number of concurrent trials."""
        self._append_entry("opened", **{key: process[key] for key in ("host", "pid", "started")}, slots=slots)

    def record_session_end(self, status: str) -> None:
        """Records that the process stops running the sweep: "FINISHED", "FAILED" or "KILLED"."""
        self._append_entry("closed", status=status)

    def record_smoke_test(self, architecture: str) -> None:
        """Records that an architecture passed the smoke test."""
        self._append_entry("works", architecture=architecture)

    def record_prior_points(self, points: Sequence[PriorPoint]) -> None:
        """Records the points of earlier sweeps that the sampler received."""
        self._append_entry("knew", points=[asdict(point) for point in points])

    def record_draw(self, draw: Draw) -> None:
        """Records a draw of the sampler."""
        self._append_entry("drew", **asdict(draw))

    def get_objective_value(self, number: int) -> float | None:
        """Returns the objective value of a trial that is done; None if it is not, or if the sweep has no objective."""
        result = self.get_trial_record(number).result
        return None if result is None else result.objective

    def record_epoch(self, epoch: EpochReport) -> None:
        """Records the objective value of a trial after an epoch."""
        self._append_entry("epoch", **asdict(epoch))

    def record_exhausted(self) -> None:
        """Records that the search space seems exhausted; a resumed sweep draws no further points."""
        self._append_entry("exhausted")

    def get_epoch_values(self) -> dict[int, list[float]]:
        """Returns the objective values of each trial, one per epoch: that of the last attempt that reported it."""
        by_trial: dict[int, dict[int, float]] = {}
        for event in self.events:
            if isinstance(event, EpochReport):
                by_trial.setdefault(event.trial, {})[event.epoch] = event.value
        return {number: list(values.values()) for number, values in by_trial.items()}

    def record_pruned(self, number: int, reason: str) -> None:
        """Records that a trial was pruned."""
        self._append_entry("pruned", trial=number, reason=reason)

    def record_start(self, number: int, folder: Path | str) -> None:
        """Records that an attempt of a trial starts, and its folder."""
        self._append_entry("began", trial=number, folder=self._make_relative(folder))

    def record_result(self, number: int, result: TrialResult) -> None:
        """Records the result of a trial, without its history."""
        relative = replace(result, history=(), folder=self._make_relative(result.folder))
        self._append_entry("done", trial=number, result=asdict(relative))

    def record_upload(self, number: int, run_id: str) -> None:
        """Records the MLflow run id of a trial that is done and was uploaded to another store."""
        self._append_entry("uploaded", trial=number, run_id=run_id)

    def record_failure(self, number: int, reason: str, *, will_retry: bool = False) -> None:
        """Records that a trial failed, and with `will_retry` that it is retried in the same session."""
        self._append_entry("failed", trial=number, reason=reason, again=will_retry)

    def _make_relative(self, folder: Path | str) -> str:
        """Returns a path relative to the folder of the sweep, if it is in there."""
        path, root = Path(folder), self._file.parent
        return str(path.relative_to(root) if path.is_relative_to(root) else path)

    def _append_entry(self, kind: str, **content: Any) -> None:  # noqa: ANN401 - what JSON holds
        """Writes an entry to the disk, then applies it to this object. If writing fails, the file stays unchanged.

        `kind` is "opened" or "closed" (a session), "works" (a smoke test), "knew" (prior points), "drew", "epoch",
        "exhausted", "began", "done", "uploaded", "failed" or "pruned".
        """
        entry = {"what": kind, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **content}
        append_entries(self._file, entry, durable=True)
        self._apply_entry(entry)

    def _apply_entry(self, entry: Mapping[str, Any]) -> None:
        """Updates the attributes of this object from an entry, which was just written or read from the file."""
        check_entry(entry, _FIELDS, {"time": _TEXT})
        content = dict(entry)
        kind, time = content.pop("what"), content.pop("time")
        datetime.fromisoformat(time)  # raises a ValueError if it is not a time
        self.last_changed = time
        if self.sessions and kind != "opened":
            self.sessions[-1] = replace(self.sessions[-1], last=time)
        match kind:
            case "opened":
                self.sessions.append(Session(**content, time=time, last=time))
            case "closed":
                self.sessions[-1] = replace(self.sessions[-1], status=content["status"])
            case "works":
                self.tested_architectures.add(content["architecture"])
            case "knew":
                self.events += [build_from_json(PriorPoint, point) for point in content["points"]]
            case "drew":
                self.events.append(Draw(**content))
            case "epoch":
                epoch = EpochReport(**content)
                self._records[epoch.trial] = replace(self.get_trial_record(epoch.trial), last_epoch=epoch)
                self.events.append(epoch)
            case "exhausted":
                self.is_exhausted = True
            case _:
                self._apply_trial_entry(kind, entry)

    def _apply_trial_entry(self, kind: str, entry: Mapping[str, Any]) -> None:
        """Updates the `TrialRecord` of a trial; `kind` is "began", "done", "uploaded", "failed" or "pruned".

        Entries after the result of a trial are ignored, except "uploaded".
        """
        number, time = entry["trial"], entry["time"]
        record = self.get_trial_record(number)
        if kind == "uploaded":
            if record.result is None:
                raise ValueError(f"trial {number} is not done")
            self._records[number] = replace(record, result=replace(record.result, run_id=entry["run_id"]))
            return
        if record.result:
            return
        if kind == "began":
            attempts, folder = record.attempts + 1, str(self._file.parent / entry["folder"])
            record = replace(record, state=TrialState.RUNNING, attempts=attempts, folder=folder, began=time, reason="")
        else:
            if record.state is TrialState.RUNNING:
                record = replace(record, seconds=record.seconds + _compute_seconds_between(record.began, time))
            result = None
            if kind == "done":
                result = build_from_json(TrialResult, {**entry["result"], "history": ()})
                result = replace(result, folder=str(self._file.parent / result.folder))
            record = replace(record, state=TrialState(kind), result=result, reason=entry.get("reason", ""))
            if not entry.get("again"):
                self.events.append(Ended(number, record.state, result.objective if result and kind == "done" else None))
        self._records[number] = record


def _compute_seconds_between(earlier: str, later: str) -> float:
    """Returns the seconds between two times in ISO 8601."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()

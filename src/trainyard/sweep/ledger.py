"""The sweep's own account of its trials: what began, what was done, what failed. It survives whatever ends the sweep.

A file of JSON lines, only ever added to, each on the disk before anything else happens. A last line that was cut in two
counts as not written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from trainyard.errors import TrainyardError
from trainyard.evaluation.trials import TrialResult

State = Literal["todo", "running", "done", "failed", "pruned"]


@dataclass(frozen=True, slots=True)
class Account:
    """What the ledger knows of a trial.

    Attributes:
        state: Of a trial that was running when its sweep was ended, "running" too.
        attempts: How often it began.
        folder: Of the last attempt, or empty.
        began: When that began, in ISO 8601.
        result: What it came to, without its history, where it is done.
        reason: Why it failed, or was pruned, where it did.
        seconds: From the beginnings to the ends of its attempts, as the sweep saw them.
    """

    state: State = "todo"
    attempts: int = 0
    folder: str = ""
    began: str = ""
    result: TrialResult | None = None
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Session:
    """One time that the sweep was started.

    Attributes:
        pid: Of the process.
        started: When that process started, in ISO 8601.
        host: Where.
        time: When it took the sweep up.
        places: How many trials it runs at a time.
        status: How it ended: "FINISHED", "FAILED" or "KILLED"; empty where it goes on or ended without a word.
        last: When the last entry of that time was made.
    """

    pid: str
    started: str
    host: str
    time: str
    places: int
    status: str = ""
    last: str = ""

    @property
    def seconds(self) -> float:
        """How long it went on, as far as is known."""
        return _seconds_between(self.time, self.last)


@dataclass(frozen=True, slots=True)
class Draw:
    """What a sampler drew.

    Attributes:
        drawn: By the keys of what is swept.
        point: The number of the point that it became; None where it came to nothing.
        why: Why it came to nothing, in one line.
        same: The point that it would have been once more, where it is that.
    """

    drawn: Mapping[str, Any]
    point: int | None
    why: str = ""
    same: int | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What a sampler was told of an earlier sweep: what a point of it came to."""

    drawn: Mapping[str, Any]
    value: float
    sweep: str


@dataclass(frozen=True, slots=True)
class Epoch:
    """What a trial reported after an epoch, counted from 1, of how many: the value of the objective."""

    trial: int
    epoch: int
    epochs: int
    value: float


class Ledger:
    """Reads the account of a sweep, and adds to it."""

    def __init__(self, file: Path) -> None:
        """Reads what there is; nothing is an empty account.

        Raises:
            TrainyardError: If the file is no ledger.
        """
        self._file = file
        self._accounts: dict[int, Account] = {}
        self.sequence: list[Known | Draw | Epoch | int] = []
        """All that samplers and pruners know, as it happened. A number: that trial ended, if not for ever."""
        self.is_exhausted = False
        """Whether all that could be drawn was tried."""
        self._reached: dict[int, Epoch] = {}
        self.sessions: list[Session] = []
        self.parent: str | None = None
        """MLflow's id of the sweep's own run."""
        self.tried: set[str] = set()
        """The architectures that were found to work."""
        self.changed = ""
        """When the last entry was made, in ISO 8601."""
        for entry in self._entries():
            self._take_in(entry)

    @property
    def is_closed(self) -> bool:
        """Whether the sweep was carried through to its last line, all its trials done."""
        return bool(self.sessions) and self.sessions[-1].status == "FINISHED"

    @property
    def has_begun(self) -> bool:
        """Whether any trial ever began, or was drawn."""
        return bool(self._accounts or self.sequence)

    def account(self, number: int) -> Account:
        """Returns what is known of a trial."""
        return self._accounts.get(number, Account())

    def repair(self) -> None:
        """Cuts off a last line that was not written whole. Whoever writes calls it first, alone."""
        if self._file.exists():
            content = self._file.read_bytes()
            if not content.endswith(b"\n"):
                os.truncate(self._file, content.rfind(b"\n") + 1)

    def opened(self, process: Mapping[str, str], places: int) -> None:
        """A process, told by its host, pid and start, takes the sweep up, with so many trials at a time."""
        self._add("opened", **{key: process[key] for key in ("host", "pid", "started")}, places=places)

    def closed(self, status: str) -> None:
        """It has come to an end."""
        self._add("closed", status=status)

    def has_parent(self, run_id: str) -> None:
        """The sweep has a run of its own."""
        self._add("parent", run_id=run_id)

    def works(self, architecture: str) -> None:
        """An architecture was tried on one batch."""
        self._add("works", architecture=architecture)

    def knew(self, known: Sequence[Known]) -> None:
        """A sampler was told of earlier sweeps."""
        self._add("knew", points=[asdict(point) for point in known])

    def drew(self, drawn: Mapping[str, Any], point: int | None, why: str = "", same: int | None = None) -> None:
        """A sampler drew a point, or what came to nothing; see `Draw`."""
        self._add("drew", drawn=dict(drawn), point=point, why=why, same=same)

    def objective_of(self, number: int) -> float | None:
        """Returns what is compared of a trial that is done."""
        result = self.account(number).result
        return None if result is None else result.objective

    def reached(self, epoch: Epoch) -> None:
        """A trial reported what it came to after an epoch."""
        self._add("epoch", **asdict(epoch))

    def exhausted(self) -> None:
        """There is nothing left to be drawn that was not tried."""
        self._add("exhausted")

    def last_epoch(self, number: int) -> Epoch | None:
        """Returns what a trial reported last."""
        return self._reached.get(number)

    def reported(self) -> dict[int, list[float]]:
        """Returns what each trial reported, epoch by epoch, by its number; of one that began again, the last time."""
        told: dict[int, dict[int, float]] = {}
        for event in self.sequence:
            if isinstance(event, Epoch):
                told.setdefault(event.trial, {})[event.epoch] = event.value
        return {number: list(values.values()) for number, values in told.items()}

    def pruned(self, number: int, reason: str) -> None:
        """A trial was ended, as it was not worth going on with."""
        self._add("pruned", trial=number, reason=reason)

    def began(self, number: int, folder: str) -> None:
        """A trial begins, in a folder of its own."""
        self._add("began", trial=number, folder=folder)

    def done(self, number: int, result: TrialResult) -> None:
        """A trial came to its end."""
        self._add("done", trial=number, result=asdict(replace(result, history=())))

    def failed(self, number: int, reason: str, *, again: bool = False) -> None:
        """A trial failed; `again`: it is tried once more before the sweep ends."""
        self._add("failed", trial=number, reason=reason, again=again)

    def _add(self, what: str, **content: Any) -> None:  # noqa: ANN401 - what JSON holds
        entry = {"what": what, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **content}
        line = f"{json.dumps(entry)}\n".encode()
        with self._file.open("ab", buffering=0) as file:  # unbuffered: closing would try to write the rest once more
            size = file.seek(0, os.SEEK_END)
            try:
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except OSError:  # the disk is full: half a line would spoil what is written after it
                file.truncate(size)
                raise
        self._take_in(entry)

    def _entries(self) -> Iterator[dict[str, Any]]:
        if not self._file.exists():
            return
        lines = self._file.read_text().split("\n")[:-1]  # what follows the last end of a line was cut off
        for number, line in enumerate(lines, start=1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise TrainyardError(
                    f"{self._file}: line {number} is no entry of a ledger: {line[:80]!r}. "
                    "Remove that line, or begin anew with --fresh"
                ) from error

    def _take_in(self, entry: Mapping[str, Any]) -> None:
        self.changed = entry["time"]
        if self.sessions and entry["what"] != "opened":
            self.sessions[-1] = replace(self.sessions[-1], last=self.changed)
        match entry["what"]:
            case "opened":
                known = {name: entry[name] for name in ("pid", "started", "host", "time", "places")}
                self.sessions.append(Session(**known, last=entry["time"]))
            case "closed":
                self.sessions[-1] = replace(self.sessions[-1], status=entry["status"])
            case "parent":
                self.parent = entry["run_id"]
            case "works":
                self.tried.add(entry["architecture"])
            case "knew":
                self.sequence += [Known(**point) for point in entry["points"]]
            case "drew":
                self.sequence.append(Draw(entry["drawn"], entry["point"], entry["why"], entry["same"]))
            case "epoch":
                epoch = Epoch(*(entry[name] for name in ("trial", "epoch", "epochs", "value")))
                self._reached[epoch.trial] = epoch
                self.sequence.append(epoch)
            case "exhausted":
                self.is_exhausted = True
            case what:
                self._take_in_trial(what, entry)

    def _take_in_trial(self, what: str, entry: Mapping[str, Any]) -> None:
        number = entry["trial"]
        before = self.account(number)
        if what == "began":
            after = replace(
                before,
                state="running",
                attempts=before.attempts + 1,
                folder=entry["folder"],
                began=entry["time"],
                reason="",
            )
        elif what == "done":
            after = replace(before, state="done", result=TrialResult(**{**entry["result"], "history": ()}))
            self.sequence.append(number)
        else:
            after = replace(before, state=cast("State", what), reason=entry["reason"])
            if what == "pruned" or not entry.get("again"):
                self.sequence.append(number)
        if what != "began" and before.state == "running":
            after = replace(after, seconds=before.seconds + _seconds_between(before.began, entry["time"]))
        self._accounts[number] = after


def _seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()

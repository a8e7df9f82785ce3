"""The folder of a sweep: its plan, its ledger, what its trials write. One process at a time may work in it.

sweeps/<name>/plan.jsonl      what the sweep is, a line for each trial with its config
              plan.json       the same without the configs, to be logged
              ledger.jsonl    what became of each trial
              epochs.json     how far those are that run
              trials/<n>/     the folder of a trial's run; <n>-2 where it had to begin again
              logs/<n>.log    what a trial printed
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trainyard.config.compose import flatten_tree
from trainyard.config.registry import did_you_mean
from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation.trials import Trial
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.plan import Plan, SearchPlan, canonical
from trainyard.sweep.space import NOT_DRAWN
from trainyard.system.environment import is_alive
from trainyard.system.files import PARTIAL, whole_file

SWEEPS = Path("sweeps")
"""Where the folders of sweeps are, in the working directory."""

_SHOWN_DIFFERENCES = 8
_PATIENCE_SECONDS = 60.0
"""How long to wait for the processes of a sweep that was killed; they are killed themselves before."""


class SweepFolder:
    """What lies where; nothing is there before `write_plan`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.plan = self.path / "plan.jsonl"
        self.ledger = self.path / "ledger.jsonl"
        self.overview = self.path / "plan.json"
        self.epochs = self.path / "epochs.json"
        self.logs = self.path / "logs"
        self.lock = self.path.parent / f".{self.path.name}.lock"
        self.held = self.path.parent / f".{self.path.name}.trials"
        """A file that each of its trials' processes holds a lock on, for as long as it is alive."""

    @property
    def is_new(self) -> bool:
        """Whether nothing is there, or no more than a plan whose writing was broken off."""
        begun = {name for plan in (self.plan, self.overview) for name in (plan.name, f"{PARTIAL}{plan.name}")}
        return not self.plan.exists() and {path.name for path in self.path.iterdir()} <= begun

    @property
    def threads(self) -> int | None:
        """How many threads trials have that don't say so themselves; None: TensorFlow's choice."""
        return self.read_header()["threads"]  # type: ignore[no-any-return]

    def log_file(self, number: int) -> Path:
        """Returns where a trial's output goes."""
        return self.logs / f"{number}.log"

    def next_attempt(self, number: int) -> Path:
        """Returns a folder for a trial that is not there yet."""
        folder, attempt = self.path / "trials" / f"{number}", 2
        while folder.exists():
            folder, attempt = folder.with_name(f"{number}-{attempt}"), attempt + 1
        return folder

    def write_plan(self, plan: Plan, threads: int | None) -> None:
        """Writes what the sweep is, whole or not at all."""
        header = {
            "name": plan.name,
            "search": plan.search.definition if plan.search else None,
            "experiment": plan.experiment,
            "objective": plan.objective,
            "swept": plan.swept,
            "overrides": plan.overrides,
            "threads": threads,
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        self.path.mkdir(parents=True, exist_ok=True)
        self.write_overview(header, plan.trials)
        with whole_file(self.plan) as partial:  # the last: it is what makes the folder that of a sweep
            lines = (json.dumps(part) for part in (header, *map(asdict, plan.trials)))
            partial.write_text("".join(f"{line}\n" for line in lines))

    def write_overview(self, header: Mapping[str, Any], trials: Sequence[Trial]) -> None:
        """Writes the plan without the configs."""
        shown = [{key: value for key, value in asdict(trial).items() if key != "config"} for trial in trials]
        with whole_file(self.overview) as partial:
            partial.write_text(json.dumps({**header, "trials": shown}, indent=1))

    def add_trials(self, trials: Sequence[Trial]) -> None:
        """Adds trials to the plan; each takes the place of an earlier one of its number."""
        lines = "".join(f"{json.dumps(asdict(trial))}\n" for trial in trials)
        with self.plan.open("a") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def repair(self) -> None:
        """Cuts off a last line of the plan that was not written whole. Whoever adds to it calls it first, alone."""
        content = self.plan.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(self.plan, content.rfind(b"\n") + 1)

    def read_header(self) -> dict[str, Any]:
        """Returns what was written of the sweep as a whole.

        Raises:
            TrainyardError: If there is no plan, or it is damaged.
        """
        header = next(self._lines(), {})
        if "objective" not in header:
            raise TrainyardError(f"{self.plan}: the plan of the sweep is damaged: its first line is missing")
        return header

    def restore(self, plan: Plan) -> Plan:
        """Returns the plan as it was written first: with the same trials, told apart in the same way."""
        header = self.read_header()
        swept, overrides = tuple(header["swept"]), tuple(header["overrides"])
        trials = self.read_trials()
        if plan.search:  # which may go on to more points, or stop at fewer
            self.add_trials(more := plan.trials[len(trials) :])
            trials = (*(t for t in trials if t.label != NOT_DRAWN or t.number <= len(plan.trials)), *more)
        return replace(plan, swept=swept, overrides=overrides, trials=trials)

    def read_trials(self) -> tuple[Trial, ...]:
        """Returns the trials as they were planned.

        Raises:
            TrainyardError: If there is no plan, or it is damaged.
        """
        lines = self._lines()
        next(lines)
        trials = (Trial(**{**line, "overrides": tuple(line["overrides"])}) for line in lines)
        return tuple({trial.number: trial for trial in trials}.values())

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            with self.plan.open() as file:
                for line in file:
                    if line.endswith("\n"):  # else it is being written, or was cut off
                        yield json.loads(line)
        except (OSError, ValueError) as error:
            raise TrainyardError(f"{self.plan}: the plan of the sweep can't be read: {error}") from error


def trial_number(folder: Path) -> int:
    """Returns the number of the trial whose run has its files in a folder; see `SweepFolder.next_attempt`."""
    return int(folder.name.partition("-")[0])


def sweep_folders(root: Path = SWEEPS) -> list[SweepFolder]:
    """Returns the folders of all sweeps, sorted by name; also of those whose plan is damaged."""
    return [SweepFolder(file.parent) for file in sorted(root.glob("*/plan.jsonl"))]


def find_sweep(name: str, flag: str) -> SweepFolder:
    """Returns a sweep's folder.

    Args:
        name: Of the sweep, in this folder, or the path of its folder.
        flag: What names it, for messages.

    Raises:
        ConfigError: If there is no such sweep.
    """
    folder = SweepFolder(Path(name) if Path(name, "plan.jsonl").exists() else SWEEPS / name)
    if not folder.plan.exists():
        known = [found.path.name for found in sweep_folders()]
        there = f"{did_you_mean(name, known)} There are: {', '.join(known)}" if known else " There are none here"
        raise ConfigError(f"{flag}: there is no sweep {name!r}.{there}")
    return folder


@contextlib.contextmanager
def take_over(folder: SweepFolder, note: Callable[[str], None]) -> Iterator[None]:
    """Holds a sweep's folder against every other process for the time of the block.

    Where an earlier process of the sweep was killed, its trials' processes end by themselves; this waits for them.

    Args:
        folder: Of the sweep.
        note: Told of a wait.

    Raises:
        ConfigError: If another process works in it; names that.
    """
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainyardError(f"{folder.path}: the sweep's folder can't be made: {error}. Work where you may") from error
    lock = FileLock(folder.lock, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ConfigError(
            f"sweep {folder.path.name}: it runs already, as process {_holder(folder)}. Wait for it or stop it; "
            "to run it a second time beside it, give this one a name: sweep.name=..."
        ) from error
    with lock:
        _wait_for_trials(folder, note)
        yield


def is_held(folder: SweepFolder) -> bool:
    """Tells whether a process works in a sweep's folder."""
    lock = FileLock(folder.lock, timeout=0)
    try:
        with lock:
            return False
    except Timeout:
        return True


def _holder(folder: SweepFolder) -> str:
    """Returns the pid of the process that holds a folder; it may need a moment to write it down."""
    for _ in range(50):
        with contextlib.suppress(TrainyardError):
            sessions = Ledger(folder.ledger).sessions
            if sessions and not sessions[-1].status and is_alive(sessions[-1].pid, sessions[-1].started):
                return sessions[-1].pid
        time.sleep(0.1)
    return "(not known yet: it has only just started)"


def _wait_for_trials(folder: SweepFolder, note: Callable[[str], None]) -> None:
    if os.name == "nt":  # where no process is forked
        return
    import fcntl

    with folder.held.open("a") as file:
        deadline, told = time.monotonic() + _PATIENCE_SECONDS, False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TrainyardError(
                        f"sweep {folder.path.name}: processes of an earlier start are still alive after "
                        f"{_PATIENCE_SECONDS:g} s. End them (fuser {folder.held})"
                    ) from None
                if not told:
                    note("waiting for the processes of an earlier start of this sweep to end")
                    told = True
                time.sleep(0.1)
            else:
                return


def set_aside(folder: SweepFolder) -> Path | None:
    """Moves what is there of a sweep out of the way, and returns where it is now; None where there is nothing."""
    if not folder.plan.exists():
        return None
    stamp = f"{datetime.now().astimezone():%Y-%m-%d_%H-%M-%S}"
    aside, number = folder.path.with_name(f"{folder.path.name}.before-{stamp}"), 2
    while aside.exists():
        aside, number = aside.with_name(f"{folder.path.name}.before-{stamp}-{number}"), number + 1
    folder.path.rename(aside)
    return aside


def refuse_strange_folder(folder: SweepFolder) -> None:
    """Checks that a folder is that of a sweep, or may become one.

    Raises:
        ConfigError: If it is the working directory or around it, or holds something else.
    """
    if Path.cwd().is_relative_to(folder.path):
        raise ConfigError(
            f"hydra.sweep.dir: expected a folder of its own for the sweep, got {folder.path}, the working directory or "
            "one around it"
        )
    if folder.path.exists() and not folder.plan.exists() and not (folder.path.is_dir() and folder.is_new):
        raise ConfigError(f"hydra.sweep.dir: expected a new or empty folder, or that of a sweep, got {folder.path}")


def refuse_other_definition(folder: SweepFolder, plan: Plan) -> None:
    """Checks that a sweep which is there already is the one that is asked for now.

    Raises:
        ConfigError: If it is another; shows the difference.
    """
    header = folder.read_header()
    before, now = header["objective"], plan.objective
    lines = [] if before == now else [f"sweep.objective is {now or 'off'}, was {before or 'off'}"]
    lines += (
        _changed_trials(folder, plan) if plan.search is None else _changed_search(header.get("search"), plan.search)
    )
    if not lines:
        return
    more = [f"and {len(lines) - _SHOWN_DIFFERENCES} more"] if len(lines) > _SHOWN_DIFFERENCES else []
    raise ConfigError(
        f"sweep {folder.path.name}: it was planned otherwise, and goes on only as it was planned:",
        *lines[:_SHOWN_DIFFERENCES],
        *more,
        "Put it back as it was; or begin anew with --fresh, which keeps the old one aside; or take another sweep.name",
    )


def _changed_trials(folder: SweepFolder, plan: Plan) -> list[str]:
    """Returns how the trials of a grid differ from those that were planned."""
    lines = []
    planned = {canonical(trial.config): trial for trial in folder.read_trials()}
    wanted = {canonical(trial.config): trial for trial in plan.trials}
    gone = [trial for text, trial in planned.items() if text not in wanted]
    new = [trial for text, trial in wanted.items() if text not in planned]
    by_overrides = {trial.overrides: trial for trial in gone}
    for trial in new:
        earlier = by_overrides.pop(trial.overrides, None)
        differences = ", ".join(_differences(earlier.config, trial.config)) if earlier else "it was not there"
        lines.append(f"trial {trial.label}: {differences}")
    return [*lines, *(f"trial {trial.label}: it was there, and is gone" for trial in by_overrides.values())]


def _changed_search(before: dict[str, Any] | None, search: SearchPlan) -> list[str]:
    """Returns how what is drawn from differs from what was planned."""
    if before is None:
        return ["it draws its points, and was a grid"]
    return list(_differences(before, json.loads(json.dumps(search.definition))))


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    old, new = flatten_tree(dict(before)), flatten_tree(dict(after))
    for path in {**new, **old}:
        if old.get(path) != new.get(path):
            yield f"{path} is {new.get(path, 'absent')}, was {old.get(path, 'absent')}"

"""The folder of a sweep: its plan, its ledger and the files of its trials. Only one process at a time runs it.

sweeps/<name>/plan.jsonl      the definition of the sweep: a header, then a line per trial with its config
              plan.json       the same without the configs, logged to MLflow
              ledger.jsonl    the states and results of the trials
              trials/<n>/     the run folder of trial n; <n>-2 for its second attempt
              logs/<n>.log    the output of trial n
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from trainyard.config import format_suggestion
from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation import Trial
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.plan import SweepPlan
from trainyard.sweep.space import NOT_DRAWN
from trainyard.system import (
    FieldTypes,
    append_entries,
    atomic_write,
    build_from_json,
    check_fields,
    is_process_alive,
    read_entries,
)

T = TypeVar("T")

SWEEPS = Path("sweeps")
"""Where the folders of sweeps are, in the working directory."""

_WAIT_SECONDS = 150
"""Maximum wait for the processes of a sweep that was killed. It exceeds the time after which they end themselves."""
START_AGAIN = "start the sweep again from the beginning with --fresh, which keeps the old files under another name"
_RESTORE = f"Restore the file from a copy, or {START_AGAIN}"

_HEADER: FieldTypes = {
    "key": (str,),
    "name": (str,),
    "search": (dict, type(None)),
    "experiment": (str,),
    "objective": (str, type(None)),
    "swept": (list,),
    "overrides": (list,),
    "config_name": (str, type(None)),
    "config_dir": (str, type(None)),
    "store": (str, type(None)),
    "threads": (int, type(None)),
    "created": (str,),
}
"""The types of the fields in the first line of a plan."""


class SweepFolder:
    """The paths in the folder of a sweep, its plan and its ledger. `write_plan` creates the folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.plan = self.path / "plan.jsonl"
        self.ledger_file = self.path / "ledger.jsonl"
        self.overview = self.path / "plan.json"
        self.logs = self.path / "logs"
        self.lock_file = self.path.parent / f".{self.path.name}.lock"
        self.trials_lock_file = self.path.parent / f".{self.path.name}.trials"
        """A file on which each process that the sweep starts for a trial or a store holds a shared lock."""
        self._trials = self.path / "trials"

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, read from its file when it is first accessed."""
        return Ledger(self.ledger_file)

    @property
    def threads(self) -> int | None:
        """Default of `training.threads` for trials that do not set it; `None` lets TensorFlow choose."""
        return self.read_header()["threads"]  # type: ignore[no-any-return]

    @property
    def key(self) -> str:
        """The unique key of the sweep, a UUID in hexadecimal. The parent run has it as the tag `trainyard.key`."""
        return self.read_header()["key"]  # type: ignore[no-any-return]

    @property
    def has_started(self) -> bool:
        """Whether the ledger, or without its entries the folder, shows that trials were drawn or started."""
        return self.ledger.has_started or self.has_trials

    @property
    def has_trials(self) -> bool:
        """Whether there are run folders of trials."""
        return bool(self.list_attempt_folders())

    @property
    def has_remains(self) -> bool:
        """Whether the folder contains the ledger or trials of a sweep, even if its plan is missing."""
        return self.ledger_file.exists() or self.has_trials

    def get_log_file(self, number: int) -> Path:
        """Returns the path of the log file of a trial."""
        return self.logs / f"{number}.log"

    def find_next_attempt_folder(self, number: int) -> Path:
        """Returns the path for the folder of the next attempt of a trial; does not create the folder."""
        folder, attempt = self._trials / f"{number}", 2
        while folder.exists():
            folder, attempt = folder.with_name(f"{number}-{attempt}"), attempt + 1
        return folder

    def list_attempt_folders(self) -> dict[int, list[Path]]:
        """Returns the existing run folders by the number of their trial, latest attempt first."""
        paths = self._trials.iterdir() if self._trials.is_dir() else ()
        matches = [(path, match) for path in paths if (match := re.fullmatch(r"(\d+)(?:-(\d+))?", path.name))]
        folders: dict[int, list[Path]] = {}
        for path, match in sorted(matches, key=lambda item: int(item[1][2] or 1), reverse=True):
            folders.setdefault(int(match[1]), []).append(path)
        return folders

    def write_plan(self, plan: SweepPlan, threads: int | None) -> None:
        """Writes the plan and its overview, each atomically; `threads` becomes the property of this name.

        A plan of which no trial was started is replaced, but keeps its key, because its parent run may exist.
        """
        key = uuid.uuid4().hex
        with contextlib.suppress(TrainyardError, LookupError):
            key = self.key
        header = {
            "key": key,
            "name": plan.name,
            "search": plan.definition,
            "experiment": plan.experiment,
            "objective": plan.objective,
            "swept": plan.swept,
            "overrides": plan.overrides,
            "config_name": plan.config_name,
            "config_dir": None if plan.config_dir is None else str(plan.config_dir),
            "store": plan.store.name if plan.store else None,
            "threads": threads,
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        self.path.mkdir(parents=True, exist_ok=True)
        self.write_overview(header, plan.trials)
        with atomic_write(self.plan) as partial:  # written last: this file marks the folder as a sweep
            lines = (json.dumps(entry) for entry in (header, *map(_trial_to_dict, plan.trials)))
            partial.write_text("".join(f"{line}\n" for line in lines))

    def write_overview(self, header: Mapping[str, Any], trials: Sequence[Trial]) -> None:
        """Writes plan.json: the header and the trials without their configs."""
        rows = [{key: value for key, value in _trial_to_dict(trial).items() if key != "config"} for trial in trials]
        with atomic_write(self.overview) as partial:
            partial.write_text(json.dumps({**header, "trials": rows}, indent=1))

    def add_trials(self, trials: Sequence[Trial]) -> None:
        """Appends trials to the plan. Each replaces an earlier trial with the same number."""
        append_entries(self.plan, *map(_trial_to_dict, trials), durable=True)

    def read_header(self) -> dict[str, Any]:
        """Returns the first line of the plan. Raises ConfigError if the plan is missing or damaged."""
        header = next(self._read_lines(_check_header), {})
        if not header:
            raise ConfigError(
                f"{self.plan}: line 1: expected the header of the plan of a sweep, but it is missing. {_RESTORE}"
            )
        return header

    def append_missing_trials(self, plan: SweepPlan) -> SweepPlan:
        """Appends the trials of a search's new points to the plan file. Returns the plan with the trials of the file.

        The returned plan also has the swept settings and overrides with which the file was written. If a search has
        fewer points than before, trials beyond the new number that were not drawn yet are left out.
        """
        header, trials = self.read_header(), self.read_trials()
        if plan.space:
            self.add_trials(added_trials := plan.trials[len(trials) :])
            trials = (*(t for t in trials if t.label != NOT_DRAWN or t.number <= len(plan.trials)), *added_trials)
        return replace(plan, swept=tuple(header["swept"]), overrides=tuple(header["overrides"]), trials=trials)

    def read_trials(self) -> tuple[Trial, ...]:
        """Returns the planned trials. Raises ConfigError if the plan is missing or damaged."""
        lines = self._read_lines(lambda entry: None if "objective" in entry else build_from_json(Trial, entry))
        return tuple({trial.number: trial for trial in lines if trial}.values())

    def _read_lines(self, parse: Callable[[dict[str, Any]], T]) -> Iterator[T]:
        """Yields the complete lines of plan.jsonl: the header, then one per trial."""
        try:
            yield from read_entries(self.plan, parse, content="a line of the plan of a sweep", remedy=_RESTORE)
        except OSError as error:
            raise ConfigError(f"{self.plan}: the plan of the sweep can't be read: {error}. {_RESTORE}") from error


def _check_header(header: dict[str, Any]) -> dict[str, Any]:
    """Returns the header of a plan; for errors, see `check_fields`."""
    check_fields(header, _HEADER)
    return header


def _trial_to_dict(trial: Trial) -> dict[str, Any]:
    """Returns the fields of a trial. Unlike `dataclasses.asdict`, it does not copy the config, which is slow."""
    return {spec.name: getattr(trial, spec.name) for spec in fields(trial)}


def parse_trial_number(folder: Path) -> int:
    """Returns the number of a trial from its run folder; see `SweepFolder.find_next_attempt_folder`."""
    return int(folder.name.partition("-")[0])


def list_sweeps() -> list[SweepFolder]:
    """Returns the folders of all sweeps in ./sweeps, sorted by name, including those with a damaged plan."""
    return [SweepFolder(file.parent) for file in sorted(SWEEPS.glob("*/plan.jsonl"))]


def find_sweep(name: str, flag: str) -> SweepFolder:
    """Returns the folder of a sweep, from its name in ./sweeps or the path of its folder.

    Raises ConfigError if it does not exist. The message names the `flag`, the option or setting that contains the name.
    """
    folder = SweepFolder(Path(name) if Path(name, "plan.jsonl").exists() else SWEEPS / name)
    if not folder.plan.exists():
        hint = " There are no sweeps in ./sweeps"
        if names := [sweep.path.name for sweep in list_sweeps()]:
            hint = f"{format_suggestion(name, names)} Available: {', '.join(names)}"
        raise ConfigError(f"{flag}: there is no sweep {name!r}.{hint}")
    return folder


@contextlib.contextmanager
def lock_sweep(folder: SweepFolder, note: Callable[[str], None]) -> Iterator[None]:
    """Locks a sweep, so that no other process runs it during the block.

    If an earlier process of the sweep was killed, the processes that it started end on their own; this function waits
    for them, and calls `note` with a message before. The folder of the sweep is created if necessary.

    Raises:
        ConfigError: If another process runs the sweep.
        TrainyardError: If the folder cannot be created, or processes of an earlier start do not end.
    """
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainyardError(
            f"{folder.path}: the folder of the sweep cannot be created: {error}. Run the sweep in a writable directory"
        ) from error
    lock = FileLock(folder.lock_file, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ConfigError(
            f"sweep {folder.path.name} is already running as process {_find_owner(folder)}. Wait for it or stop it. "
            "To run a second sweep at the same time, choose another name: sweep.name=..."
        ) from error
    with lock:
        _wait_for_processes(folder, note)
        yield


def is_locked(folder: SweepFolder) -> bool:
    """Returns whether a process is running the sweep."""
    lock = FileLock(folder.lock_file, timeout=0)
    try:
        with lock:
            return False
    except Timeout:
        return True


def _find_owner(folder: SweepFolder) -> str:
    """Returns the pid of the process that runs the sweep, or a text if the process does not record it within 5 s."""
    for _ in range(50):
        with contextlib.suppress(TrainyardError):
            sessions = Ledger(folder.ledger_file).sessions
            if sessions and not sessions[-1].status and is_process_alive(sessions[-1].pid, sessions[-1].started):
                return sessions[-1].pid
        time.sleep(0.1)
    return "(unknown: it has only just started)"


def _wait_for_processes(folder: SweepFolder, note: Callable[[str], None]) -> None:
    """Waits until no process of an earlier start is alive; raises a TrainyardError after `_WAIT_SECONDS`."""
    if os.name == "nt":  # processes are not forked there
        return
    import fcntl

    with folder.trials_lock_file.open("a") as file:
        for attempt in range(10 * _WAIT_SECONDS):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if attempt == 0:
                note("waiting until the processes of an earlier start of this sweep have ended")
            time.sleep(0.1)
    raise TrainyardError(
        f"sweep {folder.path.name}: processes of an earlier start of this sweep are still running after "
        f"{_WAIT_SECONDS} s. Stop them (to list them: fuser {folder.trials_lock_file})"
    )


def move_aside(folder: SweepFolder) -> Path | None:
    """Renames the folder of a sweep to `<name>.before-<time>` and returns the new path; None if there is no sweep."""
    if not (folder.plan.exists() or folder.has_remains):
        return None
    name, number = f"{folder.path.name}.before-{datetime.now().astimezone():%Y-%m-%d_%H-%M-%S}", 2
    aside = folder.path.with_name(name)
    while aside.exists():
        aside, number = aside.with_name(f"{name}-{number}"), number + 1
    folder.path.rename(aside)
    vars(folder).pop("ledger", None)  # was read from the moved file
    return aside

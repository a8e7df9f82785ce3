"""What the stages of a run share, and the connection of a trial with its sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainyard.config import RunConfig, find_recipe_changes, hash_config
from trainyard.runs.result import RunResult
from trainyard.runs.resume import ResumePoint
from trainyard.system import GitState, Progress, StageTimer, collect_process_info, find_user_name, format_command_line
from trainyard.tracking import RunRequest, Tracker, TrackingStore, names

STAGE_TITLES = {
    "open": "Opening the tracking store",
    "start": "Starting TensorFlow",
    "load": "Loading the data",
    "build": "Building the model",
    "train": "Training",
    "evaluate": "Evaluating on the test images",
    "log": "Writing and logging the results",
}
"""What a run does in each of its stages."""

_CHOSEN_SETTINGS = ("training.engine", "training.xla")
"""Settings whose default is that Trainyard chooses the value."""


@dataclass(frozen=True, slots=True)
class TrialInfo:
    """The sweep that a run belongs to as a trial, and the functions that connect the two.

    Attributes:
        parent_run_id: MLflow's id of the sweep's parent run. None if tracking is off.
        number: The trial's number in the sweep's plan.
        name: The name of the trial's run. It shows how the trial differs from the other trials.
        record_result: Called with the result when everything is logged, before the run's status becomes FINISHED.
        prune_reason: Called after each epoch. Returns why the trial is pruned, or an empty string to continue.
    """

    sweep_id: str
    parent_run_id: str | None
    number: int
    name: str
    record_result: Callable[[RunResult], object]
    prune_reason: Callable[[], str] = lambda: ""

    def tags(self) -> dict[str, str]:
        """Returns the tags that mark a run as a trial of the sweep."""
        parent = {names.PARENT_RUN_ID: self.parent_run_id} if self.parent_run_id else {}
        return {names.ROLE: "trial", names.TRIAL_NUMBER: f"{self.number}", names.SWEEP_ID: self.sweep_id, **parent}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What the stages of a run share.

    `overrides` are those with which the config was composed, and `notes` the notes that describe this run. `name` is
    the name of the run, to which its store may append a number. `varied` has the dotted paths of the settings that
    differ from those of the recipe; it is empty for a trial. `store` is None if tracking is off; `tags` are those that
    the run is created with. None as `trial` means that the run is not a trial, as `resume_point` that it starts at the
    first epoch, and as `start_model` from random weights.
    """

    config: RunConfig
    overrides: Sequence[str]
    notes: str
    name: str
    varied: tuple[str, ...]
    folder: Path
    store: TrackingStore | None
    tracker: Tracker
    progress: Progress
    timer: StageTimer
    tags: dict[str, str]
    trial: TrialInfo | None
    resume_point: ResumePoint | None
    start_model: Path | None


def build_start_tags(run: RunContext, git: GitState | None) -> dict[str, str]:
    """Returns the tags that are known before the run starts."""
    config = run.config
    optional_tags = {
        names.RESUMED_FROM: config.resume,
        names.STARTED_FROM: config.training.start_from,
        names.SWEEP_ID: config.sweep.name,
        names.PARENT_RUN_ID: config.tracking.parent,
    }
    return {
        **config.tracking.tags,
        **build_provenance_tags(git),
        names.ROLE: "run",
        names.CONFIG_HASH: hash_config(config),
        names.SEED: str(config.seed),
        names.DETERMINISM: config.training.determinism,
        names.FOLDER: str(run.folder),
        names.NOTE: run.notes,
        **{name: value for name, value in optional_tags.items() if value},
        **(run.trial.tags() if run.trial else {}),
    }


def find_run_changes(config: RunConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Returns the recipe changes of a run (see `find_recipe_changes`).

    Those of a rerun do not contain the engine and the use of XLA, which it takes from the original run.
    """
    changes = find_recipe_changes(config, overrides)
    if names.RERUN_OF in config.tracking.tags:
        changes = {path: value for path, value in changes.items() if path not in _CHOSEN_SETTINGS}
    return changes


def build_request(run: RunContext) -> RunRequest:
    """Returns what the run is created with in the store."""
    config = run.config
    return RunRequest(
        config.experiment,
        config.notes,
        run.name,
        run.tags,
        config.model.label if config.tracking.model else None,
        parent_run_id=None if run.trial else config.tracking.parent,
        varied=run.varied,
    )


def build_provenance_tags(git: GitState | None) -> dict[str, str]:
    """Returns the tags for the provenance of a run or a sweep: the command, the process and the git state."""
    git_tags = {
        names.GIT_COMMIT: git.commit,
        names.GIT_BRANCH: git.branch,
        names.GIT_DIRTY: str(git.dirty).lower(),
    } if git else {}  # fmt: skip
    return {
        names.VERSION: version("trainyard"),
        names.COMMAND: format_command_line(),
        names.USER: find_user_name(),
        names.SOURCE_NAME: "trainyard",
        names.SOURCE_TYPE: "LOCAL",
        **collect_process_info(),
        **git_tags,
    }

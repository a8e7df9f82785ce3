"""Resumes an interrupted run: finds its folder, loads its last valid checkpoint, and checks that the configs match."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from trainyard.config import RunConfig, build_text_argument, find_config_differences, hash_config, load_config
from trainyard.data import Dataset
from trainyard.errors import ConfigError, DatasetError, TrainingError
from trainyard.runs.lookup import find_run, get_run_folder
from trainyard.tracking import TrackingStore, names
from trainyard.training import (
    CHECKPOINTS_FOLDER,
    Checkpoint,
    CheckpointPlan,
    Identity,
    find_checkpoints,
    load_checkpoint,
)

if TYPE_CHECKING:
    from trainyard.runs.context import RunContext


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """The interrupted run to resume, as the user named it, and its last valid checkpoint, which is in `file`.

    `damaged` are the problems of later checkpoints, which were skipped. `keep_best` is the setting of that run.
    """

    reference: str
    checkpoint: Checkpoint
    file: Path
    damaged: list[str]
    keep_best: str | None


def load_recorded_overrides(folder: Path) -> list[str]:
    """Loads the overrides with which a run was started. Raises a ConfigError if its overrides.yaml can't be read."""
    path = folder / "environment" / "overrides.yaml"
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"resume: expected a run folder, got {folder}: {error}") from error
    if not isinstance(content, list) or not all(isinstance(item, str) for item in content):
        raise ConfigError(f"resume: {path}: expected a list of overrides, got {content!r}")
    return content


def build_resume_command(folder: Path) -> str | None:
    """Returns the command that resumes the run in a folder, for use in the working directory.

    Returns None if the run has no checkpoint.
    """
    if not find_checkpoints(folder / CHECKPOINTS_FOLDER):
        return None
    return f"trainyard train {build_text_argument('resume', os.path.relpath(folder))}"


def load_resume_point(config: RunConfig, store: TrackingStore | None) -> ResumePoint | None:
    """Loads the checkpoint that a run resumes from. Returns None if the run does not resume another one.

    If the process of the interrupted run has ended without closing the run in the store, the run is marked as KILLED.

    Raises a ConfigError if that run can't be found, has finished, has no checkpoint, or has a different config.
    """
    if config.resume is None:
        return None
    is_folder = bool(config.resume) and Path(config.resume).is_dir()
    run = None if is_folder else find_run(config.resume, store, "resume")
    folder = get_run_folder(run, "resume") if run else Path(config.resume).absolute()
    original = load_config(folder / names.CONFIG_FILE)
    if hash_config(original) != hash_config(config) or original.seed != config.seed:
        differences = "\n".join(f"  {line}" for line in find_config_differences(original, config))
        raise ConfigError(
            f"resume: the config differs from that of run {config.resume}:\n{differences}\n"
            "  Remove these changes, or start a new run"
        )
    if run and run.status == "FINISHED":
        raise ConfigError(
            f"resume: run {config.resume} has already finished; there is nothing to resume. Start a new run"
        )
    if run and run.store and run.run_id and run.is_orphan:
        run.store.mark_killed(run.run_id)
    damaged: list[str] = []
    for file in find_checkpoints(folder / CHECKPOINTS_FOLDER):
        try:
            return ResumePoint(config.resume, load_checkpoint(file), file, damaged, original.training.keep_best)
        except TrainingError as error:
            damaged.append(str(error))
    raise ConfigError(
        f"resume: run {config.resume} has no valid checkpoint in {folder / CHECKPOINTS_FOLDER}. A run can only be "
        "resumed if it had training.checkpoint=true and finished an epoch. Start a new run"
    )


def plan_checkpoints(run: RunContext, dataset: Dataset, seed: int) -> CheckpointPlan:
    """Returns where a run writes checkpoints, and the checkpoint it resumes from.

    That checkpoint is also copied to the new run's folder, so that the new run can be resumed before its first epoch.

    Raises a ConfigError if the interrupted run was created by another version of Trainyard, with other config fields,
    and a DatasetError if it was trained on other images.
    """
    resume_point = run.resume_point
    identity = Identity(config_hash=hash_config(run.config), seed=seed, dataset_digest=dataset.digest)
    checkpoints_folder = run.folder / CHECKPOINTS_FOLDER if run.config.training.checkpoint else None
    original = resume_point.checkpoint.identity if resume_point else identity
    if resume_point and original.config_hash != identity.config_hash:
        raise ConfigError(
            f"resume: run {resume_point.reference} was created by another version of Trainyard, with other config "
            "fields or defaults. Resume it with that version, or start a new run"
        )
    if resume_point and original.dataset_digest != identity.dataset_digest:
        raise DatasetError(
            f"resume: expected the images of run {resume_point.reference}, with the digest "
            f"{original.dataset_digest}, got images with the digest {identity.dataset_digest}. Use the same data"
        )
    if resume_point and checkpoints_folder:
        checkpoints_folder.mkdir(exist_ok=True)
        shutil.copy2(resume_point.file, checkpoints_folder)
    return CheckpointPlan(checkpoints_folder, identity, resume_point.checkpoint if resume_point else None)

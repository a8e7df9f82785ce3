"""Resumes an interrupted run: finds its folder, loads its last valid checkpoint, and checks that the configs match."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from trainyard.config.schema import RunConfig
from trainyard.config.serialization import find_config_differences, hash_config, load_config
from trainyard.data.dataset import Dataset
from trainyard.errors import ConfigError, DatasetError, TrackingError, TrainingError
from trainyard.tracking import find_run, mark_killed
from trainyard.tracking.health import PROCESS_TAGS, examine_store
from trainyard.tracking.runs import is_alive, is_on_this_host, is_orphan
from trainyard.training.checkpoint import (
    CHECKPOINTS_FOLDER,
    Checkpoint,
    CheckpointPlan,
    Identity,
    find_checkpoints,
    load_checkpoint,
)

FOLDER_TAG = "trainyard.folder"


class FolderElsewhereError(ConfigError):
    """The run is in the tracking store, but its folder is not on this machine."""


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """The interrupted run to resume, and the checkpoint to resume from.

    Attributes:
        reference: The id or the folder of the interrupted run, as the user named it.
        checkpoint: The last valid checkpoint of the run.
        file: The file of the checkpoint.
        damaged: The problems of later checkpoints, which were skipped because they are damaged.
        keep_best: The value of `training.keep_best` in the interrupted run.
    """

    reference: str
    checkpoint: Checkpoint
    file: Path
    damaged: list[str]
    keep_best: str | None

    def describe(self) -> list[str]:
        """Returns the problems of skipped checkpoints and the epoch to resume from, as lines of text."""
        return [*self.damaged, f"resuming after epoch {self.checkpoint.epoch} of run {self.reference}"]


def find_run_folder(reference: str, uri: str | None, setting: str = "resume") -> Path:
    """Returns the folder of a run.

    Args:
        reference: The run's id in the store, or its folder.
        uri: The tracking URI. None if tracking is off.
        setting: The setting or argument that names the run, for messages.

    Raises:
        ConfigError: If the run does not exist, or is still running.
        FolderElsewhereError: If the folder is not on this machine. It is a subclass of ConfigError.
        TrackingError: If the store can't be reached.
    """
    if not reference:
        raise ConfigError(f"{setting}: expected the id or the folder of a run, got an empty value")
    if (folder := Path(reference)).is_dir():
        return folder.absolute()
    if uri is None:
        raise ConfigError(
            f"{setting}: expected an existing folder of a run (tracking is off, so run ids can't be looked up), "
            f"got {reference!r}"
        )
    try:
        run = find_run(uri, reference)
    except TrackingError as error:
        raise ConfigError(f"{setting}: {error}") from error
    if run.status == "RUNNING" and is_on_this_host(run) and is_alive(run):
        raise ConfigError(
            f"{setting}: run {reference} is still running, as process {run.tags['pid']}. Wait for it or stop it"
        )
    folder = Path(run.tags.get(FOLDER_TAG, ""))
    if FOLDER_TAG not in run.tags or not folder.is_dir():
        location = f"{folder} on host {run.tags.get('host', '(unknown)')}"
        raise FolderElsewhereError(
            f"{setting}: the folder of run {reference} is not on this machine. It was written to {location}. "
            f"Copy the folder to this machine and name it: {setting}=FOLDER"
        )
    return folder


def mark_orphan_killed(reference: str, uri: str | None) -> bool:
    """Marks the run as KILLED if its process on this host has ended. Returns whether the run was marked."""
    if uri is None or Path(reference).is_dir() or not is_orphan(find_run(uri, reference)):
        return False
    mark_killed(uri, reference)
    return True


def mark_orphans_killed(uri: str) -> list[str]:
    """Marks every run as KILLED that is RUNNING in the store but whose process on this host has ended.

    Returns:
        The ids of the marked runs.

    Raises:
        TrackingError: If the store can't be reached.
    """
    orphans = [
        run.run_id for run in examine_store(uri).running if run.tags.keys() >= {*PROCESS_TAGS} and is_orphan(run)
    ]
    return [run_id for run_id in orphans if mark_orphan_killed(run_id, uri)]


def load_recorded_overrides(folder: Path) -> list[str]:
    """Loads the overrides with which a run was started.

    Raises:
        ConfigError: If the folder is not a run folder, or its overrides.yaml is damaged.
    """
    path = folder / "environment" / "overrides.yaml"
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"resume: expected a run folder, got {folder}: {error}") from error
    if not isinstance(content, list) or not all(isinstance(item, str) for item in content):
        raise ConfigError(f"resume: {path}: expected a list of overrides, got {content!r}")
    return content


def load_resume_point(config: RunConfig, uri: str | None) -> ResumePoint | None:
    """Loads the checkpoint that a run resumes from. Returns None if the run does not resume another one.

    Args:
        config: The config of the new run. Its ``resume`` names the interrupted run.
        uri: The tracking URI. None if tracking is off.

    Raises:
        ConfigError: If the interrupted run can't be found, has finished, has no checkpoint, or has a different config.
        TrackingError: If the store can't be reached.
    """
    if config.resume is None:
        return None
    folder = find_run_folder(config.resume, uri)
    original = load_config(folder / "config.yaml")
    if hash_config(original) != hash_config(config) or original.seed != config.seed:
        differences = "\n".join(f"  {line}" for line in find_config_differences(original, config))
        raise ConfigError(
            f"resume: the config differs from that of run {config.resume}:\n{differences}\n"
            "  Remove these changes, or start a new run"
        )
    if uri and not Path(config.resume).is_dir() and find_run(uri, config.resume).status == "FINISHED":
        raise ConfigError(
            f"resume: run {config.resume} has already finished; there is nothing to resume. Start a new run"
        )
    mark_orphan_killed(config.resume, uri)
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


def plan_checkpoints(
    config: RunConfig, dataset: Dataset, folder: Path, seed: int, resume_point: ResumePoint | None
) -> CheckpointPlan:
    """Returns where a run writes checkpoints, and the checkpoint it resumes from.

    That checkpoint is also copied to the new run's folder, so that the new run can be resumed before its first epoch.

    Args:
        config: The config of the run.
        dataset: The images that the run is trained on.
        folder: The folder of the run.
        seed: The seed of the initial weights, the order of the images, and dropout.
        resume_point: The checkpoint to resume from. None starts at the first epoch.

    Raises:
        ConfigError: If the interrupted run was created by another version of Trainyard, with other config fields.
        DatasetError: If the interrupted run was trained on other images.
    """
    identity = Identity(config_hash=hash_config(config), seed=seed, dataset_digest=dataset.digest)
    checkpoints_folder = folder / CHECKPOINTS_FOLDER if config.training.checkpoint else None
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

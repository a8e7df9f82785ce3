"""Going on from an interrupted run: find it, take its last good checkpoint, and make sure that it is the same training."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from trainyard.config.compose import config_differences, hash_config, load_config
from trainyard.config.schema import RunConfig
from trainyard.data.dataset import Dataset
from trainyard.errors import ConfigError, DatasetError, TrackingError, TrainingError
from trainyard.tracking import find_run, mark_killed
from trainyard.tracking.health import ORIGIN_TAGS, examine_store
from trainyard.tracking.runs import is_alive, is_here, is_orphan
from trainyard.training.checkpoint import (
    CHECKPOINTS,
    Checkpoint,
    CheckpointPlan,
    Identity,
    checkpoint_files,
    read_checkpoint,
)

FOLDER_TAG = "trainyard.folder"


class FolderElsewhereError(ConfigError):
    """The run is in the store, and its folder is not on this machine."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The run that another goes on from.

    Attributes:
        reference: Its id, or its folder where it was named by that.
        checkpoint: Its last good checkpoint.
        file: Where that is.
        damaged: What was wrong with later checkpoints, which were passed over.
        keep_best: The metric whose best epoch's model it kept, or None.
    """

    reference: str
    checkpoint: Checkpoint
    file: Path
    damaged: list[str]
    keep_best: str | None

    def describe(self) -> list[str]:
        """Returns what there is to say of it, in lines."""
        return [*self.damaged, f"going on after epoch {self.checkpoint.epoch} of the run {self.reference}"]


def find_folder(reference: str, uri: str | None, setting: str = "resume") -> Path:
    """Returns the folder of a run.

    Args:
        reference: The run's id in the store, or its folder.
        uri: The tracking URI, or None where nothing is tracked.
        setting: What names the run, for messages.

    Raises:
        ConfigError: If there is no such run, or it still runs.
        FolderElsewhereError: If its folder is elsewhere; also a ConfigError.
        TrackingError: If the store can't be reached.
    """
    if not reference:
        raise ConfigError(f"{setting}: expected the id or the folder of a run, got nothing")
    if (folder := Path(reference)).is_dir():
        return folder.absolute()
    if uri is None:
        raise ConfigError(f"{setting}: expected the folder of a run, as nothing is tracked, got {reference!r}")
    try:
        run = find_run(uri, reference)
    except TrackingError as error:
        raise ConfigError(f"{setting}: {error}") from error
    if run.status == "RUNNING" and is_here(run) and is_alive(run):
        raise ConfigError(
            f"{setting}: the run {reference} still runs, as process {run.tags['pid']}. Wait for it, or stop it"
        )
    folder = Path(run.tags.get(FOLDER_TAG, ""))
    if FOLDER_TAG not in run.tags or not folder.is_dir():
        where = f"{folder} on the host {run.tags.get('host', 'that it ran on')}"
        raise FolderElsewhereError(
            f"{setting}: the folder of the run {reference} is not here; it was {where}. Name it: {setting}=FOLDER"
        )
    return folder


def close_orphan(reference: str, uri: str | None) -> bool:
    """Marks the run as KILLED if it is an orphan, and returns whether it was."""
    if uri is None or Path(reference).is_dir() or not is_orphan(find_run(uri, reference)):
        return False
    mark_killed(uri, reference)
    return True


def close_orphans(uri: str) -> list[str]:
    """Marks as KILLED every run of a store that says RUNNING and whose process, on this host, is gone.

    Returns:
        The ids of the runs.

    Raises:
        TrackingError: If the store can't be reached.
    """
    orphans = [run.run_id for run in examine_store(uri).running if run.tags.keys() >= {*ORIGIN_TAGS} and is_orphan(run)]
    return [run_id for run_id in orphans if close_orphan(run_id, uri)]


def recorded_overrides(folder: Path) -> list[str]:
    """Returns the overrides that a run was started with.

    Raises:
        ConfigError: If the folder is not that of a run.
    """
    path = folder / "environment" / "overrides.yaml"
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"resume: expected the folder of a run, got {folder}: {error}") from error
    if not isinstance(content, list) or not all(isinstance(item, str) for item in content):
        raise ConfigError(f"resume: {path}: expected a list of overrides, got {content!r}")
    return content


def load_earlier(config: RunConfig, uri: str | None) -> Earlier | None:
    """Returns what a run goes on from, or None where it begins at the beginning.

    Args:
        config: Of the run that is about to start; its ``resume`` names the earlier one.
        uri: The tracking URI, or None where nothing is tracked.

    Raises:
        ConfigError: If that run can't be found, is finished, left no checkpoint, or trained something else.
    """
    if config.resume is None:
        return None
    folder = find_folder(config.resume, uri)
    before = load_config(folder / "config.yaml")
    if hash_config(before) != hash_config(config) or before.seed != config.seed:
        told = "\n".join(f"  {line}" for line in config_differences(before, config))
        raise ConfigError(
            f"resume: the run {config.resume} trained something else:\n{told}\n"
            "  Leave these as they were, or start a new run"
        )
    if uri and not Path(config.resume).is_dir() and find_run(uri, config.resume).status == "FINISHED":
        raise ConfigError(f"resume: the run {config.resume} is FINISHED, and nothing is left of it. Start a new one")
    close_orphan(config.resume, uri)
    damaged: list[str] = []
    for file in checkpoint_files(folder / CHECKPOINTS):
        try:
            return Earlier(config.resume, read_checkpoint(file), file, damaged, before.training.keep_best)
        except TrainingError as error:
            damaged.append(str(error))
    raise ConfigError(
        f"resume: the run {config.resume} left no checkpoint in {folder / CHECKPOINTS}. Only a run with "
        "training.checkpoint=true that finished an epoch can be resumed; start it again"
    )


def plan_checkpoints(
    config: RunConfig, dataset: Dataset, folder: Path, seed: int, earlier: Earlier | None
) -> CheckpointPlan:
    """Returns what a run's training writes and starts from.

    The checkpoint that it starts from is put into its own folder too, so that it can be resumed before its first epoch.

    Args:
        config: Of the run.
        dataset: The images, as they are trained on.
        folder: Of the run.
        seed: What weights, order and dropout are drawn from.
        earlier: What it goes on from, or None.

    Raises:
        DatasetError: If the earlier run was trained on other images.
    """
    identity = Identity(config_hash=hash_config(config), seed=seed, dataset_digest=dataset.digest)
    kept = folder / CHECKPOINTS if config.training.checkpoint else None
    before = earlier.checkpoint.identity if earlier else identity
    if earlier and before.config_hash != identity.config_hash:
        raise ConfigError(
            f"resume: the run {earlier.reference} was made by another version of Trainyard, whose configs say other "
            "things. Resume it with that version, or start it again"
        )
    if earlier and before.dataset_digest != identity.dataset_digest:
        raise DatasetError(
            f"resume: the run {earlier.reference} was trained on other images: their digest was "
            f"{before.dataset_digest}, and is {identity.dataset_digest}. Give it the same data"
        )
    if earlier and kept:
        kept.mkdir(exist_ok=True)
        shutil.copy2(earlier.file, kept)
    return CheckpointPlan(kept, identity, earlier.checkpoint if earlier else None)

"""Builds the tags, params and dataset inputs of a run for MLflow, and the content of its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.config import RunConfig, flatten_config, hash_config
from trainyard.data import Dataset
from trainyard.runs.report import count_layers
from trainyard.runs.result import RunResult, TrainedRun
from trainyard.system import (
    GitState,
    collect_process_info,
    find_user_name,
    format_command_line,
    hash_weights,
)
from trainyard.tracking import DatasetInput, names

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class TrialInfo:
    """The sweep that a run belongs to as a trial, and the functions that connect the two.

    Attributes:
        sweep_id: The name of the sweep.
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


def build_start_tags(config: RunConfig, folder: Path, git: GitState | None, trial: TrialInfo | None) -> dict[str, str]:
    """Returns the tags that are known before the run starts."""
    tags = {
        **config.tracking.tags,
        **build_provenance_tags(git),
        names.ROLE: "run",
        names.CONFIG_HASH: hash_config(config),
        names.SEED: str(config.seed),
        names.DETERMINISM: config.training.determinism,
        names.FOLDER: str(folder),
        names.NOTE: config.notes,
    }
    if config.resume:
        tags[names.RESUMED_FROM] = config.resume
    if config.training.start_from:
        tags[names.STARTED_FROM] = config.training.start_from
    if config.sweep.name:
        tags[names.SWEEP_ID] = config.sweep.name
    if trial:
        tags |= trial.tags()
    return tags


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


def build_tensorflow_tags(config: RunConfig, seed: int, machine: dict[str, Any]) -> dict[str, str]:
    """Returns the tags that are known after TensorFlow was configured: the threads, and the seed if it was random."""
    seed_tags = {names.DRAWN_SEED: str(seed)} if config.training.determinism == "off" else {}
    return {names.THREADS: str(machine["threads"]), **seed_tags}


def build_result_tags(trained: TrainedRun) -> dict[str, str]:
    """Returns the tags that describe the result.

    These are the best epoch and the restored epoch (if any), the digests of the data set and of the final weights, the
    engine and XLA with the reasons for their choice, the number of threads, the tables that MLflow shows, and the note.
    """
    config, training = trained.config, trained.training
    note = (
        f"**{trained.evaluation.accuracy:.4f}** accuracy on {len(trained.dataset.test):,} test images. "
        f"{config.model.label} on {trained.dataset.name}, "
        f"{config.optimizer.name} at {config.optimizer.learning_rate:g}, "
        f"epochs {len(training.history)}, batch size {config.training.batch_size}, seed {config.seed}."
        f"\n\n{config.notes}"
    )
    restored = {} if training.best_epoch is None else {names.RESTORED_EPOCH: str(training.best_epoch)}
    best = {names.BEST_EPOCH: trained.best_model.describe(training.history)} if trained.best_model else {}
    return {
        **best,
        **restored,
        names.DATASET_DIGEST: trained.dataset.digest,
        names.WEIGHTS_DIGEST: hash_weights(trained.model),
        names.ENGINE: f"{training.engine}: {training.engine_reason}",
        names.XLA: str(training.xla),
        names.THREADS: str(trained.machine["threads"]),
        names.NOTE: note.strip(),
        names.LOGGED_TABLES: f'[{{"path": "{names.PER_CLASS_TABLE}", "type": "table"}}]',
    }


def build_config_params(config: RunConfig) -> dict[str, Any]:
    """Returns the config values by dotted path. The notes are not included, because they are logged as a tag."""
    return {path: value for path, value in flatten_config(config).items() if path != "notes"}


def build_model_params(model: keras.Model) -> dict[str, int]:
    """Returns the size of the model as params, for MLflow's parallel coordinates plot."""
    return {"model.layers": count_layers(model), "model.parameters": model.count_params()}


def build_dataset_inputs(dataset: Dataset) -> list[DatasetInput]:
    """Returns the dataset input of each split, which MLflow shows on the run's page."""
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return [
        DatasetInput(
            name=dataset.name,
            context=context,
            digest=split.digest,
            source=dataset.source,
            images=len(split),
            image_shape=dataset.spec.image_shape,
            classes=dataset.spec.classes,
        )
        for context, split in splits.items()
        if split is not None
    ]

"""What is said about a run, in words and numbers: its tags, its params, its data, the facts on its page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.config.compose import flatten_config, hash_config
from trainyard.config.schema import RunConfig
from trainyard.data.dataset import Dataset
from trainyard.reporting.run_report import ReportPage
from trainyard.runs import artifacts
from trainyard.runs.result import Outcome, RunResult
from trainyard.runs.resume import FOLDER_TAG
from trainyard.system.environment import (
    REPORTED_PACKAGES,
    GitState,
    command_line,
    describe_process,
    digest_weights,
    installed_versions,
    user_name,
)
from trainyard.tracking import DatasetInput
from trainyard.tracking.runs import RESTORED_TAG

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class TrialOf:
    """What a run that is a trial says of its sweep.

    Attributes:
        sweep_id: The sweep's name.
        parent_run_id: MLflow's id of the sweep's own run; None where nothing is tracked.
        number: The trial's number in the sweep's plan.
        name: What distinguishes it from the others, the name of its run.
        keep: Called with what the run came to, when all is logged and before it is FINISHED.
        pruned: Returns why the run is not worth going on with, or nothing; asked after each epoch.
    """

    sweep_id: str
    parent_run_id: str | None
    number: int
    name: str
    keep: Callable[[RunResult], None]
    pruned: Callable[[], str] = str

    def tags(self) -> dict[str, str]:
        """Returns the tags that make a run a trial."""
        parent = {"mlflow.parentRunId": self.parent_run_id} if self.parent_run_id else {}
        return {"trainyard.role": "trial", "trainyard.trial": f"{self.number}", "sweep_id": self.sweep_id, **parent}


def tags_at_start(config: RunConfig, folder: Path, git: GitState | None, trial: TrialOf | None) -> dict[str, str]:
    """Returns the tags that are known before anything was done."""
    tags = {
        **config.tracking.tags,
        **origin_tags(git),
        "trainyard.role": "run",
        "config_hash": hash_config(config),
        "seed": str(config.seed),
        "determinism": config.training.determinism,
        FOLDER_TAG: str(folder),
        "mlflow.note.content": config.notes,
    }
    if config.resume:
        tags["resumed_from"] = config.resume
    if config.training.start_from:
        tags["started_from"] = config.training.start_from
    if config.sweep.name:
        tags["sweep_id"] = config.sweep.name
    if trial:
        tags |= trial.tags()
    return tags


def origin_tags(git: GitState | None) -> dict[str, str]:
    """Returns the tags that tell where a run, or a sweep, comes from: the command, the process, the code."""
    of_code = {
        "mlflow.source.git.commit": git.commit,
        "mlflow.source.git.branch": git.branch,
        "git.dirty": str(git.dirty).lower(),
    } if git else {}  # fmt: skip
    return {
        "trainyard.version": version("trainyard"),
        "command": command_line(),
        "mlflow.user": user_name(),
        "mlflow.source.name": "trainyard",
        "mlflow.source.type": "LOCAL",
        **describe_process(),
        **of_code,
    }


def tags_of_start(config: RunConfig, seed: int, machine: dict[str, Any]) -> dict[str, str]:
    """Returns the tags that are known when TensorFlow has started."""
    drawn = {"drawn_seed": str(seed)} if config.training.determinism == "off" else {}
    return {"threads": str(machine["threads"]), **drawn}


def tags_at_end(outcome: Outcome) -> dict[str, str]:
    """Returns the tags that tell what came out, and how."""
    config, training = outcome.config, outcome.training
    note = (
        f"**{outcome.evaluation.accuracy:.4f}** of {len(outcome.dataset.test):,} test images right. "
        f"{config.model.label} on {outcome.dataset.name}, "
        f"{config.optimizer.name} at {config.optimizer.learning_rate:g}, "
        f"epochs {len(training.history)}, batch size {config.training.batch_size}, seed {config.seed}."
        f"\n\n{config.notes}"
    )
    restored = {} if training.best_epoch is None else {RESTORED_TAG: str(training.best_epoch)}
    best = {"best_epoch": outcome.best_model.describe(training.history)} if outcome.best_model else {}
    return {
        **best,
        **restored,
        "dataset_digest": outcome.dataset.digest,
        "weights_digest": digest_weights(outcome.model),
        "engine": f"{training.engine}: {training.engine_reason}",
        "xla": str(training.xla),
        "threads": str(outcome.machine["threads"]),
        "mlflow.note.content": note.strip(),
        "mlflow.loggedArtifacts": f'[{{"path": "{artifacts.PER_CLASS_TABLE}", "type": "table"}}]',
    }


def config_params(config: RunConfig) -> dict[str, Any]:
    """Returns the config by dotted path; the notes have a place of their own."""
    return {path: value for path, value in flatten_config(config).items() if path != "notes"}


def model_params(model: keras.Model) -> dict[str, int]:
    """Returns the size of the model in numbers, for parallel coordinates."""
    return {"model.layers": count_layers(model), "model.parameters": model.count_params()}


def describe_model(config: RunConfig, model: keras.Model) -> list[str]:
    """Returns the model in lines: the whole, then each layer with its kind, the shape it gives and its parameters."""
    rows = [
        (layer.name, type(layer).__name__, "x".join(map(str, layer.output.shape[1:])), f"{layer.count_params():,}")
        for layer in model.layers
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"  {name:{widths[0]}}  {kind:{widths[1]}}  {shape:>{widths[2]}}  {parameters:>{widths[3]}}"
        for name, kind, shape, parameters in rows
    ]
    return [f"{config.model.label}, {model.count_params():,} parameters", *lines]


def count_layers(model: keras.Model) -> int:
    """Returns the number of layers with a kernel."""
    return sum(any(weight.name == "kernel" for weight in layer.weights) for layer in model.layers)


def dataset_inputs(dataset: Dataset) -> list[DatasetInput]:
    """Returns what MLflow shows of each split."""
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


def describe_data(dataset: Dataset) -> str:
    """Returns the data set in a line: its name, its splits, where it was found."""
    validation = f", {len(dataset.validation):,} to validate" if dataset.validation is not None else ""
    return (
        f"{dataset.name}: {len(dataset.train):,} images to train{validation}, {len(dataset.test):,} to test, "
        f"from {dataset.source}"
    )


def batch_warning(dataset: Dataset, config: RunConfig) -> str | None:
    """Returns a warning where a batch is larger than the data."""
    size, images = config.training.batch_size, len(dataset.train)
    if size <= images:
        return None
    return f"warning: training.batch_size={size} is more than the {images} training images: each epoch is one step"


def report_page(
    outcome: Outcome, timings: dict[str, float], tags: dict[str, str], pictures: dict[str, Path]
) -> ReportPage:
    """Returns what the run's page shows.

    Args:
        outcome: What came out.
        timings: Seconds by stage, as far as they are known.
        tags: The run's tags, whose digests and reasons the page repeats.
        pictures: The drawn pictures, by caption.
    """
    config, model, machine = outcome.config, outcome.model, outcome.machine
    commit = tags.get("mlflow.source.git.commit")
    changes = ", with local changes" if tags.get("git.dirty") == "true" else ""
    versions = installed_versions()
    told = {
        "Command": tags["command"],
        "Commit": f"{commit}{changes}" if commit else "not in a git checkout",
        "Config hash": tags["config_hash"],
        "Seed": tags["seed"],
        "Dataset digest": tags["dataset_digest"],
        "Weights digest": tags["weights_digest"],
        "Engine": tags["engine"],
        "XLA": tags["xla"],
        "Threads": tags["threads"],
        "Machine": f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['platform']}",
        "Versions": ", ".join(f"{name} {versions[name]}" for name in REPORTED_PACKAGES if name in versions),
        "Python": machine["python"],
    }
    return ReportPage(
        title=config.model.label,
        experiment=config.experiment,
        finished=f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        notes=config.notes,
        config=config,
        dataset=outcome.dataset,
        dataset_digest=tags["dataset_digest"],
        model_summary=artifacts.summarise(model),
        layers=count_layers(model),
        parameters=model.count_params(),
        training=outcome.training,
        evaluation=outcome.evaluation,
        timings=timings,
        provenance=told,
        pictures=pictures,
    )

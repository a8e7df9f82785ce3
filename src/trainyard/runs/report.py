"""The contents of a run's report page, and descriptions of its data and model."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.config import RunConfig
from trainyard.data import Dataset
from trainyard.reporting import ReportPage
from trainyard.runs import artifacts
from trainyard.runs.result import TrainedRun
from trainyard.system import (
    REPORTED_PACKAGES,
    list_installed_versions,
)
from trainyard.tracking import names

if TYPE_CHECKING:
    import keras


def describe_model(config: RunConfig, model: keras.Model) -> list[str]:
    """Returns a description of the model, then one line per layer: name, class, output shape and parameters."""
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


def describe_data(dataset: Dataset) -> str:
    """Returns one line about the data set: its name, the size of its splits, and its source."""
    validation = f", {len(dataset.validation):,} validation" if dataset.validation is not None else ""
    return (
        f"{dataset.name}: {len(dataset.train):,} training{validation} and {len(dataset.test):,} test images, "
        f"from {dataset.source}"
    )


def find_batch_size_problem(dataset: Dataset, config: RunConfig) -> str | None:
    """Returns a warning if a batch is larger than the training set, or None."""
    size, images = config.training.batch_size, len(dataset.train)
    if size <= images:
        return None
    return (
        f"warning: training.batch_size={size} is larger than the training set ({images} images), so each epoch is a "
        "single step"
    )


def build_report_page(
    trained: TrainedRun, timings: dict[str, float], tags: dict[str, str], plot_files: dict[str, Path]
) -> ReportPage:
    """Returns the content of the run's report.

    Args:
        trained: The trained model and its metrics.
        timings: Seconds per finished stage.
        tags: The run's tags. The report shows the digests and the reasons for the engine and XLA.
        plot_files: The plot files by caption.
    """
    config, model, machine = trained.config, trained.model, trained.machine
    commit = tags.get(names.GIT_COMMIT)
    changes = ", with local changes" if tags.get(names.GIT_DIRTY) == "true" else ""
    versions = list_installed_versions()
    provenance_rows = {
        "Command": tags[names.COMMAND],
        "Commit": f"{commit}{changes}" if commit else "not in a git repository",
        "Config hash": tags[names.CONFIG_HASH],
        "Seed": tags[names.SEED],
        "Dataset digest": tags[names.DATASET_DIGEST],
        "Weights digest": tags[names.WEIGHTS_DIGEST],
        "Engine": tags[names.ENGINE],
        "XLA": tags[names.XLA],
        "Threads": tags[names.THREADS],
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
        dataset=trained.dataset,
        dataset_digest=tags[names.DATASET_DIGEST],
        model_summary=artifacts.render_model_summary(model),
        layers=count_layers(model),
        parameters=model.count_params(),
        training=trained.training,
        evaluation=trained.evaluation,
        timings=timings,
        provenance=provenance_rows,
        plots=plot_files,
    )

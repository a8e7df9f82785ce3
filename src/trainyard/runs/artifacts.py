"""Writes the artifact files of a run to its folder, from which they are logged, and describes its data and model."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.config import RunConfig, dump_config
from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation import EvalResult
from trainyard.models import build_serving_model
from trainyard.system import (
    GitState,
    atomic_write,
    hide_notebook_output,
    list_installed_versions,
    write_checksums,
)
from trainyard.tracking import ServableModel, names

if TYPE_CHECKING:
    import keras

    from trainyard.data import DataSpec

SERVABLE_FILE = ".servable.keras"
MODEL_SUMMARY = "model_summary.txt"
MACHINE, VERSIONS = "environment/machine.json", "environment/versions.txt"
CONFUSION_MATRIX = "evaluation/confusion_matrix.json"
TEST_PREDICTIONS = "evaluation/test_predictions.npz"


def create_run_folder(folder: Path) -> Path:
    """Creates the folder of a run, and returns its absolute path. It must be empty, because all of it is logged.

    Raises a ConfigError if the folder is not empty, or is the working directory or one of its parents.
    """
    folder = folder.absolute()
    if Path.cwd().is_relative_to(folder):
        raise ConfigError(
            f"{folder}: expected a separate folder for the run, got the working directory or one of its parents. "
            "Do not change hydra.run.dir and hydra.job.chdir"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder}: expected a new or empty folder for the run, got one that contains files")
    except OSError as error:
        raise TrainyardError(
            f"{folder}: the run's folder can't be created: {error}. Change to a directory that you can write to"
        ) from error
    return folder


def write_provenance(folder: Path, config: RunConfig, overrides: Sequence[str], git: GitState | None) -> None:
    """Writes what is needed to repeat the run: config.yaml, and in environment/ overrides, versions and git diff."""
    environment = folder / "environment"
    environment.mkdir(parents=True, exist_ok=True)
    (folder / names.CONFIG_FILE).write_text(dump_config(config))
    (environment / "overrides.yaml").write_text(
        "".join(f"- {json.dumps(override)}\n" for override in overrides) or "[]\n"
    )
    versions = list_installed_versions()
    (folder / VERSIONS).write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
    if git and git.dirty and config.tracking.diff:
        (environment / "git.diff").write_text(git.describe_changes())


def render_model_summary(model: keras.Model) -> str:
    """Returns Keras's summary of the model."""
    stream = io.StringIO()
    with hide_notebook_output():
        model.summary(print_fn=lambda line, **_: stream.write(f"{line}\n"), line_length=80)
    return stream.getvalue()


def save_models(folder: Path, model: keras.Model) -> None:
    """Saves model.keras and model.h5, each atomically, and checksums.txt, which detects damage to them.

    ``.keras`` is saved first, because saving ``.h5`` removes the optimizer from the model's compiled state.
    """
    files = ("model.keras", "model.h5")
    for name in files:
        with atomic_write(folder / name) as partial:
            model.save(partial)
    write_checksums(folder, files)


def save_servable_model(folder: Path, model: keras.Model, label: str, spec: DataSpec) -> ServableModel:
    """Saves the model that accepts raw pixels to a hidden file, which is later moved to the tracking store.

    `label` describes the architecture.
    """
    file = folder / SERVABLE_FILE
    with atomic_write(file) as partial:
        build_serving_model(model, spec).save(partial)
    return ServableModel(file, label, spec.image_shape, spec.classes)


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401 - any JSON value
    """Writes a value as indented JSON, replacing the file; not atomic."""
    path.write_text(json.dumps(content, indent=1) + "\n")


def write_evaluation(folder: Path, result: EvalResult, first_predictions: int) -> None:
    """Writes the classification report, the metrics, the tables and the predictions on the test images."""
    (folder / "evaluation").mkdir(exist_ok=True)
    report = folder / "classification_report.txt"
    report.write_text(result.report, encoding="utf-8", errors="backslashreplace")  # class names may be any file names
    classes = [scores.name for scores in result.per_class]
    per_class = {
        "columns": ["class", "f1", "precision", "recall", "support"],
        "data": [
            [row.name, *(_replace_nan(score) for score in (row.f1, row.precision, row.recall)), row.support]
            for row in result.per_class
        ],
    }
    axes = {"classes": classes, "rows": "actual", "columns": "predicted"}
    rows = ",\n  ".join(json.dumps(row, separators=(",", ":")) for row in result.confusion.tolist())
    matrix = f'{json.dumps(axes, indent=1)[:-2]},\n "matrix": [\n  {rows}\n ]\n}}\n'  # a line per row
    first = [
        {
            "index": index,
            "predicted": classes[result.predicted[index]],
            "actual": classes[result.actual[index]],
            "probability": round(float(result.confidence[index]), 6),
        }
        for index in range(min(first_predictions, len(result.actual)))
    ]
    write_json(folder / "evaluation" / "metrics.json", result.metrics())
    write_json(folder / names.PER_CLASS_TABLE, per_class)
    (folder / CONFUSION_MATRIX).write_text(matrix)
    write_json(folder / "evaluation" / "first_predictions.json", first)
    np.savez_compressed(
        folder / TEST_PREDICTIONS,
        predicted=result.predicted,
        actual=result.actual,
        probability=result.confidence,
    )


def _replace_nan(score: float) -> float | None:
    """Returns None for an undefined score, because NaN is not valid JSON."""
    return None if np.isnan(score) else score


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

"""Writes the artifact files of a run to its folder, from which they are logged, and describes its data and model."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.config import RunConfig, dump_config
from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation import MAX_LISTED_CLASSES, EvalResult
from trainyard.models import build_serving_model
from trainyard.reporting import ReportPage, plots, write_report
from trainyard.runs.result import RunResult
from trainyard.runs.warning_log import WarningLog
from trainyard.system import (
    REPORTED_PACKAGES,
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
    (environment / "versions.txt").write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
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
    (folder / "evaluation" / "confusion_matrix.json").write_text(matrix)
    write_json(folder / "evaluation" / "first_predictions.json", first)
    np.savez_compressed(
        folder / "evaluation" / "test_predictions.npz",
        predicted=result.predicted,
        actual=result.actual,
        probability=result.confidence,
    )


def _replace_nan(score: float) -> float | None:
    """Returns None for an undefined score, because NaN is not valid JSON."""
    return None if np.isnan(score) else score


def write_plots_and_report(
    trained: RunResult, timings: dict[str, float], tags: dict[str, str], warnings: WarningLog
) -> None:
    """Draws all plots of a run and writes its report.html. What can't be written is left out, with a warning.

    `timings` are seconds per stage.
    """
    plot_files = _draw_plots(trained.folder, trained, warnings)
    file = trained.folder / "report.html"
    with warnings.catch(file):
        write_report(file, _build_report_page(trained, timings, tags, plot_files, warnings.messages))


def _draw_plots(folder: Path, trained: RunResult, warnings: WarningLog) -> dict[str, Path]:
    """Draws all plots of a run. Returns the plot files by caption, in the order in which the report shows them."""
    images, spec = trained.dataset.test.images, trained.dataset.spec
    result, config = trained.evaluation, trained.config.evaluation
    many_classes = len(result.per_class) > MAX_LISTED_CLASSES
    matrix_caption = "Most frequent confusions" if many_classes else "Confusion matrix"
    drawings: dict[str, tuple[str, Callable[[Path], None]]] = {
        "Learning curves": (
            "learning_curves.png",
            lambda file: plots.draw_learning_curves(trained.training.history, file, trained.training.best_epoch),
        ),
        matrix_caption: ("confusion_matrix.png", lambda file: plots.draw_confusion_matrix(result, file)),
        "First predictions": (
            "predictions.png",
            lambda file: plots.draw_predictions(images, result, spec, config.first_predictions, file),
        ),
        "Most confident mistakes": (
            "evaluation/mistakes.png",
            lambda file: plots.draw_mistakes(images, result, spec, config.mistakes, file),
        ),
        "Calibration": ("evaluation/calibration.png", lambda file: plots.draw_calibration(result.calibration, file)),
    }
    files = {}
    for caption, (name, draw) in drawings.items():
        with warnings.catch(folder / name):
            draw(folder / name)
            files[caption] = folder / name
    return files


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


def _build_report_page(
    trained: RunResult,
    timings: dict[str, float],
    tags: dict[str, str],
    plot_files: dict[str, Path],
    warnings: Sequence[str],
) -> ReportPage:
    """Returns the content of the run's report; `plot_files` have captions."""
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
        model_summary=render_model_summary(model),
        layers=count_layers(model),
        parameters=model.count_params(),
        training=trained.training,
        evaluation=trained.evaluation,
        timings=timings,
        provenance=provenance_rows,
        plots=plot_files,
        warnings=warnings,
    )

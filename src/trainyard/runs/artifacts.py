"""The files that a run leaves in its folder, and which are then logged from there."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.config.compose import dump_config
from trainyard.config.schema import RunConfig
from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation.scoring import EvalResult
from trainyard.models import with_raw_pixels
from trainyard.reporting import plots
from trainyard.runs.result import Outcome
from trainyard.system.environment import GitState, installed_versions
from trainyard.system.files import whole_file, write_checksums
from trainyard.system.uris import without_credentials
from trainyard.training.debug import PROFILE
from trainyard.training.profiler import read_profile

if TYPE_CHECKING:
    import keras

    from trainyard.data.dataset import DataSpec

SERVABLE = ".servable.keras"
PER_CLASS_TABLE = "evaluation/per_class.json"


def make_folder(folder: Path) -> Path:
    """Makes the folder of a run, which is logged as a whole and so must hold nothing else.

    Returns:
        The folder, absolute.

    Raises:
        ConfigError: If it holds something, or is the working directory or around it.
        TrainyardError: If it can't be made.
    """
    folder = folder.absolute()
    if Path.cwd().is_relative_to(folder):
        raise ConfigError(
            f"{folder}: expected a folder of its own for the run, got the working directory or one around it. "
            "Leave hydra.run.dir and hydra.job.chdir as they are"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder}: expected a new or empty folder for the run, and it holds something already")
    except OSError as error:
        raise TrainyardError(f"{folder}: the run's folder can't be made: {error}. Work where you may write") from error
    return folder


def write_origin(folder: Path, config: RunConfig, overrides: Sequence[str], git: GitState | None) -> None:
    """Writes what the run was started with: config.yaml, and under environment/ overrides, versions and diff."""
    environment = folder / "environment"
    environment.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(dump_config(config))
    (environment / "overrides.yaml").write_text(
        "".join(f"- {json.dumps(override)}\n" for override in overrides) or "[]\n"
    )
    versions = installed_versions()
    (environment / "versions.txt").write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
    if git and git.dirty:
        (environment / "git.diff").write_text(without_credentials(git.describe_changes()))


def write_machine(folder: Path, machine: dict[str, Any]) -> None:
    """Writes environment/machine.json."""
    _write_json(folder / "environment" / "machine.json", machine)


def write_summary(folder: Path, model: keras.Model) -> None:
    """Writes model_summary.txt."""
    (folder / "model_summary.txt").write_text(summarise(model))


def summarise(model: keras.Model) -> str:
    """Returns Keras's summary of the model."""
    stream = io.StringIO()
    model.summary(print_fn=lambda line, **_: stream.write(f"{line}\n"), line_length=80)
    return stream.getvalue()


def save_models(folder: Path, model: keras.Model) -> None:
    """Saves model.keras and model.h5, each whole, and checksums.txt, by which damage to them is found.

    ``.keras`` comes first: saving ``.h5`` drops the optimizer from the model's compiled state.
    """
    names = ("model.keras", "model.h5")
    for name in names:
        with whole_file(folder / name) as partial:
            model.save(partial)
    write_checksums(folder, names)


def save_servable(folder: Path, model: keras.Model, spec: DataSpec) -> Path:
    """Saves the model that takes raw pixels, in a hidden file: it is on its way into the store, and moved there."""
    file = folder / SERVABLE
    with whole_file(file) as partial:
        with_raw_pixels(model, spec).save(partial)
    return file


def write_evaluation(folder: Path, result: EvalResult, first_predictions: int) -> None:
    """Writes the classification report, the metrics, the tables and the predictions."""
    (folder / "evaluation").mkdir(exist_ok=True)
    (folder / "classification_report.txt").write_text(result.report)
    names = [scores.name for scores in result.per_class]
    _write_json(folder / "evaluation" / "metrics.json", result.metrics())
    _write_json(
        folder / PER_CLASS_TABLE,
        {
            "columns": ["class", "f1", "precision", "recall", "support"],
            "data": [[row.name, row.f1, row.precision, row.recall, row.support] for row in result.per_class],
        },
    )
    _write_json(
        folder / "evaluation" / "confusion_matrix.json",
        {"classes": names, "rows": "actual", "columns": "predicted", "matrix": result.confusion.tolist()},
    )
    first = range(min(first_predictions, len(result.actual)))
    _write_json(
        folder / "evaluation" / "first_predictions.json",
        [
            {
                "index": index,
                "predicted": names[result.predicted[index]],
                "actual": names[result.actual[index]],
                "probability": round(float(result.confidence[index]), 6),
            }
            for index in first
        ],
    )
    np.savez_compressed(
        folder / "evaluation" / "test_predictions.npz",
        predicted=result.predicted,
        actual=result.actual,
        probability=result.confidence,
    )


def draw_pictures(folder: Path, outcome: Outcome) -> dict[str, Path]:
    """Draws all pictures of a run.

    Returns:
        Their files, by caption, in the order in which a reader wants them.
    """
    images, spec = outcome.dataset.test.images, outcome.dataset.spec
    result, shown = outcome.evaluation, outcome.config.evaluation
    pictures = {
        "Learning curves": folder / "learning_curves.png",
        "Confusion matrix": folder / "confusion_matrix.png",
        "First predictions": folder / "predictions.png",
        "Most confident mistakes": folder / "evaluation" / "mistakes.png",
        "Calibration": folder / "evaluation" / "calibration.png",
    }
    plots.draw_learning_curves(outcome.training.history, pictures["Learning curves"], outcome.training.best_epoch)
    plots.draw_confusion_matrix(result, pictures["Confusion matrix"])
    plots.draw_predictions(images, result, spec, shown.first_predictions, pictures["First predictions"])
    plots.draw_mistakes(images, result, spec, shown.mistakes, pictures["Most confident mistakes"])
    plots.draw_calibration(result.calibration, pictures["Calibration"])
    if (folder / PROFILE).is_dir():
        pictures["Where the time of a training step goes"] = folder / PROFILE / "profile.png"
        plots.draw_profile(read_profile(folder / PROFILE), folder / PROFILE / "profile.png")
    return pictures


def _write_json(path: Path, content: Any) -> None:  # noqa: ANN401 - anything that JSON holds
    path.write_text(json.dumps(content, indent=1) + "\n")

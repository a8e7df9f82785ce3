"""Draws the plots of a run and writes its report: at the end of the run, or later from what the run logged."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from trainyard.config import (
    EvaluationConfig,
    RunConfig,
    find_recipe,
    load_config,
    select_notes,
)
from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation import MAX_LISTED_CLASSES, ClassScores, PredictionScores, measure_calibration
from trainyard.reporting import DatasetSummary, ReportPage, format_time, plots, write_report
from trainyard.runs import artifacts
from trainyard.runs.commands import build_run_commands
from trainyard.runs.context import find_run_changes
from trainyard.runs.provenance import describe_run_provenance, load_dataset_summary
from trainyard.runs.resume import load_recorded_overrides
from trainyard.runs.tested_images import load_test_images
from trainyard.runs.warning_log import WarningLog
from trainyard.tracking import RunRecord, load_operations, load_run_record, names

if TYPE_CHECKING:
    from trainyard.config import TrackingConfig
    from trainyard.runs.result import RunResult

_PLOTS = (
    "learning_curves.png",
    "confusion_matrix.png",
    "predictions.png",
    "evaluation/mistakes.png",
    "evaluation/calibration.png",
)
_STAGES = ("start", "load", "build", "compile", "train", "evaluate", "log")


def is_report_written(config: TrackingConfig, *, is_trial: bool) -> bool:
    """Returns whether a run draws its plots and writes its report itself, according to ``tracking.plots``."""
    return config.plots == "all" or (config.plots != "none" and not is_trial)


def write_plots_and_report(
    trained: RunResult,
    overrides: Sequence[str],
    timings: Mapping[str, float],
    tags: Mapping[str, str],
    warnings: WarningLog,
) -> None:
    """Draws all plots of a run that ends, and writes its report. What can't be written is left out, with a warning.

    `overrides` are those with which the config was composed; `timings` are seconds per stage.
    """
    data = trained.dataset
    page = _build_page(
        trained.folder,
        trained.config,
        overrides,
        tags,
        dataset=DatasetSummary(
            data.name,
            data.source,
            data.spec,
            len(data.train),
            None if data.validation is None else len(data.validation),
            len(data.test),
        ),
        evaluation=trained.evaluation,
        history=trained.training.history,
        timings=timings,
        parameters=(artifacts.count_layers(trained.model), trained.model.count_params()),
        ended=datetime.now(UTC),
        identity=(trained.name, trained.run_id),
        uri=trained.tracking_uri,
    )
    _write_files(trained.folder, page, data.test.images, warnings)


def write_missing_report(folder: Path, notify: Callable[[str], None]) -> list[str]:
    """Draws the plots of the finished run in a folder and writes its report, unless the folder has a report.

    The images of the test set are loaded again. If they are not available, the plots that show them are left out, with
    a warning. Returns the names of the files in the folder that are part of the report. Raises a ConfigError or a
    ModelError if a file of the run can't be read.
    """
    if not (folder / names.REPORT_FILE).is_file():
        restore_report(load_run_record(folder), folder, notify)
    return list_report_files(folder)


def list_report_files(folder: Path) -> list[str]:
    """Returns the names of the files in the folder of a run that are part of its report."""
    files = (*_PLOTS, names.WARNINGS_FILE, names.REPORT_FILE)
    return [name for name in files if (folder / name).is_file()]


def restore_report(run: RunRecord, folder: Path, notify: Callable[[str], None]) -> None:
    """Draws the plots of a run and writes its report to a folder, which contains the artifacts of the run."""
    warnings = WarningLog(folder, notify)
    page = _load_page(run, folder)
    try:
        images, _ = load_test_images(run, page.evaluation.actual)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - the data sets of users may raise anything
        images, details = None, "" if isinstance(error, TrainyardError) else traceback.format_exc()
        warnings.add(f"the plots of test images are left out, because the images can't be loaded: {error}", details)
    _write_files(folder, page, images, warnings)


def _load_page(run: RunRecord, folder: Path) -> ReportPage:
    """Returns the content of the report of a finished run. Raises a ConfigError if an artifact can't be read."""
    try:
        config = load_config(folder / names.CONFIG_FILE)
        evaluation = _load_scores(run, folder, config.evaluation)
        timings = {stage: run.metrics[f"time/{stage}_seconds"] for stage in _STAGES}
        page = _build_page(
            folder,
            config,
            load_recorded_overrides(folder),
            run.tags,
            dataset=load_dataset_summary(run, folder),
            evaluation=evaluation,
            history=[metrics for epoch, metrics in run.load_history().items() if epoch],
            timings=timings,
            parameters=(run.params["model.layers"], run.params["model.parameters"]),
            ended=datetime.fromtimestamp((run.ended or run.started) / 1000, UTC),
            identity=(run.name, run.run_id),
            uri=load_operations(folder).uri if run.store is None else run.store.uri,
        )
    except (OSError, ValueError, KeyError, IndexError, BadZipFile) as error:
        reason = f"the value {error} is missing" if isinstance(error, KeyError) else error
        raise ConfigError(f"report: expected a run with all its files, got {run.identity}: {reason}") from error
    absent = evaluation.describe_absent_classes()
    return replace(page, warnings=[absent] if absent else [])


def _load_scores(run: RunRecord, folder: Path, config: EvaluationConfig) -> PredictionScores:
    """Returns the scores that a run logged."""

    def build_average(name: str, values: Sequence[float]) -> ClassScores:
        precision, recall, f1 = values
        return ClassScores(name, precision, recall, f1, len(actual))

    with np.load(folder / artifacts.TEST_PREDICTIONS, allow_pickle=False) as arrays:
        predicted, actual, confidence = (arrays[name] for name in ("predicted", "actual", "probability"))
    table = json.loads((folder / names.PER_CLASS_TABLE).read_text())
    columns = {name: [row[index] for row in table["data"]] for index, name in enumerate(table["columns"])}
    quantities = ("precision", "recall", "f1")
    scores = np.array([columns[name] for name in quantities], np.float64)  # null becomes NaN
    support = np.array(columns["support"])
    weighted = np.where(support > 0, scores * support, 0).sum(axis=1) / len(actual)
    rows = zip(columns["class"], *scores.tolist(), columns["support"], strict=True)
    return PredictionScores(
        predicted=predicted,
        actual=actual,
        confidence=confidence,
        loss=run.metrics["loss/test"],
        accuracy=run.metrics["accuracy/test"],
        per_class=[ClassScores(*row) for row in rows],
        macro=build_average("macro avg", [run.metrics[f"{name}_macro/test"] for name in quantities]),
        weighted=build_average("weighted avg", weighted.tolist()),
        confusion=np.array(json.loads((folder / artifacts.CONFUSION_MATRIX).read_text())["matrix"], np.int64),
        calibration=measure_calibration(confidence, predicted == actual, config.calibration_bins),
        extra_metrics={name: run.metrics[f"{name}/test"] for name in config.metrics if f"{name}/test" in run.metrics},
    )


def _write_files(folder: Path, page: ReportPage, images: NDArray[np.uint8] | None, warnings: WarningLog) -> None:
    """Draws all plots of a run, and writes its report. What can't be written is left out, with a warning.

    `images` are the test images; None if they are not available.
    """
    if missing := plots.describe_missing_font(page.dataset.spec.class_names):
        warnings.add(missing)
    files = _draw_plots(folder, page, images, warnings)
    report = folder / names.REPORT_FILE
    with warnings.catch(report):
        write_report(report, replace(page, plots=files, warnings=[*page.warnings, *warnings.messages]))


def _draw_plots(
    folder: Path, page: ReportPage, images: NDArray[np.uint8] | None, warnings: WarningLog
) -> dict[str, Path]:
    """Draws all plots of a run. Returns the plot files by caption, in the order in which the report shows them."""
    result, spec, config = page.evaluation, page.dataset.spec, page.config.evaluation
    many_classes = len(result.per_class) > MAX_LISTED_CLASSES
    drawings: dict[str, tuple[str, Callable[[Path], None]]] = {
        "Learning curves": (
            "learning_curves.png",
            lambda file: plots.draw_learning_curves(page.history, file, page.best_epoch),
        ),
        "Most frequent confusions" if many_classes else "Confusion matrix": (
            "confusion_matrix.png",
            lambda file: plots.draw_confusion_matrix(result, file),
        ),
    }
    if images is not None:
        drawings["First predictions"] = (
            "predictions.png",
            lambda file: plots.draw_predictions(images, result, spec, config.first_predictions, file),
        )
        drawings["Most confident mistakes"] = (
            "evaluation/mistakes.png",
            lambda file: plots.draw_mistakes(images, result, spec, config.mistakes, file),
        )
    drawings["Calibration"] = (
        "evaluation/calibration.png",
        lambda file: plots.draw_calibration(result.calibration, file),
    )
    files = {}
    for caption, (name, draw) in drawings.items():
        with warnings.catch(folder / name):
            draw(folder / name)
            files[caption] = folder / name
    return files


def _build_page(
    folder: Path,
    config: RunConfig,
    overrides: Sequence[str],
    tags: Mapping[str, str],
    *,
    dataset: DatasetSummary,
    evaluation: PredictionScores,
    history: Sequence[Mapping[str, float]],
    timings: Mapping[str, float],
    parameters: tuple[int, int],
    ended: datetime,
    identity: tuple[str, str | None],
    uri: str | None,
) -> ReportPage:
    """Returns the content of the report of a run without its plots.

    `parameters` are the numbers of layers and of parameters; `identity` are the run's name and its id, if it is
    known; `uri` is that of its store.
    """
    layers, count = parameters
    restored = tags.get(names.RESTORED_EPOCH)
    return ReportPage(
        title=config.model.label,
        experiment=config.experiment,
        ended=format_time(ended),
        recipe=find_recipe(config, overrides),
        recipe_changes=find_run_changes(config, overrides),
        notes=select_notes(config, overrides),
        config=config,
        dataset=dataset,
        model_summary=(folder / artifacts.MODEL_SUMMARY).read_text(),
        layers=layers,
        parameters=count,
        engine=tags[names.ENGINE],
        history=history,
        best_epoch=int(restored) if restored else None,
        evaluation=evaluation,
        timings=timings,
        provenance=describe_run_provenance(folder, tags, *identity),
        commands=build_run_commands(identity[1] or os.path.relpath(folder), uri=uri),
    )

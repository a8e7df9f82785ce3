"""Writes the report of a run: an HTML page with scores, plots, config, times and provenance.

The report of a run that failed or was interrupted has the error and the completed epochs instead of scores.

A page is a single HTML file with embedded plots. It needs no network connection, so it can be sent by e-mail, opened
from a disk or shown in a frame. With many classes, it contains a script that sorts the table of classes on request.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainyard.config import COMPONENT_GROUPS, compose_config, dump_config, flatten_config
from trainyard.evaluation import compute_proportion_interval
from trainyard.reporting.formatting import format_count, format_duration, format_metric, format_metric_name
from trainyard.reporting.html import build_template_environment, embed_image, render_sortable_page
from trainyard.reporting.plots.style import MAX_NAME_LENGTH, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from trainyard.config import RunConfig
    from trainyard.data import DataSpec
    from trainyard.evaluation import PredictionScores

CURVES_FILE = "learning_curves.png"
"""File name of the plot that is shown in the section on training."""
MAX_COLUMN_PLOT_WIDTH = 900
"""Maximum width, in CSS pixels, of a plot that is shown in one of two columns. A wider one gets the whole width."""
MAX_PLAIN_CLASSES = 30
"""Maximum number of classes whose scores are a table that is neither sortable nor scrolls."""
MAX_LISTED_CLASSES = 12
"""Maximum number of classes whose names are listed in the description of the data set."""
SHOWN_IN_HEADER = ("name", "notes")
"""Config values that the header of the page shows already."""


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """The data set of a run: its name and source, and the number of images of each of its splits."""

    name: str
    source: str
    spec: DataSpec
    train: int
    validation: int | None
    test: int

    def describe_images(self) -> str:
        """Returns the numbers of images: ``1,294 for training, 143 for validation, 360 for testing``."""
        validation = "none" if self.validation is None else f"{self.validation:,}"
        return f"{self.train:,} for training, {validation} for validation, {self.test:,} for testing"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """What the pages of finished and failed runs have in common. A failed run may lack what is None."""

    title: str
    experiment: str
    ended: str
    """Date and time when the run ended."""
    recipe: str | None
    """The recipe from which the config was composed; None if there is none."""
    recipe_changes: Mapping[str, Any]
    """The settings that differ from the recipe, or from the defaults, and affect results, by path."""
    notes: str = ""
    """Notes that describe this run."""
    config: RunConfig
    dataset: DatasetSummary | None
    model_summary: str | None
    parameters: int | None
    """Number of parameters of the model, including those that are not trainable."""
    engine: str | None
    """The engine that trained the model, and the reason for its choice."""
    history: Sequence[Mapping[str, float]]
    """One mapping per epoch from logged names to values."""
    best_epoch: int | None
    """The epoch, counted from 1, whose weights early stopping restored. None if it restored none."""
    timings: Mapping[str, float]
    """Seconds by stage, in order; empty if they are unknown."""
    provenance: Mapping[str, str]
    """Displayed values by label, in order."""
    plots: Mapping[str, Path] = field(default_factory=dict)
    """PNG files by caption, in order."""
    warnings: Sequence[str] = ()
    """What is undefined or missing in the page, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPage(RunPage):
    """The content of the report. The key figures are computed from `evaluation` and `timings`.

    The stages ``compile`` and ``train`` of `timings` are required.
    """

    dataset: DatasetSummary
    parameters: int
    layers: int
    """Number of layers with a kernel."""
    evaluation: PredictionScores
    commands: Mapping[str, str]
    """Commands that repeat the run and use its model, by title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailurePage(RunPage):
    """The content of the report of a run that failed or was interrupted."""

    status: str
    """``FAILED`` or ``KILLED``."""
    activity: str
    """What the run did when it ended: ``training, in epoch 3 of 20``."""
    error: str
    """The message of the exception that ended the run."""
    traceback: str
    is_unexpected: bool
    """Whether the message may be insufficient to find the mistake, so that the traceback is shown."""
    resume_command: str | None
    """The command that continues the run after its last checkpoint; None if it has none."""
    seconds: float
    """Seconds from the start of the run to its end."""

    @property
    def summary(self) -> str:
        """What happened and when, in one line: ``Failed while training, in epoch 3 of 20``."""
        verb = "Failed" if self.status == "FAILED" else "Stopped"
        return f"{verb} while {self.activity}"


def write_report(path: Path, page: ReportPage) -> None:
    """Writes the report of a finished run.

    Raises:
        FileNotFoundError: If a plot file does not exist.
    """
    values = _build_values(page) | {"headline": _build_headline(page), "max_plain_classes": MAX_PLAIN_CLASSES}
    best = page.best_epoch
    weights = "of the last epoch" if best is None else f"of epoch {best}, restored by early stopping"
    values["progress"] |= {"Tested weights": weights}
    is_sortable = len(page.evaluation.per_class) > MAX_PLAIN_CLASSES
    _write_page(path, "report.html", values, is_sortable=is_sortable)


def write_failure_report(path: Path, page: FailurePage) -> None:
    """Writes the report of a run that failed or was interrupted."""
    _write_page(path, "failure.html", _build_values(page) | {"headline": _build_failure_headline(page)})


def _write_page(path: Path, template: str, values: Mapping[str, Any], *, is_sortable: bool = False) -> None:
    """Writes a page from a template; with `is_sortable`, it contains the script that sorts tables."""
    if is_sortable:
        html = render_sortable_page(template, **values)
    else:
        html = build_template_environment().get_template(template).render(values)
    path.write_text(html, encoding="utf-8", errors="backslashreplace")  # class names may be any file names


def _build_values(page: RunPage) -> dict[str, Any]:
    """Returns the values that the templates of both pages use."""
    images = [(file, embed_image(caption, file)) for caption, file in page.plots.items()]
    plots = [image for file, image in images if file.name != CURVES_FILE]
    return {
        "page": page,
        "changes": find_changed_values(page.config),
        "config_text": dump_config(page.config),
        "epoch_columns": list(dict.fromkeys(name for epoch in page.history for name in epoch)),
        "progress": describe_progress(page.history, page.config.training.epochs),
        "curves": [image for file, image in images if file.name == CURVES_FILE],
        "plots": [plot for plot in plots if plot.width <= MAX_COLUMN_PLOT_WIDTH],
        "wide_plots": [plot for plot in plots if plot.width > MAX_COLUMN_PLOT_WIDTH],
        "max_listed_classes": MAX_LISTED_CLASSES,
    }


def describe_progress(history: Sequence[Mapping[str, float]], epochs: int) -> dict[str, str]:
    """Returns the best loss and accuracy with their epochs, by title: of the validation, if there is one.

    `epochs` is the number of epochs in the config. A best value in the last epoch means that it was still improving.
    """
    texts = {"Epochs": f"{len(history)} of {epochs}"}
    split = "val" if any("loss/val" in epoch for epoch in history) else "train"
    for quantity, adjective, choose in (("loss", "Lowest", min), ("accuracy", "Highest", max)):
        name = f"{quantity}/{split}"
        values = {number: epoch[name] for number, epoch in enumerate(history, 1) if name in epoch}
        if values:
            best, last = choose(values, key=lambda number: values[number]), max(values)
            title = f"{adjective} {format_metric_name(name).lower()}"
            texts[title] = f"{format_metric(name, values[best])} in epoch {best}"
            if best == last:
                texts[title] += ", the last one"
            elif values[best] == values[last]:
                texts[title] += " and in the last epoch"
            else:
                texts[title] += f"; {format_metric(name, values[last])} in the last epoch"
    return texts


def find_changed_values(config: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Returns the config values that differ from the defaults of the selected components, and these defaults, by path.

    If another component than the default is selected, it is the value of its group: ``model``. Name and notes are left
    out.
    """
    values: dict[str, Any] = {spec.name: getattr(config, spec.name) for spec in dataclasses.fields(config)}
    section_names = [name for name, value in values.items() if dataclasses.is_dataclass(value)]
    sections: dict[str, Any] = {name: type(values[name])() for name in section_names}
    defaults = flatten_config(dataclasses.replace(type(config)(), **sections))
    default = compose_config([])
    components = {group: (values[group].name, getattr(default, group).name) for group in COMPONENT_GROUPS}
    selected = {group: names for group, names in components.items() if names[0] != names[1]}
    return selected | {
        path: (value, defaults.get(path))
        for path, value in flatten_config(config).items()
        if path not in SHOWN_IN_HEADER and value != defaults.get(path)
    }


def _build_headline(page: ReportPage) -> dict[str, tuple[str, str]]:
    """Returns the key figures by title, each with a short explanation."""
    result = page.evaluation
    wrong, images = int((result.predicted != result.actual).sum()), len(result.actual)
    seconds = page.timings["compile"] + page.timings["train"]
    low, high = compute_proportion_interval(images - wrong, wrong)
    interval = f"95 % interval {100 * low:.2f} to {100 * high:.2f} %"
    return {
        "Test accuracy": (f"{100 * result.accuracy:.2f} %", f"{wrong:,} of {images:,} images wrong; {interval}"),
        "Test loss": (f"{result.loss:.4f}", "mean cross-entropy, nats"),
        "Macro F1": (f"{result.macro.f1:.4f}", _describe_classes(result)),
        "Training": (
            format_duration(seconds),
            f"{format_count(len(page.history), 'epoch')}, including compilation",
        ),
        "Parameters": (f"{page.parameters:,}", f"{format_count(page.layers, 'layer')} with a kernel"),
    }


def _describe_classes(result: PredictionScores) -> str:
    """Returns the number of classes in the macro F1, and the class with the lowest F1, unless all are equal."""
    absent = len(result.classes_without_images)
    text = f"mean over {len(result.per_class) - absent:,} classes{' with test images' if absent else ''}"
    scored = [scores for scores in result.per_class if scores.support]
    worst = min(scored, key=lambda scores: scores.f1)
    if worst.f1 == max(scores.f1 for scores in scored):
        return text
    return f"{text}; lowest: {worst.f1:.4f}, class {shorten(worst.name, MAX_NAME_LENGTH)}"


def _build_failure_headline(page: FailurePage) -> dict[str, tuple[str, str]]:
    """Returns the status and how far the run came by title, each with a short explanation."""
    reasons = {"FAILED": "an error ended the run", "KILLED": "the run was stopped before its end"}
    return {
        "Status": (page.status, reasons[page.status]),
        "Epochs": (f"{len(page.history)}", f"of {page.config.training.epochs} completed"),
        "Duration": (format_duration(page.seconds), "until the end"),
    }

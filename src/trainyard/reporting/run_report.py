"""Writes the report of a run: an HTML page with scores, plots, config, times and provenance.

The page is a single HTML file with embedded plots. It needs no network connection, so it can be sent by e-mail, opened
from a disk or shown in a frame. With many classes, it contains a script that sorts the table of classes on request.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainyard.config import COMPONENT_GROUPS, compose_config, dump_config, flatten_config
from trainyard.reporting.formatting import format_count, format_duration
from trainyard.reporting.html import build_template_environment, embed_image, render_sortable_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from trainyard.config import RunConfig
    from trainyard.data import DataSpec
    from trainyard.evaluation import PredictionScores

TEMPLATE = "report.html"
CURVES_FILE = "learning_curves.png"
"""File name of the plot that is shown in the section on training."""
CONFUSION_FILE = "confusion_matrix.png"
"""File name of the plot that is shown beside the scores. All other plots are shown after them."""
MAX_PLAIN_CLASSES = 30
"""Maximum number of classes whose scores are a table that is neither sortable nor scrolls."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPage:
    """The content of the page. The key figures are computed from `evaluation` and `timings`."""

    title: str
    experiment: str
    finished: str
    """Date and time when the run finished."""
    recipe: str | None
    """The recipe from which the config was composed; None if there is none."""
    recipe_changes: Mapping[str, Any]
    """The settings that differ from the recipe, or from the defaults, and affect results, by path."""
    notes: str = ""
    """Notes that describe this run."""
    config: RunConfig
    dataset: DatasetSummary
    dataset_digest: str
    model_summary: str
    layers: int
    """Number of layers with a kernel."""
    parameters: int
    """Number of parameters of the model, including those that are not trainable."""
    engine: str
    """The engine that trained the model, and the reason for its choice."""
    history: Sequence[Mapping[str, float]]
    """One mapping per epoch from logged names to values."""
    best_epoch: int | None
    """The epoch, counted from 1, whose weights early stopping restored. None if it restored none."""
    evaluation: PredictionScores
    timings: Mapping[str, float]
    """Seconds by stage, in order; ``compile`` and ``train`` are required."""
    provenance: Mapping[str, str]
    """Displayed values by label, in order."""
    plots: Mapping[str, Path] = field(default_factory=dict)
    """PNG files by caption, in order."""
    warnings: Sequence[str] = ()
    """What is undefined or missing in the report, and why."""


def write_report(path: Path, page: ReportPage) -> None:
    """Writes the report.

    Raises:
        FileNotFoundError: If a plot file does not exist.
    """
    images = [(file, embed_image(caption, file)) for caption, file in page.plots.items()]
    values = {
        "page": page,
        "headline": _build_headline(page),
        "changes": find_changed_values(page.config),
        "config_text": dump_config(page.config),
        "epoch_columns": list(dict.fromkeys(name for epoch in page.history for name in epoch)),
        "curves": [image for file, image in images if file.name == CURVES_FILE],
        "confusion": [image for file, image in images if file.name == CONFUSION_FILE],
        "plots": [image for file, image in images if file.name not in (CURVES_FILE, CONFUSION_FILE)],
        "max_plain_classes": MAX_PLAIN_CLASSES,
    }
    if len(page.evaluation.per_class) > MAX_PLAIN_CLASSES:
        html = render_sortable_page(TEMPLATE, **values)
    else:
        html = build_template_environment().get_template(TEMPLATE).render(values)
    path.write_text(html, encoding="utf-8", errors="backslashreplace")  # class names may be any file names


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
    absent = len(result.classes_without_images)
    classes, with_images = len(result.per_class) - absent, " with test images" if absent else ""
    return {
        "Test accuracy": (f"{100 * result.accuracy:.2f} %", f"{wrong:,} of {images:,} images wrong"),
        "Test loss": (f"{result.loss:.4f}", "mean cross-entropy, nats"),
        "Macro F1": (f"{result.macro.f1:.4f}", f"mean over {classes:,} classes{with_images}"),
        "Training": (
            format_duration(seconds),
            f"{format_count(len(page.history), 'epoch')}, including compilation",
        ),
        "Parameters": (f"{page.parameters:,}", f"{format_count(page.layers, 'layer')} with a kernel"),
    }

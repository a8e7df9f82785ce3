"""Writes the report of a run: an HTML page with scores, plots, config, times and provenance.

The page is a single HTML file with embedded plots. It needs neither scripts nor a network connection, so it can be sent
by e-mail, opened from a disk or shown in a frame.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from trainyard.config import dump_config, flatten_config
from trainyard.reporting.formatting import format_duration
from trainyard.reporting.html import build_template_environment, embed_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from trainyard.config import RunConfig
    from trainyard.data import Dataset
    from trainyard.evaluation import EvalResult
    from trainyard.training import TrainResult

TEMPLATE = "report.html"
CURVES_FILE = "learning_curves.png"
"""File name of the plot that is shown in the section on training. All other plots are shown after the scores."""
SHOWN_IN_HEADER = ("name", "notes")
"""Config values that the header of the page shows already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPage:
    """The content of the page. The key figures are computed from `evaluation` and `training`.

    Attributes:
        title: Title of the page.
        experiment: Name of the experiment that the run belongs to.
        finished: Date and time when the run finished, as text.
        notes: The user's notes on the run. May be empty.
        config: The config of the run.
        dataset: The data set of the run. Only sizes and names are shown.
        dataset_digest: SHA-256 digest of the data set.
        model_summary: Keras's summary of the model, as text.
        layers: Number of layers with a kernel.
        parameters: Number of parameters of the model, including those that are not trainable.
        training: Result of the training: history, engine and times.
        evaluation: Predictions for the test images and their scores.
        timings: Seconds by stage, in order.
        provenance: Displayed values by label, in order: commit, versions, machine, digests, command, ...
        plots: PNG files by caption, in order.
    """

    title: str
    experiment: str
    finished: str
    notes: str = ""
    config: RunConfig
    dataset: Dataset
    dataset_digest: str
    model_summary: str
    layers: int
    parameters: int
    training: TrainResult
    evaluation: EvalResult
    timings: Mapping[str, float]
    provenance: Mapping[str, str]
    plots: Mapping[str, Path]


class ConfigChange(NamedTuple):
    """A config value that differs from the default of its field."""

    path: str
    """Dotted path of the field."""
    value: Any
    """Value in the config of the run."""
    default: Any
    """Default of the field."""


def write_report(path: Path, page: ReportPage) -> None:
    """Writes the report.

    Args:
        path: The HTML file to write.
        page: Content of the page.

    Raises:
        FileNotFoundError: If a plot file does not exist.
    """
    template = build_template_environment().get_template(TEMPLATE)
    curve_files = {caption: file for caption, file in page.plots.items() if file.name == CURVES_FILE}
    other_files = {caption: file for caption, file in page.plots.items() if caption not in curve_files}
    html = template.render(
        page=page,
        headline=_build_headline(page),
        changes=list(find_changed_values(page.config)),
        config_text=dump_config(page.config),
        epoch_columns=list(dict.fromkeys(name for epoch in page.training.history for name in epoch)),
        curves=[embed_image(caption, file) for caption, file in curve_files.items()],
        plots=[embed_image(caption, file) for caption, file in other_files.items()],
    )
    path.write_text(html, encoding="utf-8")


def find_changed_values(config: RunConfig) -> Iterator[ConfigChange]:
    """Yields the config values that differ from the defaults of the selected components, except name and notes."""
    default_config = dataclasses.replace(
        type(config)(),
        **{spec.name: type(value)() for spec, value in _iterate_sections(config)},
    )
    defaults = flatten_config(default_config)
    for path, value in flatten_config(config).items():
        if path not in SHOWN_IN_HEADER and value != defaults.get(path):
            yield ConfigChange(path, value, defaults.get(path))


def _iterate_sections(config: RunConfig) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    """Yields each field of the config whose value is a dataclass, with this value."""
    for spec in dataclasses.fields(config):
        value = getattr(config, spec.name)
        if dataclasses.is_dataclass(value):
            yield spec, value


def _build_headline(page: ReportPage) -> dict[str, tuple[str, str]]:
    """Returns the key figures by title, each with a short explanation."""
    result, training = page.evaluation, page.training
    wrong, images = int((result.predicted != result.actual).sum()), len(result.actual)
    seconds = training.compile_seconds + training.train_seconds
    epochs = len(training.history)
    return {
        "Test accuracy": (f"{100 * result.accuracy:.2f} %", f"{wrong:,} of {images:,} images wrong"),
        "Test loss": (f"{result.loss:.4f}", "mean cross-entropy, nats"),
        "Macro F1": (f"{result.macro.f1:.4f}", f"mean over {len(result.per_class)} classes"),
        "Training": (
            format_duration(seconds),
            f"{epochs:,} epoch{'' if epochs == 1 else 's'}, including compilation",
        ),
        "Parameters": (
            f"{page.parameters:,}",
            f"{page.layers} layer{'' if page.layers == 1 else 's'} with a kernel",
        ),
    }

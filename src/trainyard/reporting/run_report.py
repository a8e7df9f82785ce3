"""One page that tells a colleague all about a run: scores, pictures, config, times and where it came from.

The page is a single HTML file that holds its pictures and needs neither scripts nor the network, so it can be
mailed, opened from a disk or shown in a frame.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from trainyard.config.compose import dump_config, flatten_config
from trainyard.reporting.formatting import show_metric, show_seconds, show_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import jinja2

    from trainyard.config.schema import RunConfig
    from trainyard.data.dataset import Dataset
    from trainyard.evaluation.scoring import EvalResult
    from trainyard.training.trainer import TrainResult

TEMPLATE = "report.html"
SORTING = "ranking.js"
CURVES_FILE = "learning_curves.png"
"""The picture of this name stands with the training; all others follow the scores."""
PNG_WIDTH = slice(16, 20)
"""The bytes of a PNG file that hold its width, the highest first."""
PIXELS_PER_PIXEL = 1.5
"""Pixels of a picture for each of the page, so that it is sharp on a fine screen and on paper."""
TOLD_ELSEWHERE = ("name", "notes")
"""Config values that the page shows in its head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPage:
    """All that the page shows. The headline figures are taken from `evaluation` and `training`.

    Attributes:
        title: The run's name.
        experiment: The experiment that the run belongs to.
        finished: When the run ended, in words.
        notes: What the user says of the run; may be empty.
        config: What was run.
        dataset: The images as they were used; only their numbers and names are shown.
        dataset_digest: The sha256 of the data set, which takes time to compute.
        model_summary: Keras's summary.
        layers: The layers with a kernel.
        parameters: All numbers in the model's weights, trained or not.
        training: The history.
        evaluation: The predictions on the test images and their scores.
        timings: Seconds by stage, in order.
        provenance: Commit, versions, machine, digests, command... by the name shown, in order.
        pictures: PNG files by caption, in order.
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
    pictures: Mapping[str, Path]


class Change(NamedTuple):
    """A config value that is not the default of its field."""

    path: str
    value: Any
    default: Any


class Picture(NamedTuple):
    """A picture as the page holds it."""

    caption: str
    address: str
    """A data URI."""
    width: int
    """In the pixels of a page."""


def write_report(path: Path, page: ReportPage) -> None:
    """Writes the page.

    Args:
        path: The HTML file to write.
        page: What it shows.

    Raises:
        FileNotFoundError: If a picture is not there.
    """
    template = page_templates().get_template(TEMPLATE)
    beside_training = {caption: file for caption, file in page.pictures.items() if file.name == CURVES_FILE}
    after_scores = {caption: file for caption, file in page.pictures.items() if caption not in beside_training}
    html = template.render(
        page=page,
        headline=_headline(page),
        changes=list(changed_values(page.config)),
        config_text=dump_config(page.config),
        epoch_columns=list(dict.fromkeys(name for epoch in page.training.history for name in epoch)),
        curves=[embed(caption, file) for caption, file in beside_training.items()],
        pictures=[embed(caption, file) for caption, file in after_scores.items()],
    )
    path.write_text(html, encoding="utf-8")


def changed_values(config: RunConfig) -> Iterator[Change]:
    """Yields the values that are not their defaults; which components were chosen is not among them."""
    pristine = dataclasses.replace(
        type(config)(),
        **{spec.name: type(value)() for spec, value in _sections(config)},
    )
    defaults = flatten_config(pristine)
    for path, value in flatten_config(config).items():
        if path not in TOLD_ELSEWHERE and value != defaults.get(path):
            yield Change(path, value, defaults.get(path))


def _sections(config: RunConfig) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    """Yields each field of the config that is itself a dataclass, with its value."""
    for spec in dataclasses.fields(config):
        value = getattr(config, spec.name)
        if dataclasses.is_dataclass(value):
            yield spec, value


def _headline(page: ReportPage) -> dict[str, tuple[str, str]]:
    """Returns the figures that a reader wants first, each with a few words on it."""
    result, training = page.evaluation, page.training
    wrong, images = int((result.predicted != result.actual).sum()), len(result.actual)
    seconds = training.compile_seconds + training.train_seconds
    epochs = len(training.history)
    return {
        "Test accuracy": (f"{100 * result.accuracy:.2f} %", f"{wrong:,} of {images:,} images wrong"),
        "Test loss": (f"{result.loss:.4f}", "mean cross-entropy, nats"),
        "Macro F1": (f"{result.macro.f1:.4f}", f"mean over {len(result.per_class)} classes"),
        "Training": (
            show_seconds(seconds),
            f"{epochs:,} epoch{'' if epochs == 1 else 's'}, compiling included",
        ),
        "Parameters": (
            f"{page.parameters:,}",
            f"{page.layers} layer{'' if page.layers == 1 else 's'} with a kernel",
        ),
    }


def embed(caption: str, file: Path) -> Picture:
    """Reads a PNG file; its width, in a page, gives all pictures letters of one size."""
    content = file.read_bytes()
    pixels = int.from_bytes(content[PNG_WIDTH])
    address = f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
    return Picture(caption, address, round(pixels / PIXELS_PER_PIXEL))


def render_sortable(template: str, **values: Any) -> str:  # noqa: ANN401 - whatever the template shows
    """Returns a page whose tables a reader may sort: with our script, and a policy that allows no other.

    Args:
        template: Its name; it includes the script, and names `script_digest` in its policy.
        values: What it shows.
    """
    templates = page_templates()
    script = templates.get_template(SORTING).render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return templates.get_template(template).render(**values, script_digest=f"sha256-{digest}")


def page_templates() -> jinja2.Environment:
    """Returns the environment of our pages, which escapes whatever is put into it."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trainyard.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"seconds": show_seconds, "value": show_value}
    environment.globals["show_metric"] = show_metric
    return environment

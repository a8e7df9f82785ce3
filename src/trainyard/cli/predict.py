"""``trainyard predict``: prints the classes that a trained model predicts, as a table, JSON or a figure."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainyard.errors import ConfigError, TrainyardError
from trainyard.reporting import MAX_IMAGES, ImagePrediction, format_percent, plots
from trainyard.serving import (
    ImageConversion,
    ImageInputs,
    Predictor,
    find_predictor_model,
    load_image_inputs,
    load_model_preprocessing,
    load_predictor,
)


@dataclass(frozen=True, slots=True)
class _Row:
    """One image with its prediction.

    Attributes:
        file: The file with the image.
        index: The index of the image in a file with several images, else None.
        image: uint8 (height, width) or (height, width, channels), raw.
        probabilities: float32 (classes,).
        label: The true class, or None if it is unknown.
    """

    file: Path
    index: int | None
    image: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    label: int | None

    def location(self, file: Path | str) -> str:
        """Returns the file name, and the index of the image if the file has several."""
        return str(file) if self.index is None else f"{file} [{self.index}]"

    def top_classes(self, top: int) -> list[int]:
        """Returns the indices of the `top` most probable classes, most probable first."""
        return [int(label) for label in np.argsort(-self.probabilities, kind="stable")[:top]]


def predict_command(
    model: str,
    paths: Sequence[Path],
    *,
    conversion: ImageConversion,
    top: int = 3,
    as_json: bool = False,
    plot: Path | None = None,
    uri: str | None = None,
) -> None:
    """Prints the classes that a model predicts for images.

    Args:
        model: A run's id, its folder, or a model file.
        paths: Image files and npz files.
        conversion: How images that do not fit the model's input may be converted.
        top: How many classes to print per image.
        as_json: Whether to print JSON instead of a table.
        plot: PNG file for a figure of the images and their probabilities; None draws no figure.
        uri: The tracking store that has the run; None uses the default store of this folder.

    Raises:
        ConfigError: If there is no such model, or `plot` is not a PNG file in an existing folder.
        DatasetError: If a file cannot be read, or its images do not fit the model's input.
        ModelError: If the model is damaged, or is not an image classifier.
        TrackingError: If the tracking store can't be reached.
    """
    if plot is not None and (plot.suffix.lower() != ".png" or not plot.parent.is_dir()):
        raise ConfigError(f"--plot: expected a .png file in an existing folder, got {plot}")
    file = find_predictor_model(model, uri)
    preprocessing = load_model_preprocessing(file)
    # with known preprocessing, images are checked before TensorFlow loads
    files = [load_image_inputs(path, preprocessing, conversion) for path in paths] if preprocessing else []
    predictor = load_predictor(file)
    if preprocessing is None:
        _print_note(_describe_assumptions(predictor))
        files = [load_image_inputs(path, predictor.preprocessing, conversion) for path in paths]
    rows = _predict_files(files, predictor)
    if plot is not None:
        _draw_predictions(plot, rows, predictor, top)
    if as_json:
        sys.stdout.write(json.dumps([_to_json_row(row, predictor.class_names) for row in rows], indent=1) + "\n")
    else:
        _print_table(rows, predictor.class_names, top)


def _predict_files(files: Sequence[ImageInputs], predictor: Predictor) -> list[_Row]:
    """Returns a row for every image of the files; the model predicts all images at once."""
    probabilities = iter(predictor.predict(np.concatenate([file.images for file in files])))
    rows = []
    for file in files:
        for index, (image, image_probabilities) in enumerate(zip(file.images, probabilities, strict=False)):
            label = None if file.labels is None else int(file.labels[index])
            rows.append(_Row(file.path, index if file.is_array else None, image, image_probabilities, label))
    return rows


def _describe_assumptions(predictor: Predictor) -> str:
    """Returns the note about the preprocessing of a model file without a ``preprocessing.json``."""
    spec = predictor.preprocessing.spec
    shape = " x ".join(map(str, spec.image_shape))
    return (
        f"no preprocessing.json next to {predictor.file.name}: assuming images of {shape}, pixels divided by 255, "
        f"and the class names 0 to {spec.classes - 1}"
    )


def _to_json_row(row: _Row, names: tuple[str, ...]) -> dict[str, Any]:
    """Returns the prediction for one image in the form of the JSON output, with probabilities in 0..1."""
    rounded = [round(float(value), 6) for value in row.probabilities]
    (best,) = row.top_classes(1)
    record = {
        "file": str(row.file),
        "index": row.index,
        "predicted": names[best],
        "probability": rounded[best],
        "probabilities": dict(zip(names, rounded, strict=True)),
    }
    return record if row.label is None else record | {"actual": names[row.label]}


def _print_table(rows: Sequence[_Row], names: tuple[str, ...], top: int) -> None:
    """Prints a row per image, and the accuracy if images have labels. `top` is the number of classes per image."""
    correct = [row.label == row.top_classes(1)[0] for row in rows if row.label is not None]
    runners_up = min(top, len(names)) > 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("image", overflow="fold")
    table.add_column("predicted", overflow="fold", style="bold")
    table.add_column("probability", justify="right")
    if runners_up:
        table.add_column("runners-up", overflow="fold")
    if correct:
        table.add_column("actual", overflow="fold")
    for row in rows:
        first, *other_classes = [
            (names[label], format_percent(float(row.probabilities[label]))) for label in row.top_classes(top)
        ]
        cells = [row.location(row.file), *first]
        if runners_up:
            cells.append(", ".join(f"{name}: {probability}" for name, probability in other_classes))
        if correct:
            actual = "" if row.label is None else names[row.label]
            cells.append(actual if actual in ("", first[0]) else f"{actual} (wrong)")
        table.add_row(*map(Text, cells))
    terminal = Console(highlight=False)
    console = terminal if terminal.is_terminal else Console(highlight=False, width=10_000)  # no wrapping
    console.print(table)
    if correct:
        console.print(Text(f"\naccuracy  {sum(correct) / len(correct):.4f} on {len(correct):,} labelled images"))


def _draw_predictions(path: Path, rows: Sequence[_Row], predictor: Predictor, top: int) -> None:
    """Draws the first images with their `top` most probable classes to a PNG file, and prints a note about it."""
    images = [ImagePrediction(row.image, row.probabilities, row.location(row.file.name), row.label) for row in rows]
    try:
        plots.draw_probabilities(images, predictor.preprocessing.spec, path, top)
    except OSError as error:
        raise TrainyardError(f"--plot: {path} cannot be written: {error}") from error
    subject = f"the first {MAX_IMAGES} of {len(rows):,} images" if len(rows) > MAX_IMAGES else "all images"
    _print_note(f"{path} shows {subject}")


def _print_note(text: str) -> None:
    """Prints a line to stderr, so that stdout contains only the predictions."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text.assemble(("note ", "bold"), text))

"""``trainyard predict``: what a trained model says of images, as a table, as JSON, as a picture."""

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
from trainyard.reporting import plots
from trainyard.reporting.plots.image_grid import percent
from trainyard.reporting.plots.probabilities import MOST_IMAGES, Judged
from trainyard.serving.image_inputs import ImageFile, Treatment, read_image_file
from trainyard.serving.predictor import Predictor, find_predicting_model, find_preprocessing, load_predictor


@dataclass(frozen=True, slots=True)
class _Row:
    """One image: where it stands, what the model says of it, and what it shows where that is known."""

    file: Path
    index: int | None
    image: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    label: int | None

    def place(self, file: Path | str) -> str:
        """Returns the name of the file, and the index in it where it holds several images."""
        return str(file) if self.index is None else f"{file} [{self.index}]"

    def best(self, top: int) -> list[int]:
        """Returns the most probable classes, the first first."""
        return [int(label) for label in np.argsort(-self.probabilities, kind="stable")[:top]]


def predict_command(
    model: str,
    paths: Sequence[Path],
    *,
    treatment: Treatment,
    top: int = 3,
    as_json: bool = False,
    plot: Path | None = None,
    uri: str | None = None,
) -> None:
    """Prints what a model says of images.

    Args:
        model: A run's id, its folder, or a model file.
        paths: Pictures and npz files.
        treatment: What may be done to images that are not as the model takes them.
        top: How many classes are told of each image.
        as_json: Whether JSON is printed, in the place of a table.
        plot: The PNG file to draw the images and their probabilities into.
        uri: The store that knows the run; None: the one that runs go to from here.

    Raises:
        ConfigError: If there is no such model, or the picture can't be written there.
        DatasetError: If a file can't be read, or its images are not as the model takes them.
        ModelError: If the model is damaged, or no classifier of images.
    """
    if plot is not None and (plot.suffix.lower() != ".png" or not plot.parent.is_dir()):
        raise ConfigError(f"--plot: expected a file that ends in .png, in a folder that is there, got {plot}")
    file = find_predicting_model(model, uri)
    known = find_preprocessing(file)
    files = [read_image_file(path, known, treatment) for path in paths] if known else []  # before TensorFlow loads
    predictor = load_predictor(file)
    if known is None:
        _note(_assumed(predictor))
        files = [read_image_file(path, predictor.preprocessing, treatment) for path in paths]
    rows = _predict(files, predictor)
    if plot is not None:
        _draw(plot, rows, predictor, top)
    if as_json:
        sys.stdout.write(json.dumps([_record(row, predictor.class_names) for row in rows], indent=1) + "\n")
    else:
        _print_table(rows, predictor.class_names, top)


def _predict(files: Sequence[ImageFile], predictor: Predictor) -> list[_Row]:
    """Predicts the images of all files at once."""
    probabilities = iter(predictor.predict(np.concatenate([file.images for file in files])))
    rows = []
    for file in files:
        for index, (image, shares) in enumerate(zip(file.images, probabilities, strict=False)):
            label = None if file.labels is None else int(file.labels[index])
            rows.append(_Row(file.path, index if file.several else None, image, shares, label))
    return rows


def _assumed(predictor: Predictor) -> str:
    spec = predictor.preprocessing.spec
    shape = " x ".join(map(str, spec.image_shape))
    return (
        f"no preprocessing.json beside {predictor.file.name}: taking images of {shape} as the model does, pixels "
        f"divided by 255, and 0 to {spec.classes - 1} as the names of the classes"
    )


def _record(row: _Row, names: tuple[str, ...]) -> dict[str, Any]:
    rounded = [round(float(share), 6) for share in row.probabilities]
    (best,) = row.best(1)
    record = {
        "file": str(row.file),
        "index": row.index,
        "predicted": names[best],
        "probability": rounded[best],
        "probabilities": dict(zip(names, rounded, strict=True)),
    }
    return record if row.label is None else record | {"actual": names[row.label]}


def _print_table(rows: Sequence[_Row], names: tuple[str, ...], top: int) -> None:
    right = [row.label == row.best(1)[0] for row in rows if row.label is not None]
    runners_up = min(top, len(names)) > 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("image", overflow="fold")
    table.add_column("predicted", overflow="fold", style="bold")
    table.add_column("probability", justify="right")
    if runners_up:
        table.add_column("runners-up", overflow="fold")
    if right:
        table.add_column("actual", overflow="fold")
    for row in rows:
        first, *others = [(names[label], percent(float(row.probabilities[label]))) for label in row.best(top)]
        cells = [row.place(row.file), *first]
        if runners_up:
            cells.append(", ".join(f"{name}: {share}" for name, share in others))
        if right:
            actual = "" if row.label is None else names[row.label]
            cells.append(actual if actual in ("", first[0]) else f"{actual}, so wrong")
        table.add_row(*map(Text, cells))
    terminal = Console(highlight=False)
    console = terminal if terminal.is_terminal else Console(highlight=False, width=10_000)  # a file has no right edge
    console.print(table)
    if right:
        console.print(Text(f"\naccuracy  {sum(right) / len(right):.4f} on {len(right):,} labelled images"))


def _draw(path: Path, rows: Sequence[_Row], predictor: Predictor, top: int) -> None:
    judged = [Judged(row.image, row.probabilities, row.place(row.file.name), row.label) for row in rows]
    try:
        plots.draw_probabilities(judged, predictor.preprocessing.spec, path, top)
    except OSError as error:
        raise TrainyardError(f"--plot: {path} can't be written: {error}") from error
    drawn = f"the first {MOST_IMAGES} of {len(rows):,} images" if len(rows) > MOST_IMAGES else "all images"
    _note(f"{path} shows {drawn}")


def _note(text: str) -> None:
    """Prints a line to stderr, so that stdout holds the predictions alone."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text.assemble(("note ", "bold"), text))

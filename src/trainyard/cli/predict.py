"""``trainyard predict``: prints the classes that a trained model predicts, as a table, JSON or a figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainyard.cli.app import StoreUri
from trainyard.errors import ConfigError, DatasetError, TrainyardError
from trainyard.system import print_error, print_rows, print_styled, print_wrapped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainyard.data import Preprocessing
    from trainyard.serving import ImageConversion, ImageInputs, Predictor


class _Row(NamedTuple):
    """One image with its prediction. Its `position` in the file is None if the file has only one image.

    `image` is raw: uint8 (height, width) or (height, width, channels). `probabilities` are float32 (classes,). `ranked`
    are the indices of the classes, most probable first. `label` is the true class, or None if it is unknown.
    """

    file: Path
    position: int | None
    image: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    ranked: list[int]
    label: int | None

    def locate(self, file: Path | str) -> str:
        """Returns the file name, and the index of the image if the file has several."""
        return str(file) if self.position is None else f"{file} [{self.position}]"


def predict(
    model: Annotated[
        str, typer.Argument(help="Trained model: ID or folder of a run, or a .keras or .h5 file.", metavar="MODEL")
    ],
    images: Annotated[
        list[Path],
        typer.Argument(help="Images to classify: image files, npz files or folders.", metavar="IMAGE"),
    ],
    *,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Number of classes to print per image.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the probabilities of all classes as JSON.")] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the images and probabilities to this PNG file.")
    ] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Resize images to the model's input size, instead of rejecting them.")
    ] = False,
    invert: Annotated[
        bool, typer.Option("--invert", help="Invert light and dark, for example for dark ink on paper.")
    ] = False,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Accept images whose background is lighter or darker than in training.")
    ] = False,
    pixels: Annotated[
        str | None,
        typer.Option(metavar="0..1|0..255", help="Pixels that a model file which is not from a run expects."),
    ] = None,
    uri: StoreUri = None,
) -> None:
    """Predict the classes of images with a trained model.

    Examples:
      trainyard predict RUN_ID digit.png
      trainyard predict RUN_ID photos --resize --plot photos.png
    """
    from trainyard.serving import (
        ImageConversion,
        are_images_resized,
        find_predictor_model,
        list_image_files,
        load_model_preprocessing,
        load_predictor,
    )

    if plot is not None and (plot.suffix.lower() != ".png" or not plot.parent.is_dir()):
        raise ConfigError(f"--plot: expected a .png file in an existing folder, got {plot}")
    file = find_predictor_model(model, uri)
    conversion = ImageConversion(resize=resize or are_images_resized(file), invert=invert, as_is=as_is)
    paths, preprocessing = list_image_files(images), load_model_preprocessing(file)
    # with known preprocessing, images are checked before TensorFlow loads
    files = _load_files(paths, preprocessing, conversion) if preprocessing else []
    predictor = load_predictor(file, pixels=pixels)
    if preprocessing is None:
        _print_note(predictor.describe_assumptions())
        files = _load_files(paths, predictor.preprocessing, conversion)
    rows = _predict_files(files, predictor)
    if plot is not None:
        _draw_predictions(plot, rows, predictor, top)
    if as_json:
        typer.echo(json.dumps([_to_json_row(row, predictor.class_names) for row in rows], indent=1))
    else:
        _print_table(rows, predictor.class_names, top)
    if skipped := len(paths) - len(files):
        raise DatasetError(f"skipped {skipped:,} of {len(paths):,} files")


def _load_files(paths: Sequence[Path], preprocessing: Preprocessing, conversion: ImageConversion) -> list[ImageInputs]:
    """Loads image files. Prints an error for each invalid file, and raises a DatasetError if all are invalid."""
    from trainyard.serving import load_image_inputs

    if len(paths) == 1:
        return [load_image_inputs(paths[0], preprocessing, conversion)]
    files = []
    for path in paths:
        try:
            files.append(load_image_inputs(path, preprocessing, conversion))
        except DatasetError as error:
            print_error(error)
    if not files:
        raise DatasetError(f"none of the {len(paths):,} files can be used")
    return files


def _predict_files(files: Sequence[ImageInputs], predictor: Predictor) -> list[_Row]:
    """Returns a row for every image of the files; the model predicts all images at once."""
    import numpy as np

    all_probabilities = iter(predictor.predict(np.concatenate([file.images for file in files])))
    rows = []
    for file in files:
        for index, (image, probabilities) in enumerate(zip(file.images, all_probabilities, strict=False)):
            ranked = np.argsort(-probabilities, kind="stable").tolist()
            label = None if file.labels is None else int(file.labels[index])
            rows.append(_Row(file.path, index if file.is_array else None, image, probabilities, ranked, label))
    return rows


def _to_json_row(row: _Row, names: tuple[str, ...]) -> dict[str, Any]:
    """Returns the prediction for one image in the form of the JSON output, with probabilities in 0..1."""
    rounded = [round(float(value), 6) for value in row.probabilities]
    best = row.ranked[0]
    record = {
        "file": str(row.file),
        "index": row.position,
        "predicted": names[best],
        "probability": rounded[best],
        "probabilities": dict(zip(names, rounded, strict=True)),
    }
    return record if row.label is None else record | {"actual": names[row.label]}


def _print_table(rows: Sequence[_Row], names: tuple[str, ...], top: int) -> None:
    """Prints a row per image, and the accuracy if images have labels. `top` is the number of classes per image."""
    from trainyard.reporting import format_percent

    correct = [row.label == row.ranked[0] for row in rows if row.label is not None]
    has_runners_up = min(top, len(names)) > 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("image", overflow="fold")
    table.add_column("predicted", overflow="fold", style="bold")
    table.add_column("probability", justify="right")
    if has_runners_up:
        table.add_column("runners-up", overflow="fold")
    if correct:
        table.add_column("actual", overflow="fold")
    for row in rows:
        first, *others = [(names[label], format_percent(float(row.probabilities[label]))) for label in row.ranked[:top]]
        cells = [row.locate(row.file), *first]
        if has_runners_up:
            cells.append(", ".join(f"{name}: {probability}" for name, probability in others))
        if correct:
            actual = "" if row.label is None else names[row.label]
            cells.append(actual if actual in ("", first[0]) else f"{actual} (wrong)")
        table.add_row(*map(Text, cells))
    print_rows(table)
    if correct:
        print_styled(f"\naccuracy  {sum(correct) / len(correct):.4f} on {len(correct):,} labelled images")


def _draw_predictions(path: Path, rows: Sequence[_Row], predictor: Predictor, top: int) -> None:
    """Draws the first images with their `top` most probable classes to a PNG file, and prints a note about it."""
    from trainyard.reporting import MAX_IMAGES, ImagePrediction, plots

    images = [ImagePrediction(row.image, row.probabilities, row.locate(row.file.name), row.label) for row in rows]
    try:
        plots.draw_probabilities(images, predictor.preprocessing.spec, path, top)
    except OSError as error:
        raise TrainyardError(f"--plot: {path} cannot be written: {error}") from error
    subject = f"the first {MAX_IMAGES} of {len(rows):,} images" if len(rows) > MAX_IMAGES else "all images"
    _print_note(f"{path} shows {subject}")


def _print_note(text: str) -> None:
    """Prints a line to stderr, so that stdout contains only the predictions."""
    print_wrapped(Console(stderr=True, highlight=False), Text(text), Text("note ", "bold"))

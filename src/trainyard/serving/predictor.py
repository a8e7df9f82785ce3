"""What a trained model says of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainyard.config.registry import load_plugins
from trainyard.data.dataset import DataSpec
from trainyard.data.preprocessing import FILE, Preprocessing, is_image_shape, read_preprocessing
from trainyard.errors import ConfigError, DatasetError, ModelError
from trainyard.evaluation import scoring
from trainyard.runs.saved_models import SUFFIXES, find_model, find_or_download_model, load_model
from trainyard.system.tensorflow_setup import import_tensorflow
from trainyard.system.uris import sqlite_path, uri_problem
from trainyard.tracking.stores import store_of_command

if TYPE_CHECKING:
    import keras

SETTING = "MODEL"


@dataclass(frozen=True, slots=True)
class Predictor:
    """A trained model with what turns raw pixels into what it takes, and its outputs into names.

    Attributes:
        file: Where the model lies.
        model: Takes images as `DataSpec.scale` returns them, returns probabilities.
        preprocessing: The shape of an image, the range of its pixels, the names of the classes.
        assumed: Whether there was no preprocessing.json, and it was assumed from the model.
    """

    file: Path
    model: keras.Model
    preprocessing: Preprocessing
    assumed: bool

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per column of what `predict` returns."""
        return self.preprocessing.spec.class_names

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Predicts raw images.

        Args:
            images: uint8 (n, *image_shape), 0 to pixel_max.

        Returns:
            Probabilities, float32 (n, classes).

        Raises:
            DatasetError: If the images are of another type, shape or range.
            ModelError: If the model returns anything else than probabilities.
        """
        spec = self.preprocessing.spec
        shape = ", ".join(map(str, spec.image_shape))
        if images.dtype != np.uint8 or images.shape[1:] != spec.image_shape or not len(images):
            raise DatasetError(f"images: expected uint8 (n, {shape}), got {images.dtype} {images.shape}")
        if (highest := images.max()) > spec.pixel_max:
            raise DatasetError(f"images: expected pixels from 0 to {spec.pixel_max}, got {highest}")
        probabilities = np.asarray(scoring.predict(self.model, images, spec), np.float32)
        sums = probabilities.sum(axis=1)
        if not (np.abs(sums - 1) < 0.01).all() or (probabilities < 0).any():  # noqa: PLR2004 - half precision rounds
            raise ModelError(
                f"{self.file}: expected probabilities, numbers from 0 that add up to 1, got "
                f"{np.array2string(probabilities[0], precision=3, threshold=6)}. End the model on a softmax"
            )
        return probabilities


def find_predicting_model(reference: str, uri: str | None = None) -> Path:
    """Returns the file of the model to predict with; see `load_predictor`."""
    if uri is not None and (problem := uri_problem(uri)):
        raise ConfigError(f"--uri: {problem}")
    path = Path(reference).expanduser()
    if path.suffix in SUFFIXES or path.is_dir():
        return find_model(reference, None, SETTING)  # no store need be asked
    uri = store_of_command(uri)
    store = sqlite_path(uri)
    why = f"there is no {reference!r}" if len(path.parts) > 1 else None  # an id has no slash in it
    if path.is_file():
        why = f"{reference!r} is another file. The model stands before the images"
    if why is None and store and not store.exists():  # MLflow would make one
        why = f"there is no folder {reference!r}, and no store {store} that could know a run of this id"
    if why:
        raise ConfigError(
            f"{SETTING}: expected a run's id, its folder, or a model file ({', '.join(SUFFIXES)}), and {why}"
        )
    return find_or_download_model(reference, uri, SETTING)


def find_preprocessing(file: Path) -> Preprocessing | None:
    """Returns what preprocessing.json beside a model says, or None where there is none."""
    beside = file.parent / FILE
    return read_preprocessing(beside) if beside.exists() else None


def load_predictor(reference: str | Path, uri: str | None = None) -> Predictor:
    """Loads a trained model, ready to predict raw images.

    Args:
        reference: A run's id, its folder, or a model file, ``.keras`` or ``.h5``. What preprocessing.json beside the
            file says goes; without one, pixels are divided by 255, and classes have numbers for names.
        uri: The store that knows the run; None: the one that runs go to from this folder.

    Returns:
        The predictor.

    Raises:
        ConfigError: If there is no such model.
        ModelError: If it is damaged, holds code, or is no classifier of images.
        TrackingError: If the store can't be reached.

    Example:
        >>> predictor = load_predictor("outputs/mnist_baseline/2026-11-23_08-21-05_8ec42f")  # doctest: +SKIP
        >>> predictor.predict(images).argmax(axis=1)  # doctest: +SKIP
    """
    file = find_predicting_model(str(reference), uri)
    known = find_preprocessing(file)
    load_plugins()  # a layer of the user's own is known to Keras once its module was imported
    import_tensorflow()
    model = load_model(file, SETTING)
    image_shape, classes = _interface(model, file)
    if known is None:
        names = tuple(str(label) for label in range(classes))
        return Predictor(file, model, Preprocessing(DataSpec(image_shape, names, 255)), assumed=True)
    for what, expected, found in (
        ("images", known.spec.image_shape, image_shape),
        ("classes", known.spec.classes, classes),
    ):
        if expected != found:
            raise ModelError(
                f"{file}: expected {what} {expected}, as {FILE} beside it says, and the model has {found}. "
                "They belong to different runs"
            )
    return Predictor(file, model, known, assumed=False)


def _interface(model: keras.Model, file: Path) -> tuple[tuple[int, ...], int]:
    """Returns the shape of an image that the model takes, and the number of its classes."""
    inputs, outputs = (list(getattr(model, side, None) or ()) for side in ("inputs", "outputs"))
    for what, tensors, wanted in (("input", inputs, "images"), ("output", outputs, "probabilities")):
        if len(tensors) != 1:
            raise ModelError(f"{file}: expected a model with one {what}, {wanted}, got {len(tensors)}")
    shape, found = inputs[0].shape[1:], outputs[0].shape[1:]
    if not is_image_shape(shape):
        raise ModelError(
            f"{file}: expected a model that takes images of one size, (n, height, width) or (n, height, width, "
            f"channels), got {_describe(shape)}"
        )
    if len(found) != 1 or found[0] is None or found[0] < 2:  # noqa: PLR2004 - there is nothing to tell apart
        raise ModelError(f"{file}: expected an output (n, classes) with two classes or more, got {_describe(found)}")
    return tuple(shape), found[0]


def _describe(shape: tuple[int | None, ...]) -> str:
    return f"(n, {', '.join('any' if size is None else str(size) for size in shape)})"

"""Predicting the classes of images with the trained model of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainyard.config import load_plugins
from trainyard.data import PREPROCESSING_FILE, DataSpec, Preprocessing, is_image_shape, load_preprocessing
from trainyard.errors import ConfigError, DatasetError, ModelError
from trainyard.evaluation import scoring
from trainyard.runs import MODEL_SUFFIXES, find_model, load_model
from trainyard.system import import_tensorflow
from trainyard.tracking import TrackingStore

if TYPE_CHECKING:
    import keras

ARGUMENT = "MODEL"
"""The command line argument that names the model, for messages."""


@dataclass(frozen=True, slots=True)
class Predictor:
    """A trained Keras model, loaded from `file`, with its preprocessing, which predicts raw images.

    The input of `model` is images as `DataSpec.scale` returns them; its output is probabilities. If preprocessing.json
    is missing, `preprocessing` was derived from the model.
    """

    file: Path
    model: keras.Model
    preprocessing: Preprocessing

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, one per column of the probabilities that `predict` returns."""
        return self.preprocessing.spec.class_names

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Predicts the class probabilities of raw images.

        Args:
            images: uint8 (n, *image_shape), raw pixels from 0 to pixel_max.

        Returns:
            Probabilities, float32 (n, classes), in 0..1; each row sums to 1.

        Raises:
            DatasetError: If the images have another dtype, shape or range, or there are none.
            ModelError: If the outputs of the model are not probabilities.
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
                f"{self.file}: expected probabilities, which are at least 0 and sum to 1, got "
                f"{np.array2string(probabilities[0], precision=3, threshold=6)}. Add a softmax as the last layer"
            )
        return probabilities


def find_predictor_model(reference: str, uri: str | None = None) -> Path:
    """Returns the path of the model file, which is downloaded if necessary; see `load_predictor`."""
    path = Path(reference).expanduser()
    if path.suffix in MODEL_SUFFIXES or path.is_dir():
        if uri is not None:
            TrackingStore.from_option(uri)  # raises if it is invalid
        return find_model(reference, None, ARGUMENT)  # this needs no tracking store
    store = TrackingStore.from_option(uri)
    received = f"{reference!r}, which does not exist" if len(path.parts) > 1 else None  # a run id contains no slash
    if path.is_file():
        received = f"{reference!r}, which is another kind of file. Name the model before the images"
    if received is None and store.sqlite_file and not store.sqlite_file.exists():
        received = (
            f"{reference!r}. There is no such folder, and no tracking store {store.sqlite_file} with a run of this id"
        )
    if received:
        raise ConfigError(
            f"{ARGUMENT}: expected a run id, a run folder or a model file ({', '.join(MODEL_SUFFIXES)}), got {received}"
        )
    return find_model(reference, store, ARGUMENT)


def load_model_preprocessing(file: Path) -> Preprocessing | None:
    """Loads preprocessing.json from the folder of a model file; returns None if it does not exist."""
    path = file.parent / PREPROCESSING_FILE
    return load_preprocessing(path) if path.exists() else None


def load_predictor(reference: str | Path, uri: str | None = None) -> Predictor:
    """Loads a trained model, ready to predict raw images.

    Args:
        reference: A run id, a run folder, or a model file, ``.keras`` or ``.h5``. Preprocessing follows the file
            preprocessing.json next to the model file; without it, pixels are divided by 255, and the names of the
            classes are "0", "1" and so on.
        uri: The tracking URI of the store that contains the run. None uses the default store of this folder.

    Raises:
        ConfigError: If there is no such model, or a plugin cannot be imported.
        ModelError: If the model is damaged, contains code, or is not an image classifier.
        TrackingError: If the tracking store can't be reached.

    Example:
        >>> predictor = load_predictor("outputs/mnist_baseline/2026-11-23_08-21-05_8ec42f")  # doctest: +SKIP
        >>> predictor.predict(images).argmax(axis=1)  # doctest: +SKIP
    """
    file = find_predictor_model(str(reference), uri)
    preprocessing = load_model_preprocessing(file)
    load_plugins()  # importing the module of a custom layer registers the layer in Keras
    import_tensorflow()
    model = load_model(file, ARGUMENT)
    image_shape, classes = _check_signature(model, file)
    if preprocessing is None:
        names = tuple(str(label) for label in range(classes))
        return Predictor(file, model, Preprocessing(DataSpec(image_shape, names, 255)))
    for name, expected, actual in (
        ("image shape", preprocessing.spec.image_shape, image_shape),
        ("number of classes", preprocessing.spec.classes, classes),
    ):
        if expected != actual:
            raise ModelError(
                f"{file}: {name}: expected {expected}, according to {PREPROCESSING_FILE} in the same folder, got "
                f"{actual}. The two files belong to different runs"
            )
    return Predictor(file, model, preprocessing)


def _check_signature(model: keras.Model, file: Path) -> tuple[tuple[int, ...], int]:
    """Returns the image shape and the number of classes of a model; raises a ModelError if it is no classifier."""
    inputs, outputs = (list(getattr(model, side, None) or ()) for side in ("inputs", "outputs"))
    for kind, tensors, content in (("input", inputs, "images"), ("output", outputs, "probabilities")):
        if len(tensors) != 1:
            raise ModelError(f"{file}: expected a model with one {kind} ({content}), got {len(tensors)}")
    image_shape, output_shape = inputs[0].shape[1:], outputs[0].shape[1:]
    if not is_image_shape(image_shape):
        raise ModelError(
            f"{file}: expected a model with an input of images of one size, (n, height, width) or (n, height, width, "
            f"channels), got {_format_shape(image_shape)}"
        )
    if len(output_shape) != 1 or output_shape[0] is None or output_shape[0] < 2:  # noqa: PLR2004 - two classes
        raise ModelError(
            f"{file}: expected an output (n, classes) with two classes or more, got {_format_shape(output_shape)}"
        )
    return tuple(image_shape), output_shape[0]


def _format_shape(shape: tuple[int | None, ...]) -> str:
    """Returns the shape of a batch as text, with `any` for a variable size: ``(n, 28, any)``."""
    return f"(n, {', '.join('any' if size is None else str(size) for size in shape)})"

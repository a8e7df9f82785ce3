"""Predicting the classes of images with the trained model of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml
from numpy.typing import NDArray

from trainyard.config import load_plugins
from trainyard.data import (
    PREPROCESSING_FILE,
    DataSpec,
    ImageFolder,
    Preprocessing,
    is_image_shape,
    load_preprocessing,
)
from trainyard.errors import ConfigError, DatasetError, ModelError
from trainyard.evaluation import scoring
from trainyard.runs import MODEL_SUFFIXES, find_model, load_model
from trainyard.serving.pixel_scaling import PIXEL_RANGES, PixelAssumption, assume_pixel_range
from trainyard.system import import_tensorflow
from trainyard.tracking import TrackingStore
from trainyard.tracking import names as tracking_names

if TYPE_CHECKING:
    import keras

ARGUMENT = "MODEL"
"""The command line argument that names the model, for messages."""


@dataclass(frozen=True, slots=True)
class Predictor:
    """A trained Keras model, loaded from `file`, with its preprocessing, which predicts raw images.

    The input of `model` is images as `DataSpec.scale` returns them, or raw pixels if `assumption` says so; its output
    is probabilities, or, if there are two classes, the probability of the second. If preprocessing.json is missing,
    `preprocessing` was derived from the model, and `assumption` is the range of the pixels that the model expects.
    """

    file: Path
    model: keras.Model
    preprocessing: Preprocessing
    assumption: PixelAssumption | None = None

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
        is_raw = self.assumption is not None and self.assumption.pixels == PIXEL_RANGES[1]
        input_spec = replace(spec, pixel_max=1) if is_raw else spec
        probabilities = np.asarray(scoring.predict(self.model, images, input_spec), np.float32)
        if probabilities.shape[1] == 1:
            probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
        sums = probabilities.sum(axis=1)
        if not (np.abs(sums - 1) < 0.01).all() or (probabilities < 0).any():  # noqa: PLR2004 - half precision rounds
            raise ModelError(
                f"{self.file}: expected probabilities, which are at least 0 and sum to 1, got "
                f"{np.array2string(probabilities[0], precision=3, threshold=6)}. Add a softmax as the last layer, "
                "or a sigmoid if there is one output"
            )
        return probabilities

    def describe_assumptions(self) -> str:
        """Returns what was assumed because preprocessing.json is missing; empty if it is not."""
        if self.assumption is None:
            return ""
        spec, pixels = self.preprocessing.spec, self.assumption.pixels
        scaling = {"0..1": "pixels divided by 255", "0..255": "pixels from 0 to 255"}[pixels]
        is_binary = self.model.outputs[0].shape[1] == 1
        output = ", an output that is the probability of class 1" if is_binary else ""
        return (
            f"no {PREPROCESSING_FILE} next to {self.file.name}: assuming images of "
            f"{' x '.join(map(str, spec.image_shape))}, {scaling} ({self.assumption.reason}){output}, and the class "
            f"names 0 to {spec.classes - 1}"
        )


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


def are_images_resized(file: Path) -> bool:
    """Returns whether a model file is from a run that resized its training images, according to its config.yaml."""
    try:
        config = yaml.safe_load((file.parent / tracking_names.CONFIG_FILE).read_text(encoding="utf-8"))
        return bool(config["dataset"]["name"] == ImageFolder.registered_name)
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):  # no config.yaml, or that of another program
        return False


def load_predictor(reference: str | Path, uri: str | None = None, *, pixels: str | None = None) -> Predictor:
    """Loads a trained model, ready to predict raw images.

    Args:
        reference: A run id, a run folder, or a model file, ``.keras``, ``.h5`` or ``.hdf5``. Preprocessing follows the
            file preprocessing.json next to the model file. Without it, pixels are divided by 255, unless a layer at the
            input scales them, and the names of the classes are "0", "1" and so on.
        uri: The tracking URI of the store that contains the run. None uses the default store of this folder.
        pixels: The pixels that a model without preprocessing.json expects: "0..1" or "0..255". None derives it from
            the layers of the model.

    Raises:
        ConfigError: If there is no such model, a plugin cannot be imported, or `pixels` is invalid, or is not None
            although there is a preprocessing.json.
        ModelError: If the model is damaged, contains code, or is not an image classifier.
        TrackingError: If the tracking store can't be reached.

    Example:
        >>> predictor = load_predictor("outputs/mnist_baseline/2026-11-23_08-21-05_8ec42f")  # doctest: +SKIP
        >>> predictor.predict(images).argmax(axis=1)  # doctest: +SKIP
    """
    file = find_predictor_model(str(reference), uri)
    preprocessing = load_model_preprocessing(file)
    if pixels is not None and pixels not in PIXEL_RANGES:
        raise ConfigError(f"--pixels: expected {' or '.join(PIXEL_RANGES)}, got {pixels!r}")
    if pixels is not None and preprocessing is not None:
        raise ConfigError(
            f"--pixels: expected a model without {PREPROCESSING_FILE}, got {file}, which has one. Omit --pixels"
        )
    load_plugins()  # importing the module of a custom layer registers the layer in Keras
    import_tensorflow()
    model = load_model(file, ARGUMENT)
    image_shape, classes = _check_signature(model, file)
    if preprocessing is None:
        assumption = PixelAssumption(pixels, "--pixels") if pixels else assume_pixel_range(model)
        class_names = tuple(str(label) for label in range(classes))
        return Predictor(file, model, Preprocessing(DataSpec(image_shape, class_names, 255)), assumption)
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
    """Returns the image shape and the number of classes of a model; raises a ModelError if it is not a classifier.

    An output (n, 1) is the probability of the second of two classes.
    """
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
    if len(output_shape) != 1 or not output_shape[0]:
        raise ModelError(
            f"{file}: expected an output (n, classes), or (n, 1) for two classes, got {_format_shape(output_shape)}"
        )
    return tuple(image_shape), max(output_shape[0], 2)


def _format_shape(shape: tuple[int | None, ...]) -> str:
    """Returns the shape of a batch as text, with `any` for a variable size: ``(n, 28, any)``."""
    return f"(n, {', '.join('any' if size is None else str(size) for size in shape)})"

"""Reading and writing preprocessing.json: image shape, pixel scaling, class names and background of a trained model.

The file is in the folder of a run, next to the model. Together, the two are enough to predict raw images.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainyard.data.dataset import Dataset, DataSpec
from trainyard.data.image_rows import iterate_chunks
from trainyard.errors import ModelError

PREPROCESSING_FILE = "preprocessing.json"

_MAX_MEASURED = 5000
"""The maximum number of training images on which the background is measured; they are evenly spaced."""
_DARK, _LIGHT = 0.4, 0.6


@dataclass(frozen=True, slots=True)
class Background:
    """The background lightness of the training images, from 0 (black) to 1 (white).

    The background of an image is the median of its border, which is one pixel wide: strokes may touch the border.
    `low` and `high` are the 5th and 95th percentile over the images.
    """

    low: float
    median: float
    high: float

    def is_opposite(self, lightness: float) -> bool:
        """Returns whether a background is clearly light while those of training are clearly dark, or vice versa."""
        dark, light = self.high <= _DARK, self.low >= _LIGHT
        return (dark and lightness >= _LIGHT) or (light and lightness <= _DARK)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The content of preprocessing.json; `background` is None if an older version wrote the file."""

    spec: DataSpec
    background: Background | None = None


def measure_background_lightness(images: NDArray[np.uint8], pixel_max: int) -> NDArray[np.float64]:
    """Returns the background lightness of each image, float64 (n,), from 0 (black) to 1 (white).

    `images` is uint8 (n, height, width) or (n, height, width, channels). See `Background`.
    """
    sides = (images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1])
    border = np.concatenate([side.reshape(len(images), -1) for side in sides], axis=1)
    return np.asarray(np.median(border, axis=1) / pixel_max)


def write_preprocessing(folder: Path, dataset: Dataset) -> None:
    """Writes preprocessing.json for the model that a run trains.

    To scale an image, divide it by pixel_max. If the file has a mean and a std, then subtract mean and divide by std,
    channel by channel. The file also contains quantiles of the lightness of the background of the training images.
    """
    chunks = iterate_chunks(dataset.train.images, every=-(-len(dataset.train) // _MAX_MEASURED))
    lightness = np.concatenate([measure_background_lightness(images, dataset.spec.pixel_max) for images in chunks])
    low, median, high = np.quantile(lightness, (0.05, 0.5, 0.95)).round(4).tolist()
    content = dataclasses.asdict(dataset.spec) | {"background": {"low": low, "median": median, "high": high}}
    (folder / PREPROCESSING_FILE).write_text(json.dumps(content, indent=1) + "\n")


def load_preprocessing(path: Path) -> Preprocessing:
    """Loads a preprocessing.json. Raises a ModelError if a value that the model needs is missing or invalid."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        spec = DataSpec(
            image_shape=tuple(map(int, content["image_shape"])),
            class_names=tuple(map(str, content["class_names"])),
            pixel_max=int(content["pixel_max"]),
            mean=tuple(map(float, content.get("mean", ()))),
            std=tuple(map(float, content.get("std", ()))),
        )
        measured = content.get("background")
        background = Background(**{name: float(value) for name, value in measured.items()}) if measured else None
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        reason = f"the key {error} is missing" if isinstance(error, KeyError) else error
        raise ModelError(f"{path}: expected the {PREPROCESSING_FILE} of a run; it can't be read: {reason}") from error
    if problem := _find_problem(spec):
        raise ModelError(f"{path}: {problem}")
    return Preprocessing(spec, background)


def _find_problem(spec: DataSpec) -> str | None:
    """Returns what is wrong with a spec, or None if it is valid."""
    if not is_image_shape(spec.image_shape):
        return f"image_shape: expected [height, width] or [height, width, channels], got {spec.image_shape}"
    if not len(set(spec.class_names)) == spec.classes > 1:
        return f"class_names: expected two or more different names, got {spec.class_names}"
    if not 1 <= spec.pixel_max <= np.iinfo(np.uint8).max:
        return f"pixel_max: expected 1 to 255, got {spec.pixel_max}"
    channels = spec.image_shape[2] if len(spec.image_shape) > 2 else 1  # noqa: PLR2004 - height, width, channels
    if spec.mean and len(spec.mean) != channels:
        return f"mean: expected {channels} numbers, one per channel, got {spec.mean}"
    if len(spec.mean) != len(spec.std) or not all(spec.std):
        return f"std: expected one number per number of mean, none of them 0, got {spec.std}"
    return None


def is_image_shape(shape: tuple[int | None, ...]) -> bool:
    """Returns whether a shape is (height, width) or (height, width, channels), with known, positive sizes."""
    return len(shape) in (2, 3) and all(size is not None and size > 0 for size in shape)

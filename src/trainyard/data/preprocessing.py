"""preprocessing.json: what turns raw pixels into what a trained model takes, labels into names, and how images look.

It stands beside the model in the folder of a run, so that whoever has the two can predict.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainyard.data.dataset import Dataset, DataSpec
from trainyard.errors import ModelError

FILE = "preprocessing.json"

_MEASURED = 5000
"""How many training images the background is measured on, evenly spaced."""
_COMMON = (0.05, 0.5, 0.95)
_DARK, _LIGHT = 0.4, 0.6


@dataclass(frozen=True, slots=True)
class Background:
    """How light the background of the training images is, from 0, black, to 1: `low` to `high` for 90 % of them.

    The background of an image is taken to be the median of its border, one pixel wide: a stroke may touch it.
    """

    low: float
    median: float
    high: float

    def is_opposite(self, lightness: float) -> bool:
        """Tells whether a background is clearly light where those of training are clearly dark, or the reverse."""
        dark, light = self.high <= _DARK, self.low >= _LIGHT
        return (dark and lightness >= _LIGHT) or (light and lightness <= _DARK)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What preprocessing.json holds; `background` is None in one that was written before there was any."""

    spec: DataSpec
    background: Background | None = None


def background_lightness(images: NDArray[np.uint8], pixel_max: int) -> NDArray[np.float64]:
    """Returns how light the background of each image is, in 0..1.

    Args:
        images: uint8 (n, height, width) or (n, height, width, channels), raw.
        pixel_max: The largest raw pixel value.

    Returns:
        float64 (n,), the median over border pixels and channels.
    """
    sides = (images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1])
    border = np.concatenate([side.reshape(len(images), -1) for side in sides], axis=1)
    return np.asarray(np.median(border, axis=1) / pixel_max)


def write_preprocessing(folder: Path, dataset: Dataset) -> None:
    """Writes preprocessing.json for the model that a run trains.

    An image is divided by pixel_max; where there are a mean and a std per channel, it is then less mean, by std.

    Args:
        folder: Of the run.
        dataset: What it trains on.
    """
    images = dataset.train.images[:: -(-len(dataset.train) // _MEASURED)]
    low, median, high = np.quantile(background_lightness(images, dataset.spec.pixel_max), _COMMON).round(4).tolist()
    content = dataclasses.asdict(dataset.spec) | {"background": {"low": low, "median": median, "high": high}}
    (folder / FILE).write_text(json.dumps(content, indent=1) + "\n")


def read_preprocessing(path: Path) -> Preprocessing:
    """Reads a preprocessing.json.

    Raises:
        ModelError: If it can't be read, or lacks what it takes to use the model; says what.
    """
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
        told = f"there is no {error}" if isinstance(error, KeyError) else error
        raise ModelError(f"{path}: expected what {FILE} of a run holds; it can't be read: {told}") from error
    if problem := _problem(spec):
        raise ModelError(f"{path}: {problem}")
    return Preprocessing(spec, background)


def _problem(spec: DataSpec) -> str | None:
    """Returns what makes a spec useless, or None."""
    if not is_image_shape(spec.image_shape):
        return f"image_shape: expected height, width and, where there are several, channels, got {spec.image_shape}"
    if not len(set(spec.class_names)) == spec.classes > 1:
        return f"class_names: expected two or more names that differ, got {spec.class_names}"
    if not 1 <= spec.pixel_max <= np.iinfo(np.uint8).max:
        return f"pixel_max: expected 1 to 255, got {spec.pixel_max}"
    channels = spec.image_shape[2] if len(spec.image_shape) > 2 else 1  # noqa: PLR2004 - height, width, channels
    if spec.mean and len(spec.mean) != channels:
        return f"mean: expected {channels} numbers, one per channel, got {spec.mean}"
    if len(spec.mean) != len(spec.std) or not all(spec.std):
        return f"std: expected as many numbers as mean has, none of them 0, got {spec.std}"
    return None


def is_image_shape(shape: tuple[int | None, ...]) -> bool:
    """Tells whether a shape is that of an image: height and width, and channels where there is an axis for them."""
    return len(shape) in (2, 3) and all(size is not None and size > 0 for size in shape)

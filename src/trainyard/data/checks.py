"""Checking arrays and data sets that come from files or from plugins, and building data sets from arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.errors import DatasetError

MAX_CLASSES = 256
"""The maximum number of classes: labels are stored as uint8."""


def build_dataset(
    name: str,
    arrays: Mapping[str, NDArray[Any]],
    source: str,
    *,
    class_names: Sequence[str] | None = None,
    pixel_max: int = 255,
) -> Dataset:
    """Builds a data set from four arrays. Raises a DatasetError if an array is invalid, or they do not match.

    ``x_train`` and ``x_test`` are raw pixels, integers from 0 to `pixel_max`, (n, height, width) or (n, height, width,
    channels); ``y_train`` and ``y_test`` are labels from 0, integers (n,) or (n, 1). `source` is where the arrays come
    from, for messages and for `Dataset.source`. Without class names, the names are the labels: "0", "1" and so on.
    """
    splits = {}
    for part in ("train", "test"):
        images = check_images(arrays[f"x_{part}"], f"{source}: x_{part}", pixel_max)
        labels = check_labels(arrays[f"y_{part}"], f"{source}: y_{part}")
        if len(images) != len(labels):
            raise DatasetError(
                f"{source}: expected the same number of images and labels, got {len(images)} in x_{part} and "
                f"{len(labels)} in y_{part}"
            )
        splits[part] = Split(images, labels)
    train, test = splits["train"], splits["test"]
    if train.images.shape[1:] != test.images.shape[1:]:
        shapes = " and ".join(" x ".join(map(str, split.images.shape[1:])) for split in (train, test))
        raise DatasetError(f"{source}: expected training and test images of the same size, got {shapes}")
    spec = DataSpec(train.images.shape[1:], _check_classes(class_names, train, test, source), pixel_max)
    return Dataset(name, spec, train, test, source)


def check_dataset(dataset: object, source: str) -> Dataset:
    """Checks what the `load` method of a data set, which may be that of a plugin, returned. Converts arrays to uint8.

    Raises a DatasetError if it is not a `Dataset`, or an array does not match its `DataSpec`: for example, a NaN pixel.
    """
    if not isinstance(dataset, Dataset):
        raise DatasetError(f"{source}: expected load() to return a trainyard Dataset, got {type(dataset).__name__}")
    train, validation, test = (
        _check_split(split, dataset.spec, f"{source}: {part}") if split is not None else None
        for part, split in (("train", dataset.train), ("validation", dataset.validation), ("test", dataset.test))
    )
    if train is None or test is None:
        raise DatasetError(f"{source}: expected training and test images, got None for one of the two")
    return replace(dataset, train=train, validation=validation, test=test)


def _check_split(split: Split, spec: DataSpec, source: str) -> Split:
    """Returns a split with its arrays as uint8; raises a DatasetError if they do not match the spec."""
    images = check_images(split.images, f"{source}: images", spec.pixel_max).reshape(split.images.shape)
    labels = check_labels(split.labels, f"{source}: labels")
    if images.shape != (len(labels), *spec.image_shape):
        raise DatasetError(
            f"{source}: expected images of shape {(len(labels), *spec.image_shape)}, as there are {len(labels)} labels "
            f"and image_shape is {spec.image_shape}, got {images.shape}"
        )
    if (highest := int(labels.max())) >= spec.classes:
        raise DatasetError(f"{source}: expected labels below {spec.classes}, the number of class names, got {highest}")
    return Split(images, labels)


def check_images(array: NDArray[Any], source: str, pixel_max: int) -> NDArray[np.uint8]:
    """Converts images to uint8, and removes a channel axis of length 1.

    Raises a DatasetError, whose message begins with `source`, if the array is not integers from 0 to `pixel_max`, (n,
    height, width) or (n, height, width, channels).
    """
    expected = f"integers from 0 to {pixel_max}, (n, height, width) or (n, height, width, channels)"
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DatasetError(f"{source}: expected {expected}, got an array of shape {array.shape}")
    images = array[..., 0] if array.shape[3:] == (1,) else array
    is_float = np.issubdtype(array.dtype, np.floating)
    advice = ". Multiply by 255, round, and save as uint8" if is_float else ""
    return _convert_integers(images, pixel_max, f"{source}: expected {expected}, got", "values", advice)


def check_labels(array: NDArray[Any], source: str) -> NDArray[np.uint8]:
    """Converts labels to uint8 (n,). Raises a DatasetError if they are not integers from 0 to 255, (n,) or (n, 1)."""
    expected = f"integers from 0 to {MAX_CLASSES - 1}, (n,)"
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array  # noqa: PLR2004 - a column
    if labels.ndim != 1 or not len(labels):
        raise DatasetError(f"{source}: expected {expected}, got an array of shape {array.shape}")
    return _convert_integers(labels, MAX_CLASSES - 1, f"{source}: expected {expected}, got", "labels")


def _convert_integers(
    array: NDArray[Any], highest: int, message: str, noun: str, advice: str = ""
) -> NDArray[np.uint8]:
    """Returns an array as uint8; raises a DatasetError if it does not contain integers from 0 to `highest`."""
    if not np.issubdtype(array.dtype, np.integer):
        raise DatasetError(f"{message} {array.dtype}{advice}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > highest:
        raise DatasetError(f"{message} {noun} from {low} to {high}")
    return np.ascontiguousarray(array, dtype=np.uint8)


def _check_classes(class_names: Sequence[str] | None, train: Split, test: Split, source: str) -> tuple[str, ...]:
    """Returns the class names, by default the labels; raises a DatasetError if they do not match the labels."""
    highest = max(int(train.labels.max()), int(test.labels.max()))
    names = tuple(class_names) if class_names is not None else tuple(str(label) for label in range(highest + 1))
    if highest >= len(names):
        raise DatasetError(f"{source}: expected labels below {len(names)}, the number of class names, got {highest}")
    if len(set(names)) != len(names) or not all(names):
        raise DatasetError(f"{source}: expected class names that differ and are not empty, got {list(names)}")
    missing = sorted(set(range(len(names))) - set(train.labels.tolist()))
    if missing:
        raise DatasetError(
            f"{source}: expected training images of every class, got none of the class {names[missing[0]]!r}. "
            "Remove the class from the class names, and number the labels from 0 without gaps"
        )
    if len(names) < 2:  # noqa: PLR2004 - a classifier needs two classes
        raise DatasetError(f"{source}: expected two classes or more, got only {names[0]!r}")
    return names

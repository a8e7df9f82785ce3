"""A data set from arrays that somebody else made: held against what the rest of a run expects of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.errors import DatasetError

MOST_CLASSES = 256
"""Labels are kept as uint8."""

_GREY, _COLOUR = 3, 4
"""The axes of grey images and of images with channels."""


def assemble_dataset(
    name: str,
    arrays: dict[str, NDArray[Any]],
    *,
    source: str,
    class_names: Sequence[str] | None = None,
    pixel_max: int = 255,
) -> Dataset:
    """Makes a data set of four arrays.

    Args:
        name: Of the data set.
        arrays: ``x_train`` and ``x_test``, whole numbers (n, height, width) or (n, height, width, channels), the raw
            pixels; ``y_train`` and ``y_test``, whole numbers (n,) or (n, 1), labels from 0.
        source: Where they come from, for messages and for the record.
        class_names: One name per label; None: the labels themselves.
        pixel_max: The largest raw pixel value.

    Returns:
        The data set, without validation images.

    Raises:
        DatasetError: If an array is not what is expected; says which, and what was found.
    """
    splits = {}
    for part in ("train", "test"):
        images = check_images(arrays[f"x_{part}"], f"{source}: x_{part}", pixel_max)
        labels = check_labels(arrays[f"y_{part}"], f"{source}: y_{part}")
        if len(images) != len(labels):
            raise DatasetError(
                f"{source}: expected as many images as labels, got {len(images)} in x_{part} and {len(labels)} in "
                f"y_{part}"
            )
        splits[part] = Split(images, labels)
    train, test = splits["train"], splits["test"]
    if train.images.shape[1:] != test.images.shape[1:]:
        shapes = " and ".join(" x ".join(map(str, split.images.shape[1:])) for split in (train, test))
        raise DatasetError(f"{source}: expected training and test images of one size, got {shapes}")
    names = _class_names(class_names, train, test, source)
    return Dataset(
        name=name,
        spec=DataSpec(image_shape=train.images.shape[1:], class_names=names, pixel_max=pixel_max),
        train=train,
        test=test,
        source=source,
    )


def check_dataset(dataset: object, source: str) -> Dataset:
    """Holds what a data set of anybody's making loaded against what the rest of a run expects.

    Args:
        dataset: What came.
        source: Where it comes from, for messages.

    Returns:
        The data set, its arrays as uint8.

    Raises:
        DatasetError: If it is no data set, or an array of it is not what its `DataSpec` says, a pixel that is NaN for
            one; says which, and what was found.
    """
    if not isinstance(dataset, Dataset):
        raise DatasetError(f"{source}: expected its load to return a trainyard Dataset, got {type(dataset).__name__}")
    train, validation, test = (
        _check_split(split, dataset.spec, f"{source}: {part}") if split is not None else None
        for part, split in (("train", dataset.train), ("validation", dataset.validation), ("test", dataset.test))
    )
    if train is None or test is None:
        raise DatasetError(f"{source}: expected images to train and images to test, got none of one of them")
    return replace(dataset, train=train, validation=validation, test=test)


def _check_split(split: Split, spec: DataSpec, what: str) -> Split:
    images = check_images(split.images, f"{what}: images", spec.pixel_max).reshape(split.images.shape)
    labels = check_labels(split.labels, f"{what}: labels")
    if images.shape != (len(labels), *spec.image_shape):
        raise DatasetError(
            f"{what}: expected images of shape {(len(labels), *spec.image_shape)}, as there are {len(labels)} labels "
            f"and the spec says {spec.image_shape}, got {images.shape}"
        )
    if (highest := int(labels.max())) >= spec.classes:
        raise DatasetError(
            f"{what}: expected labels below {spec.classes}, as there are that many class names, got {highest}"
        )
    return Split(images, labels)


def check_images(array: NDArray[Any], what: str, pixel_max: int) -> NDArray[np.uint8]:
    """Returns images as a data set holds them.

    Args:
        array: Whole numbers from 0 to `pixel_max`, (n, height, width) or (n, height, width, channels).
        what: What the array is, for messages.
        pixel_max: The largest raw pixel value.

    Returns:
        uint8, of the same shape, without the channel axis where there is one channel.

    Raises:
        DatasetError: If the array is something else.
    """
    expected = f"whole numbers from 0 to {pixel_max}, (n, height, width) or (n, height, width, channels)"
    if array.ndim not in (_GREY, _COLOUR) or 0 in array.shape:
        raise DatasetError(f"{what}: expected {expected}, got an array of shape {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        advice = ". Multiply by 255, round, and save as uint8" if np.issubdtype(array.dtype, np.floating) else ""
        raise DatasetError(f"{what}: expected {expected}, got {array.dtype}{advice}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > pixel_max:
        raise DatasetError(f"{what}: expected {expected}, got values from {low} to {high}")
    grey = array[..., 0] if array.ndim == _COLOUR and array.shape[-1] == 1 else array
    return np.ascontiguousarray(grey, dtype=np.uint8)


def check_labels(array: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Returns labels as a data set holds them.

    Args:
        array: Whole numbers from 0 to 255, (n,) or (n, 1).
        what: What the array is, for messages.

    Returns:
        uint8 (n,).

    Raises:
        DatasetError: If the array is something else.
    """
    expected = f"whole numbers from 0 to {MOST_CLASSES - 1}, (n,)"
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array  # noqa: PLR2004 - a column
    if labels.ndim != 1 or not len(labels):
        raise DatasetError(f"{what}: expected {expected}, got an array of shape {array.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise DatasetError(f"{what}: expected {expected}, got {labels.dtype}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= MOST_CLASSES:
        raise DatasetError(f"{what}: expected {expected}, got labels from {low} to {high}")
    return np.ascontiguousarray(labels, dtype=np.uint8)


def _class_names(given: Sequence[str] | None, train: Split, test: Split, source: str) -> tuple[str, ...]:
    highest = max(int(train.labels.max()), int(test.labels.max()))
    names = tuple(given) if given is not None else tuple(str(label) for label in range(highest + 1))
    if highest >= len(names):
        raise DatasetError(
            f"{source}: expected labels below {len(names)}, as there are {len(names)} class names, got {highest}"
        )
    if len(set(names)) != len(names) or not all(names):
        raise DatasetError(f"{source}: expected class names that differ and are not empty, got {list(names)}")
    missing = sorted(set(range(len(names))) - set(train.labels.tolist()))
    if missing:
        raise DatasetError(
            f"{source}: expected training images of every class, and there are none of {names[missing[0]]!r}. "
            "Leave the class out, or number the labels anew"
        )
    if len(names) < 2:  # noqa: PLR2004 - there is nothing to tell apart
        raise DatasetError(f"{source}: expected two classes or more, got only {names[0]!r}")
    return names

"""Checking data sets that may come from plugins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.data.image_arrays import convert_images
from trainyard.data.image_rows import ImageRows
from trainyard.errors import DatasetError

MAX_CLASSES = 2**16
"""The maximum number of classes: labels are stored as uint8 or uint16."""


def check_dataset(dataset: object, source: str) -> Dataset:
    """Checks what the `load` method of a data set, which may be that of a plugin, returned. Converts its arrays.

    Raises a DatasetError if it is not a `Dataset`, or an array does not match its `DataSpec`: for example, a NaN pixel.
    """
    if not isinstance(dataset, Dataset):
        raise DatasetError(f"{source}: expected load() to return a trainyard Dataset, got {type(dataset).__name__}")
    notices = list(dataset.notices)
    train, validation, test = (
        _check_split(split, dataset.spec, f"{source}: {part}", notices) if split is not None else None
        for part, split in (("train", dataset.train), ("validation", dataset.validation), ("test", dataset.test))
    )
    if train is None or test is None:
        raise DatasetError(f"{source}: expected training and test images, got None for one of the two")
    return replace(dataset, train=train, validation=validation, test=test, notices=tuple(dict.fromkeys(notices)))


def _check_split(split: Split, spec: DataSpec, source: str, notices: list[str]) -> Split:
    """Returns a split with its arrays converted to their dtypes, and adds to `notices`.

    Raises a DatasetError if the arrays do not match the spec.
    """
    images = split.images
    if not isinstance(images, ImageRows):  # whose source was checked
        images, new_notices = convert_images(images, f"{source}: images", spec.pixel_max)
        notices += new_notices
        images = images.reshape(split.images.shape)
    labels = check_labels(split.labels, f"{source}: labels")
    if images.shape != (len(labels), *spec.image_shape):
        raise DatasetError(
            f"{source}: expected images of shape {(len(labels), *spec.image_shape)}, as there are {len(labels)} labels "
            f"and image_shape is {spec.image_shape}, got {images.shape}"
        )
    if (highest := int(labels.max())) >= spec.classes:
        raise DatasetError(f"{source}: expected labels below {spec.classes}, the number of class names, got {highest}")
    return Split(images, labels.astype(np.min_scalar_type(spec.classes - 1)))


def check_labels(array: NDArray[Any], source: str) -> NDArray[np.unsignedinteger]:
    """Converts class indices, integers (n,) or (n, 1), to the smallest unsigned dtype, (n,).

    Raises a DatasetError if the array contains other values or has another shape.
    """
    expected = f"{source}: expected integers from 0 to {MAX_CLASSES - 1:,}, (n,), got"
    labels = array[:, 0] if array.shape[1:] == (1,) else array
    if labels.ndim != 1 or not len(labels):
        raise DatasetError(f"{expected} an array of shape {array.shape}")
    if labels.dtype.kind not in "ui":
        raise DatasetError(f"{expected} {labels.dtype}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= MAX_CLASSES:
        raise DatasetError(f"{expected} labels from {low} to {high}")
    return labels.astype(np.min_scalar_type(high))

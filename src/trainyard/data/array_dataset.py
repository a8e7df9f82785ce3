"""Building data sets from arrays of images and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.data.image_arrays import convert_images
from trainyard.data.label_arrays import encode_labels
from trainyard.data.loading import hold_out
from trainyard.errors import DatasetError


def build_dataset(
    name: str,
    arrays: Mapping[str, NDArray[Any]],
    source: str,
    *,
    class_names: Sequence[str] | None = None,
    pixel_max: int = 255,
    test_fraction: float | None = None,
    titles: Mapping[str, str] | None = None,
) -> Dataset:
    """Builds a data set from arrays. Raises a DatasetError if an array is invalid, or they do not match.

    Args:
        name: The name of the data set.
        arrays: The images and labels of each part: ``x_train`` and ``y_train``; ``x_test`` and ``y_test``, unless
            `test_fraction` is set; and, optionally, ``x_val`` and ``y_val``. See `convert_images` and `encode_labels`
            for the values that are accepted.
        source: Where the arrays come from, for messages and for `Dataset.source`.
        class_names: The names of the classes, in label order. None uses the labels: "0", "1" and so on.
        pixel_max: The largest possible raw pixel value, 1 to 255.
        test_fraction: The fraction of the training images, between 0 and 1, that become test images. They are
            stratified by class and always the same.
        titles: The names of the arrays in messages, if they differ from the keys of `arrays`.
    """
    titles = {key: (titles or {}).get(key, key) for key in arrays}
    images, notices = _convert_all_images(arrays, titles, source, pixel_max)
    raw_labels = {titles[key]: array for key, array in arrays.items() if key.startswith("y_")}
    labels, names, label_notices = encode_labels(raw_labels, source, class_names, titles["y_train"])
    splits = _join(images, labels, titles, source)
    if test_fraction is not None:
        splits |= _hold_out_test(splits["train"], test_fraction, source, names)
    spec = DataSpec(splits["train"].images.shape[1:], names, pixel_max)
    return Dataset(
        name,
        spec,
        splits["train"],
        splits["test"],
        source,
        validation=splits.get("val"),
        notices=(*dict.fromkeys(notices), *label_notices),
    )


def _convert_all_images(
    arrays: Mapping[str, NDArray[Any]], titles: Mapping[str, str], source: str, pixel_max: int
) -> tuple[dict[str, NDArray[np.uint8]], list[str]]:
    """Returns the images of each part as raw pixels, and notices. Raises a DatasetError if their sizes differ."""
    images: dict[str, NDArray[np.uint8]] = {}
    notices: list[str] = []
    train = arrays["x_train"]
    binary_is_unit = train.dtype.kind != "f" or not train.size or bool(train.max() < 2)  # noqa: PLR2004 - above 1
    for key in sorted((key for key in arrays if key.startswith("x_")), key="x_train".__ne__):  # x_train first
        title = f"{source}: {titles[key]}"
        images[key], new_notices = convert_images(arrays[key], title, pixel_max, binary_is_unit=binary_is_unit)
        notices += new_notices
        if images[key].shape[1:] != images["x_train"].shape[1:]:
            first, other = (" x ".join(map(str, images[name].shape[1:])) for name in ("x_train", key))
            raise DatasetError(
                f"{source}: expected images of the same size, got {first} in {titles['x_train']} and {other} in "
                f"{titles[key]}"
            )
    return images, notices


def _join(
    images: Mapping[str, NDArray[np.uint8]],
    labels: Mapping[str, NDArray[np.unsignedinteger]],
    titles: Mapping[str, str],
    source: str,
) -> dict[str, Split]:
    """Returns the split of each part. Raises a DatasetError if the numbers of images and labels differ."""
    splits = {}
    for key, pixels in images.items():
        part = key.removeprefix("x_")
        own_labels = labels[titles[f"y_{part}"]]
        if len(pixels) != len(own_labels):
            raise DatasetError(
                f"{source}: expected the same number of images and labels, got {len(pixels)} in {titles[key]} and "
                f"{len(own_labels)} in {titles[f'y_{part}']}"
            )
        splits[part] = Split(pixels, own_labels)
    return splits


def _hold_out_test(train: Split, fraction: float, source: str, names: Sequence[str]) -> dict[str, Split]:
    """Returns the training images and the test images that are held out of them; see `build_dataset`."""
    if len(train) < 2:  # noqa: PLR2004 - one image for each split
        raise DatasetError(f"{source}: expected two or more images to split by dataset.test_fraction, got one")
    remaining, test = hold_out(train, fraction, seed=0)
    missing = np.flatnonzero(np.bincount(remaining.labels, minlength=len(names)) == 0)
    if missing.size:
        raise DatasetError(
            f"dataset.test_fraction: expected a fraction that leaves training images of every class of {source}, got "
            f"{fraction}, which leaves none of the class {names[missing[0]]!r}. Use a smaller fraction"
        )
    return {"train": remaining, "test": test}

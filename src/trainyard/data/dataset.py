"""The in-memory containers of images and labels, whatever data set they come from.

Data sets are in `data/datasets/`. Images remain the integers that were loaded. They are scaled to 0..1 where they are
used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainyard.data.image_rows import iterate_chunks, select_rows


@dataclass(frozen=True, slots=True)
class DataSpec:
    """The shape, classes and pixel scaling of a data set."""

    image_shape: tuple[int, ...]
    """(height, width) of grayscale images, else (height, width, channels): (28, 28) or (32, 32, 3)."""
    class_names: tuple[str, ...]
    """One name per label, in label order."""
    pixel_max: int
    """The largest raw pixel value; raw pixels divided by it are in 0..1."""
    mean: tuple[float, ...] = ()
    """The mean of each channel over the training images, scaled to 0..1; empty if images are not standardised."""
    std: tuple[float, ...] = ()
    """The standard deviation of each channel over the training images, scaled to 0..1; empty if `mean` is."""

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    def build_scale_table(self) -> NDArray[np.float32]:
        """Builds the table that maps each raw pixel value, 0 to 255, to the value that a model receives.

        An entry is ``value / pixel_max``, standardised if the spec has a mean. A table lookup is exact; multiplication
        by the reciprocal, which compilers use, differs in the last bit. The table is float32 (256,) for all channels or
        float32 (256, channels), if the spec has the means of several channels.
        """
        scaled = np.arange(256, dtype=np.float32) / np.float32(self.pixel_max)
        if not self.mean:
            return scaled
        table = (scaled[:, None] - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(table if len(self.mean) > 1 else table[:, 0])

    def scale(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns raw images, uint8 (n, *image_shape), as a model receives them: float32, in 0..1 or standardised."""
        table = self.build_scale_table()
        return table[images] if table.ndim == 1 else table[images, np.arange(table.shape[1])]


@dataclass(frozen=True, slots=True)
class Split:
    """The images and labels of one part of a data set, such as the training part."""

    images: NDArray[np.uint8]
    """Raw pixels, (n, height, width) or (n, height, width, channels). A selection of memory-mapped images, or
    of most images of a large array, is an `ImageRows`, which is indexed like an array."""
    labels: NDArray[np.unsignedinteger[Any]]
    """(n,), from 0 to classes - 1: uint8, or uint16 if there are more than 256 classes."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.intp]) -> Split:
        """Returns a new split with the images and labels at these indices, in this order."""
        return Split(select_rows(self.images, indices), self.labels[indices])

    @property
    def digest(self) -> str:
        """The sha256 of the shape, the images and the labels, in hexadecimal."""
        sha = hashlib.sha256(repr(self.images.shape).encode())
        for images in iterate_chunks(self.images):
            sha.update(np.ascontiguousarray(images).data)
        sha.update(np.ascontiguousarray(self.labels).data)
        return sha.hexdigest()


@dataclass(frozen=True, slots=True)
class Dataset:
    """The training, validation and test images of a run."""

    name: str
    spec: DataSpec
    train: Split
    test: Split
    source: str
    """Where the data was loaded from: a path, or the name of a package."""
    validation: Split | None = None
    limited: bool = False
    """Whether only part of the data is used, because of `dataset.limit`."""
    notices: tuple[str, ...] = ()
    """What a user should know about the data, for example that files were skipped: one message each."""

    @property
    def digest(self) -> str:
        """The sha256 over the digests of all splits, in hexadecimal."""
        splits = [split.digest for split in (self.train, self.validation, self.test) if split is not None]
        return hashlib.sha256("".join(splits).encode()).hexdigest()


def standardise_dataset(dataset: Dataset) -> Dataset:
    """Returns a data set whose spec scales each channel to mean 0 and standard deviation 1 over the training images."""
    spec = dataset.spec
    channels = spec.image_shape[2] if len(spec.image_shape) > 2 else 1  # noqa: PLR2004 - height, width, channels
    values = np.arange(256) / spec.pixel_max
    counts = np.zeros((channels, 256), np.int64)
    for images in iterate_chunks(dataset.train.images):
        counts += [np.bincount(pixels, minlength=256) for pixels in images.reshape(-1, channels).T]
    mean, std = [], []
    for frequencies in counts / counts[0].sum():
        mean.append(float(values @ frequencies))
        std.append(float(np.sqrt(((values - mean[-1]) ** 2) @ frequencies)) or 1.0)  # a constant channel has std 0
    return replace(dataset, spec=replace(spec, mean=tuple(mean), std=tuple(std)))

"""Labelled images in memory: what a data set hands to the rest of a run.

Images stay the integers they were stored as; scaling to 0..1 happens where they are used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DataSpec:
    """What of a data set the rest of a run must know before it sees an image."""

    image_shape: tuple[int, ...]
    """Height and width, and channels where there are several: (28, 28) or (32, 32, 3)."""
    class_names: tuple[str, ...]
    """One name per label, in label order."""
    pixel_max: int
    """The largest raw pixel value; raw pixels divided by it lie in 0..1."""
    mean: tuple[float, ...] = ()
    """Of each channel of the training images in 0..1, to be subtracted; empty: images are not standardised."""
    std: tuple[float, ...] = ()
    """The standard deviation of each channel, to be divided by."""

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    def scale_table(self) -> NDArray[np.float32]:
        """Returns the scaled value of each raw pixel value: float32 (256,), or (256, channels) of several channels.

        It is ``value / pixel_max``, standardised where the spec says so. Looking pixels up in it is exact; multiplying
        by the reciprocal, as compilers do, differs in the last bit.
        """
        scaled = np.arange(256, dtype=np.float32) / np.float32(self.pixel_max)
        if not self.mean:
            return scaled
        table = (scaled[:, None] - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(table if len(self.mean) > 1 else table[:, 0])

    def scale(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns images as a model takes them.

        Args:
            images: uint8 (n, *image_shape), raw.

        Returns:
            float32, of the same shape; in 0..1, or standardised.
        """
        table = self.scale_table()
        return table[images] if table.ndim == 1 else table[images, np.arange(table.shape[1])]


@dataclass(frozen=True, slots=True)
class Split:
    """Images with their labels.

    Attributes:
        images: uint8 (n, height, width) or (n, height, width, channels), raw pixels.
        labels: uint8 (n,), 0 to classes - 1.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.intp]) -> Split:
        """Returns the images and labels at these indices, in this order."""
        return Split(self.images[indices], self.labels[indices])

    @property
    def digest(self) -> str:
        """The sha256 of shape, images and labels, in hexadecimal."""
        sha = hashlib.sha256(repr(self.images.shape).encode())
        sha.update(np.ascontiguousarray(self.images).data)
        sha.update(np.ascontiguousarray(self.labels).data)
        return sha.hexdigest()


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set as one run uses it."""

    name: str
    spec: DataSpec
    train: Split
    test: Split
    source: str
    """Where the data was found: a path, a package."""
    validation: Split | None = None
    limited: bool = False
    """Whether only a part of the data is used."""

    @property
    def digest(self) -> str:
        """The sha256 over the digests of all splits, in hexadecimal."""
        splits = [split.digest for split in (self.train, self.validation, self.test) if split is not None]
        return hashlib.sha256("".join(splits).encode()).hexdigest()


def standardise_dataset(dataset: Dataset) -> Dataset:
    """Has the images standardised: mean 0 and standard deviation 1 over the training images, channel by channel."""
    spec = dataset.spec
    channels = spec.image_shape[2] if len(spec.image_shape) > 2 else 1  # noqa: PLR2004 - height, width, channels
    values = np.arange(256) / spec.pixel_max
    mean, std = [], []
    for pixels in dataset.train.images.reshape(-1, channels).T:
        share = np.bincount(pixels, minlength=256) / pixels.size
        mean.append(float(values @ share))
        std.append(float(np.sqrt(((values - mean[-1]) ** 2) @ share)) or 1.0)  # a constant channel stays as it is
    return replace(dataset, spec=replace(spec, mean=tuple(mean), std=tuple(std)))


def limit_dataset(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Keeps at most `count` images of training and of test, stratified by class."""
    splits = [
        split.take(np.sort(stratified_sample(split.labels, min(count, len(split)), seed)))
        for split in (dataset.train, dataset.test)
    ]
    return replace(dataset, train=splits[0], test=splits[1], limited=True)


def hold_out_validation(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Moves a share of the training images, stratified by class and drawn by the seed, into validation.

    Args:
        dataset: Without validation images.
        fraction: The share of training images to hold out, above 0 and below 1.
        seed: Another seed holds out other images.

    Returns:
        The data set with at least one image in validation and one in training; both keep the order of the data.
    """
    total = len(dataset.train)
    count = min(max(round(total * fraction), 1), total - 1)
    held_out = np.zeros(total, dtype=bool)
    held_out[stratified_sample(dataset.train.labels, count, seed)] = True
    return replace(
        dataset,
        train=dataset.train.take(np.flatnonzero(~held_out)),
        validation=dataset.train.take(np.flatnonzero(held_out)),
    )


def stratified_sample(labels: NDArray[np.uint8], count: int, seed: int) -> NDArray[np.intp]:
    """Draws indices so that every prefix of the result holds the classes in their proportions.

    Each class is shuffled, and its k-th of n members is given the place (k + a half) / n; the indices with the lowest
    places are drawn. Any count works, down to one, where a rounding of shares class by class would fail.

    Args:
        labels: uint8 (n,).
        count: How many to draw, at most n.
        seed: Shuffles within classes and between classes of equal place.

    Returns:
        The indices, int (count,).
    """
    generator = np.random.default_rng((seed, len(labels)))
    shuffled = generator.permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return shuffled[np.argsort(place[shuffled], kind="stable")][:count]

"""Prepares the data set of a run: loads it, checks it, and applies limit, validation split and standardization."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainyard.config import DatasetConfig
from trainyard.data.checks import check_dataset
from trainyard.data.dataset import Dataset, Split, standardise_dataset
from trainyard.data.duplicates import count_shared_images
from trainyard.errors import DatasetError


def load_dataset(config: DatasetConfig, seed: int, *, progress: bool = False) -> Dataset:
    """Loads and checks the data set of a run, and applies `limit`, `validation_fraction` and `standardise`.

    A notice is added if test images are identical to training images. Raises a DatasetError if the data is missing,
    damaged or invalid, if too few images are left for a validation split, or if the data contains validation images and
    `validation_fraction` is set.
    """
    dataset = check_dataset(config.load_limited(seed, progress), f"dataset {config.registered_name}")
    if config.limit is not None and not dataset.limited:
        dataset = limit_dataset(dataset, config.limit, seed)
    if shared := count_shared_images(dataset.test.images, dataset.train.images):
        notice = (
            f"test images that are identical to a training image: {shared:,} of {len(dataset.test):,}. They raise the "
            "test accuracy. Remove them from the training or the test images"
        )
        dataset = replace(dataset, notices=(*dataset.notices, notice))
    if config.validation_fraction:
        if dataset.validation is not None:
            raise DatasetError(
                f"dataset.validation_fraction: expected 0, as {dataset.source} contains {len(dataset.validation):,} "
                f"validation images, got {config.validation_fraction}. Remove dataset.validation_fraction, or the "
                "validation images from the data"
            )
        if len(dataset.train) == 1:
            raise DatasetError(
                "dataset.validation_fraction: expected two or more training images to split, got one. "
                "Raise dataset.limit"
            )
        dataset = hold_out_validation(dataset, config.validation_fraction, seed)
    return standardise_dataset(dataset) if config.standardise else dataset


def limit_dataset(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Returns a data set with at most `count` images per split, stratified by class."""

    def take_part(split: Split) -> Split:
        return split.take(np.sort(draw_stratified_sample(split.labels, min(count, len(split)), seed)))

    return replace(
        dataset,
        train=take_part(dataset.train),
        validation=dataset.validation and take_part(dataset.validation),
        test=take_part(dataset.test),
        limited=True,
    )


def hold_out_validation(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Moves a random fraction of the training images to the validation split; see `hold_out`."""
    train, validation = hold_out(dataset.train, fraction, seed)
    return replace(dataset, train=train, validation=validation)


def hold_out(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Splits images into (remaining, held out), stratified by class; `fraction`, between 0 and 1, is held out.

    Both splits have at least one image, and keep the order of the images. `split` must have two images or more.
    """
    remaining, held_out = draw_held_out(split.labels, fraction, seed)
    return split.take(remaining), split.take(held_out)


def draw_held_out(
    labels: NDArray[np.integer[Any]], fraction: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Returns the indices of (remaining, held out) images with these labels; see `hold_out`."""
    count = min(max(round(len(labels) * fraction), 1), len(labels) - 1)
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[draw_stratified_sample(labels, count, seed)] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def draw_stratified_sample(labels: NDArray[np.integer[Any]], count: int, seed: int) -> NDArray[np.intp]:
    """Draws indices, int (count,), such that each prefix has the class proportions of `labels`, integers (n,).

    Each class is shuffled, and its k-th of n members gets the position (k + 0.5) / n. The indices with the lowest
    positions are drawn. This works for any count from 1, where rounding the number of images of each class would fail.
    """
    generator = np.random.default_rng((seed, len(labels)))
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    counts = np.unique(labels, return_counts=True)[1]
    ranks = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    position = np.empty(len(labels))
    position[by_class] = (ranks + 0.5) / np.repeat(counts, counts)
    return shuffled[np.argsort(position[shuffled], kind="stable")][:count]

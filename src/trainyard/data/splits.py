"""Splits of data sets: stratified samples, validation images and limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trainyard.data.dataset import Dataset


def limit_dataset(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Returns a data set with at most `count` training and `count` test images, stratified by class."""
    train, test = (
        split.take(np.sort(draw_stratified_sample(split.labels, min(count, len(split)), seed)))
        for split in (dataset.train, dataset.test)
    )
    return replace(dataset, train=train, test=test, limited=True)


def hold_out_validation(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Moves a random fraction of the training images, between 0 and 1, to the validation split, stratified by class.

    Both splits have at least one image, and keep the order of the images.
    """
    total = len(dataset.train)
    count = min(max(round(total * fraction), 1), total - 1)
    held_out = np.zeros(total, dtype=bool)
    held_out[draw_stratified_sample(dataset.train.labels, count, seed)] = True
    train, validation = (dataset.train.take(np.flatnonzero(mask)) for mask in (~held_out, held_out))
    return replace(dataset, train=train, validation=validation)


def draw_stratified_sample(labels: NDArray[np.uint8], count: int, seed: int) -> NDArray[np.intp]:
    """Draws indices, int (count,), such that each prefix has the class proportions of `labels`, uint8 (n,).

    Each class is shuffled, and its k-th of n members gets the position (k + 0.5) / n. The indices with the lowest
    positions are drawn. This works for any count from 1, where rounding the number of images of each class would fail.
    """
    generator = np.random.default_rng((seed, len(labels)))
    shuffled = generator.permutation(len(labels))
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    return shuffled[np.argsort(position[shuffled], kind="stable")][:count]

"""Drawing stratified samples of labels, and splitting images by them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainyard.data.dataset import LabelArray, Split


def draw_stratified_sample(labels: LabelArray, count: int, seed: int) -> NDArray[np.intp]:
    """Draws indices, int (count,), such that each prefix has the class proportions of `labels`, uint8 or uint16 (n,).

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


def hold_out(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Splits images into (remaining, held out), stratified by class; `fraction`, between 0 and 1, is held out.

    Both splits have at least one image, and keep the order of the images. `split` must have two images or more.
    """
    total = len(split)
    count = min(max(round(total * fraction), 1), total - 1)
    held_out = np.zeros(total, dtype=bool)
    held_out[draw_stratified_sample(split.labels, count, seed)] = True
    return split.take(np.flatnonzero(~held_out)), split.take(np.flatnonzero(held_out))

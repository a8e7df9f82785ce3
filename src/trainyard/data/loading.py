"""Prepares the data set of a run: loads it, checks it, and applies limit, validation split and standardization."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trainyard.config import DatasetConfig
from trainyard.data.checks import check_dataset
from trainyard.data.dataset import Dataset, standardise_dataset
from trainyard.data.sampling import draw_stratified_sample, hold_out
from trainyard.errors import DatasetError


def load_dataset(config: DatasetConfig, seed: int, *, progress: bool = False) -> Dataset:
    """Loads and checks the data set of a run, and applies `limit`, `validation_fraction` and `standardise`.

    Raises a DatasetError if the data is missing, damaged or invalid, if too few images are left for a validation split,
    or if the data contains validation images and `validation_fraction` is set.
    """
    dataset = check_dataset(config.load(progress=progress), f"dataset {config.registered_name}")
    if config.limit is not None:
        dataset = limit_dataset(dataset, config.limit, seed)
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
    """Returns a data set with at most `count` images in each split, stratified by class."""
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    limited = {
        part: split.take(np.sort(draw_stratified_sample(split.labels, min(count, len(split)), seed)))
        for part, split in splits.items()
        if split is not None
    }
    return replace(dataset, **limited, limited=True)  # type: ignore[arg-type]  # mypy does not know the keys


def hold_out_validation(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Moves a random fraction of the training images to the validation split; see `hold_out`."""
    train, validation = hold_out(dataset.train, fraction, seed)
    return replace(dataset, train=train, validation=validation)

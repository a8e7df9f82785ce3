"""Prepares the data set of a run: loads it, checks it, and applies limit, validation split and standardization."""

from __future__ import annotations

from trainyard.config import DatasetConfig
from trainyard.data.checks import check_dataset
from trainyard.data.dataset import Dataset, standardise_dataset
from trainyard.data.splits import hold_out_validation, limit_dataset
from trainyard.errors import DatasetError


def load_dataset(config: DatasetConfig, seed: int, *, progress: bool = False) -> Dataset:
    """Loads and checks the data set of a run, and applies `limit`, `validation_fraction` and `standardise`.

    Raises a DatasetError if the data is missing, damaged or invalid, or too few images are left for a validation split.
    """
    dataset = check_dataset(config.load(progress=progress), f"dataset {config.registered_name}")
    if config.limit is not None:
        dataset = limit_dataset(dataset, config.limit, seed)
    if config.validation_fraction:
        if len(dataset.train) == 1:
            raise DatasetError(
                "dataset.validation_fraction: expected two or more training images to split, got one. "
                "Raise dataset.limit"
            )
        dataset = hold_out_validation(dataset, config.validation_fraction, seed)
    return standardise_dataset(dataset) if config.standardise else dataset

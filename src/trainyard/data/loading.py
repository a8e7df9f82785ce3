"""A data set as a run uses it."""

from __future__ import annotations

from trainyard.config.schema import DatasetConfig
from trainyard.data.checks import check_dataset
from trainyard.data.dataset import Dataset, hold_out_validation, limit_dataset, standardise_dataset
from trainyard.errors import DatasetError


def load_dataset(config: DatasetConfig, seed: int, *, progress: bool = False) -> Dataset:
    """Loads a data set as a run uses it: verified, limited, with its validation images held out, standardised.

    Args:
        config: Which data, how much of it, and the share for validation.
        seed: Draws the validation images and, where there is a limit, the images that stay.
        progress: Whether a download may draw a progress bar.

    Returns:
        The data set.

    Raises:
        DatasetError: If the data is absent, damaged or not what it claims to be.
    """
    dataset = check_dataset(config.load(progress=progress), f"dataset {config.registered_name}")
    if config.limit is not None:
        dataset = limit_dataset(dataset, config.limit, seed)
    if config.validation_fraction:
        if len(dataset.train) == 1:
            raise DatasetError("dataset.validation_fraction: one training image can't be split. Raise dataset.limit")
        dataset = hold_out_validation(dataset, config.validation_fraction, seed)
    return standardise_dataset(dataset) if config.standardise else dataset

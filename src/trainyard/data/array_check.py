"""Checks an npz file or a folder of idx files completely, without training, by loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainyard.data.checks import check_dataset
from trainyard.data.dataset import Dataset
from trainyard.data.datasets.user_arrays import IDX_NAME, Idx, Npz, UserArrays
from trainyard.data.duplicates import count_shared_images
from trainyard.data.image_layout import list_subfolders
from trainyard.errors import DatasetError


@dataclass(frozen=True, slots=True)
class ArrayReport:
    """What a check of a data set in files of arrays found."""

    problems: tuple[str, ...]
    """A message for each problem; empty if the data can be used."""
    dataset: Dataset | None = None
    """The data; None if it can't be loaded."""
    shared_images: int = 0
    """The number of test images that are identical to a training image."""


def find_array_config(path: Path, *, test_fraction: float | None = None) -> UserArrays | None:
    """Returns the config of a data set in files of arrays: a file, or a folder with idx files and without subfolders.

    Returns None for other folders, which may contain images. Raises a DatasetError if the path can't be read.

    Args:
        path: The path of the file or folder.
        test_fraction: See `UserArrays.test_fraction`.
    """
    try:
        if path.is_file():
            return Npz(path=str(path), test_fraction=test_fraction)
    except OSError as error:
        raise DatasetError(f"{path}: the file can't be read: {error.strerror}") from error
    folders, files = list_subfolders(path)
    if not folders and any(IDX_NAME.search(file.name.lower()) for file in files):
        return Idx(path=str(path), test_fraction=test_fraction)
    return None


def check_arrays(config: UserArrays) -> ArrayReport:
    """Loads a data set as a run does, and counts the test images that are identical to a training image."""
    try:
        config.check_files()
        dataset = check_dataset(config.load(progress=False), f"dataset {config.registered_name}")
    except DatasetError as error:
        return ArrayReport((str(error),))
    return ArrayReport((), dataset, count_shared_images(dataset.test.images, dataset.train.images))

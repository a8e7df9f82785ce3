"""The images of the benchmark: a folder with four gzipped IDX files, which every measured program can read."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainyard.data import Digits, Mnist
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.data.idx import IdxFile
from trainyard.errors import DatasetError


def prepare_mnist(source: Path | None, empty_folder: Path, *, progress: bool) -> Path:
    """Returns a folder with the four gzipped files of MNIST, whose content is verified.

    Args:
        source: Folder or file with MNIST in any format that Trainyard reads; None searches and, if necessary,
            downloads it.
        empty_folder: Folder for the gzipped files, used if `source` has another format.
        progress: Whether to show a progress bar for a download.

    Raises:
        DatasetError: If MNIST is missing or damaged.
    """
    try:
        dataset = Mnist(path=str(source) if source else None).load(progress=progress)
    except DatasetError as error:
        raise DatasetError(str(error).replace("dataset.path", "--mnist")) from error
    folder = Path(dataset.source)
    if all((folder / f"{file.name}.gz").is_file() for file in Mnist.files):
        return folder.resolve()
    return write_idx_files(dataset, empty_folder)


def prepare_digits(empty_folder: Path) -> Path:
    """Writes scikit-learn's digits in the files of MNIST, for a quick check without MNIST, and returns the folder."""
    return write_idx_files(Digits().load(progress=False), empty_folder)


def write_idx_files(dataset: Dataset, folder: Path) -> Path:
    """Writes training and test images to four gzipped files with the names of MNIST's files; returns the folder."""
    arrays = (dataset.train.images, dataset.train.labels, dataset.test.images, dataset.test.labels)
    for file, array in zip(Mnist.files, arrays, strict=True):
        header = IdxFile(file.name, array.shape).header
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return folder


def load_training_images(folder: Path, images: int, repeat: int) -> Split:
    """Loads the first training images, and repeats them.

    Args:
        folder: The folder from `prepare_mnist` or `prepare_digits`; its files are not verified again.
        images: Maximum number of images to load.
        repeat: How many times the loaded images are repeated.
    """
    pixels, labels = (_load_idx_file(folder / f"{file.name}.gz")[:images] for file in Mnist.files[:2])
    if repeat > 1:
        pixels, labels = np.concatenate([pixels] * repeat), np.concatenate([labels] * repeat)
    return Split(pixels, labels)


def load_dataset(folder: Path) -> Dataset:
    """Loads all training and test images of ten classes; see `load_training_images`."""
    x_train, y_train, x_test, y_test = (_load_idx_file(folder / f"{file.name}.gz") for file in Mnist.files)
    return replace(build_dataset(Split(x_train, y_train)), test=Split(x_test, y_test))


def build_dataset(train: Split) -> Dataset:
    """Returns a data set of ten classes with these training images. Its test split is only a placeholder."""
    spec = DataSpec(
        image_shape=train.images.shape[1:],
        class_names=tuple(str(label) for label in range(10)),
        pixel_max=int(train.images.max()),
    )
    return Dataset(name="benchmark", spec=spec, train=train, test=Split(train.images[:1], train.labels[:1]), source="")


def _load_idx_file(path: Path) -> NDArray[np.uint8]:
    content = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(content, ">u4", content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)

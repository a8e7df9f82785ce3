"""The images of a benchmark: a folder with four gzipped idx files, which every contestant and every script can read."""

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


def provide_mnist(wanted: Path | None, spare: Path, *, progress: bool) -> Path:
    """Returns a folder with the four gzipped files of MNIST, verified.

    Args:
        wanted: A folder that holds them, in whatever way Trainyard reads; None: look for them, then download.
        spare: An empty folder, where they are written if they lie somewhere in another form.
        progress: Whether a download may draw a bar.

    Raises:
        DatasetError: If MNIST is absent or damaged.
    """
    try:
        dataset = Mnist(path=str(wanted) if wanted else None).load(progress=progress)
    except DatasetError as error:
        raise DatasetError(str(error).replace("dataset.path", "--mnist")) from error
    found = Path(dataset.source)
    if all((found / f"{file.name}.gz").is_file() for file in Mnist.files):
        return found.resolve()
    return write_idx_files(dataset, spare)


def provide_digits(spare: Path) -> Path:
    """Returns a folder with scikit-learn's digits in MNIST's files, for a smoke run without MNIST."""
    return write_idx_files(Digits().load(progress=False), spare)


def write_idx_files(dataset: Dataset, folder: Path) -> Path:
    """Writes training and test images in the four files that MNIST comes in, and returns the folder."""
    arrays = (dataset.train.images, dataset.train.labels, dataset.test.images, dataset.test.labels)
    for file, array in zip(Mnist.files, arrays, strict=True):
        header = IdxFile(file.name, array.shape).header
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return folder


def read_training_images(folder: Path, images: int, repeat: int) -> Split:
    """Reads the first training images, repeated.

    Args:
        folder: From `provide_mnist` or `provide_digits`, which verified it.
        images: How many; all, where there are fewer.
        repeat: How many times over.
    """
    pixels, labels = (_read_idx(folder / f"{file.name}.gz")[:images] for file in Mnist.files[:2])
    if repeat > 1:
        pixels, labels = np.concatenate([pixels] * repeat), np.concatenate([labels] * repeat)
    return Split(pixels, labels)


def read_dataset(folder: Path) -> Dataset:
    """Reads training and test images of ten classes; see `read_training_images`."""
    x_train, y_train, x_test, y_test = (_read_idx(folder / f"{file.name}.gz") for file in Mnist.files)
    return replace(as_dataset(Split(x_train, y_train)), test=Split(x_test, y_test))


def as_dataset(train: Split) -> Dataset:
    """Returns a data set of ten classes with these training images; nothing is tested on it."""
    spec = DataSpec(
        image_shape=train.images.shape[1:],
        class_names=tuple(str(label) for label in range(10)),
        pixel_max=int(train.images.max()),
    )
    return Dataset(name="benchmark", spec=spec, train=train, test=Split(train.images[:1], train.labels[:1]), source="")


def _read_idx(path: Path) -> NDArray[np.uint8]:
    content = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(content, ">u4", content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)

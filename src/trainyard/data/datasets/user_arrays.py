"""Data sets from the user's own files: an npz file, or a folder of idx files."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainyard.config import DatasetConfig, register_dataset, setting
from trainyard.data.array_dataset import build_dataset
from trainyard.data.array_names import CLASS_NAMES, ROLES, assign_roles, find_keys_problem
from trainyard.data.cached_files import load_cached_idx, load_cached_npz
from trainyard.data.dataset import Dataset, Split
from trainyard.data.idx import check_idx_header
from trainyard.data.image_rows import iterate_chunks
from trainyard.data.label_arrays import decode_texts
from trainyard.data.memory import check_memory
from trainyard.data.npz import check_npz_headers, list_npz_arrays
from trainyard.errors import DatasetError

Header: TypeAlias = "tuple[tuple[int, ...], np.dtype[Any]]"
"""The shape and dtype of an array in a file."""

_DARK_FACTOR = 8
"""A warning is given if `pixel_max` is at least this number of times the largest pixel of the training images."""
_MAX_LISTED = 5
"""The number of files that a message lists."""
IDX_NAME = re.compile(r"(train|t10k|test|val|valid|validation)[-_](images|labels)(?![a-z])")
"""Pattern of the names of idx files, in lower case: they contain the name of a part of MNIST."""
_QMNIST_COLUMNS = 8
"""The columns of the labels of QMNIST, int32; the first one is the digit."""


@dataclass(kw_only=True, slots=True)
class UserData(DatasetConfig):
    """The base of data sets from the user's own files."""

    path: str | None = setting(None, identity=False)
    """Path of the images: a folder or a file. Must be set."""
    test_fraction: float | None = setting(None, gt=0, lt=1, hash_default=False)
    """Fraction of the training images that become test images, for data without test images; otherwise, it must be
    `null`. Stratified by class; the same images for every `seed`."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem if no path is set."""
        if not self.path:
            yield "path", "expected the path of the data, got null. Set dataset.path"

    def find_path(self) -> Path:
        """Returns the path of the data, with ``~`` expanded; raises a DatasetError if it is missing or unreadable."""
        path = Path(self.path or "").expanduser()
        try:
            exists = path.exists()
        except OSError as error:
            raise DatasetError(f"dataset.path: {path} can't be read: {error.strerror}") from error
        if not exists:
            raise DatasetError(f"dataset.path: expected an existing file or folder, got {path}, which does not exist")
        return path


@dataclass(kw_only=True, slots=True)
class UserArrays(UserData, ABC):
    """The base of data sets from files that contain arrays."""

    class_names: list[str] | None = setting(None, nonempty=True)
    """Names of the classes, in label order. `null` uses the names in the data, or the labels if there are no names."""
    pixel_max: int = setting(255, ge=1, le=255)
    """Largest possible raw pixel value; pixels are divided by it, which scales them to 0..1."""
    keys: Any | None = setting(None, types=(dict[str, str], list[str]), hash_default=False)
    """Names of the arrays in an npz file, or of the idx files in a folder: a mapping such as `{x_train: photos,
    y_train: kinds}`, or a list in the order x_train, y_train, x_test, y_test, x_val, y_val. `null`: usual names."""
    transpose: bool = setting(False, hash_default=False)
    """Whether to swap the rows and columns of each image. Needed for the files of EMNIST."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem if no path is set, or `keys` are not the names of a data set."""
        yield from UserData.problems(self)
        if problem := find_keys_problem(self.keys):
            yield "keys", problem

    @property
    def has_validation(self) -> bool:
        """Whether `validation_fraction` is set, or there are arrays of validation images."""
        try:
            return self.validation_fraction > 0 or "x_val" in self.find_arrays()
        except DatasetError:
            return True  # the file is reported by `check_files`

    def check_files(self) -> None:
        """Checks that all arrays exist and fit into memory, without reading them; see `DatasetConfig.check_files`."""
        self.check_memory(self.find_arrays())

    def check_memory(self, titles: Mapping[str, str]) -> None:
        """Raises a DatasetError if the arrays, and the uint8 images made from them, do not fit into memory."""
        headers = self.read_headers(titles)
        needed = sum(math.prod(shape) * dtype.itemsize for shape, dtype in headers.values())
        converted = (header for role, header in headers.items() if role.startswith("x_") and header[1] != np.uint8)
        needed += sum(math.prod(shape) for shape, _ in converted)
        shape, dtype = headers["x_train"]
        check_memory(
            needed,
            f"{self.find_path()}: {titles['x_train']} {dtype} {shape} and the other arrays",
            "Store the images as uint8, or store fewer or smaller images",
        )

    @abstractmethod
    def find_arrays(self) -> dict[str, str]:
        """Returns the name of the array or file for each role; raises a DatasetError if one is missing."""

    @abstractmethod
    def read_headers(self, titles: Mapping[str, str]) -> dict[str, Header]:
        """Returns the shape and dtype of the array for each role, of which `titles` has the names."""

    def assign_roles(self, available: Mapping[str, str], source: Path, noun: str) -> dict[str, str]:
        """Returns the name of the array for each role; see `array_names.assign_roles`."""
        return assign_roles(available, self.keys, str(source), needs_test=self.test_fraction is None, noun=noun)

    def build(self, source: Path, arrays: Mapping[str, NDArray[Any]], titles: Mapping[str, str]) -> Dataset:
        """Builds the data set from arrays by role, applying the settings; see `build_dataset`."""
        names = self.class_names
        if names is None and (texts := arrays.get(CLASS_NAMES)) is not None:
            names = _read_class_names(texts, f"{source}: {titles[CLASS_NAMES]}")
        dataset = build_dataset(
            source.stem if source.is_file() else source.name,
            {role: array for role, array in arrays.items() if role in ROLES},
            str(source),
            class_names=names,
            pixel_max=self.pixel_max,
            test_fraction=self.test_fraction,
            titles=titles,
        )
        if self.transpose:
            dataset = _transpose(dataset)
        return replace(dataset, notices=(*dataset.notices, *self._find_dark_pixels(arrays["x_train"])))

    def _find_dark_pixels(self, images: NDArray[Any]) -> Iterator[str]:
        """Yields a warning if training images that are raw pixel values are all far below `pixel_max`."""
        largest = 0.0
        for chunk in iterate_chunks(images):
            largest = max(largest, float(chunk.max()))
            if largest * _DARK_FACTOR > self.pixel_max:
                return  # usually after the first chunk, so that mapped images are not read
        if images.dtype.kind in "iu" or (images.dtype.kind == "f" and largest > 1):
            remedy = f"If that is white, set dataset.pixel_max={int(largest)}" if largest else "All images are black"
            yield (
                f"the largest pixel of the training images is {int(largest)}, far below dataset.pixel_max="
                f"{self.pixel_max}, by which pixels are divided. {remedy}"
            )


@register_dataset("npz")
@dataclass(kw_only=True, slots=True)
class Npz(UserArrays):
    """Your own images in an npz file with the arrays x_train, y_train, x_test, y_test and, optionally, class_names."""

    path: str | None = setting(None, identity=False)
    """Path of the npz file. Must be set."""

    def load(self, progress: bool) -> Dataset:  # noqa: ARG002 - no download, so no progress
        """Loads the file; see `DatasetConfig.load`."""
        file = self.find_path()
        titles = self.find_arrays()
        self.check_memory(titles)
        arrays = load_cached_npz(file, list(titles.values()))
        return self.build(file, {role: arrays[name] for role, name in titles.items()}, titles)

    def find_arrays(self) -> dict[str, str]:
        """Returns the name of the array for each role; see `UserArrays.find_arrays`."""
        file = self.find_path()
        available = {name: f"{name} {dtype} {shape}" for name, (shape, dtype) in list_npz_arrays(file).items()}
        return self.assign_roles(available, file, "array")

    def read_headers(self, titles: Mapping[str, str]) -> dict[str, Header]:
        """Returns the shape and dtype of the array for each role; see `UserArrays.read_headers`."""
        headers = check_npz_headers(self.find_path(), titles.values())
        return {role: headers[name] for role, name in titles.items()}


@register_dataset("idx")
@dataclass(kw_only=True, slots=True)
class Idx(UserArrays):
    """Your own images in a folder with four idx files, plain or gzipped, with the file names of MNIST."""

    path: str | None = setting(None, identity=False)
    """Path of the folder with the idx files. Must be set."""

    def load(self, progress: bool) -> Dataset:  # noqa: ARG002 - no download, so no progress
        """Loads the files; see `DatasetConfig.load`."""
        folder, titles = self.find_path(), self.find_arrays()
        self.check_memory(titles)
        arrays = {role: load_cached_idx(folder / name) for role, name in titles.items()}
        for role, array in arrays.items():
            is_qmnist = array.dtype == ">i4" and array.shape[1:] == (_QMNIST_COLUMNS,)
            is_one_hot = is_qmnist and np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all()
            if role.startswith("y_") and is_qmnist and not is_one_hot:
                arrays[role] = array[:, 0]
        return self.build(folder, arrays, titles)

    def find_arrays(self) -> dict[str, str]:
        """Returns the name of the file for each role; see `UserArrays.find_arrays`."""
        folder = self.find_path()
        if not folder.is_dir():
            raise DatasetError(f"dataset.path: expected a folder with idx files, got the file {folder}")
        try:
            found = sorted(folder.iterdir())
            files = {path.name: path for path in found if path.is_file()}
        except OSError as error:
            raise DatasetError(f"{folder}: the folder can't be read: {error.strerror}") from error
        if self.keys is None:
            files = _find_idx_files(files)
        if not files:
            entries = ", ".join([path.name for path in found][:_MAX_LISTED]) or "an empty folder"
            raise DatasetError(
                f"{folder}: expected idx files with the names of MNIST's files, such as train-images-idx3-ubyte, got "
                f"{entries}. Set dataset.path to the folder that contains them, or dataset.keys to their names"
            )
        names = self.assign_roles({name: path.name for name, path in files.items()}, folder, "file")
        return {role: files[name].name for role, name in names.items()}

    def read_headers(self, titles: Mapping[str, str]) -> dict[str, Header]:
        """Returns the shape and dtype of the array for each role; see `UserArrays.read_headers`."""
        return {role: check_idx_header(self.find_path() / name) for role, name in titles.items()}


def _find_idx_files(files: Mapping[str, Path]) -> dict[str, Path]:
    """Returns the files whose names contain the name of a part of MNIST, by this name, such as ``train-images``.

    An unpacked file has priority over the gzipped one. Raises a DatasetError if there are several files of a part.
    """
    found: dict[str, Path] = {}
    for name, path in files.items():
        match = IDX_NAME.search(name.lower())
        if match is None or (name.endswith(".gz") and name.removesuffix(".gz") in files):
            continue
        if (other := found.setdefault(match[0].replace("t10k", "test"), path)) is not path:
            raise DatasetError(
                f"{path.parent}: expected exactly one file {match[0]}*, as in MNIST, got {other.name}, {name}. Name "
                "the files of one data set: dataset.keys=[TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS]"
            )
    return found


def _read_class_names(texts: NDArray[Any], source: str) -> list[str]:
    """Returns class names, texts or bytes (classes,). Raises a DatasetError if they are something else."""
    if texts.ndim != 1 or not texts.size or texts.dtype.kind not in "US":
        raise DatasetError(f"{source}: expected strings (classes,), got {texts.dtype} {texts.shape}")
    return [str(name) for name in (decode_texts(texts, source) if texts.dtype.kind == "S" else texts)]


def _transpose(dataset: Dataset) -> Dataset:
    """Returns a data set in which the rows and columns of each image are swapped."""
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    transposed = {
        part: Split(np.ascontiguousarray(np.asarray(split.images).swapaxes(1, 2)), split.labels)
        for part, split in splits.items()
        if split is not None
    }
    spec = replace(dataset.spec, image_shape=transposed["train"].images.shape[1:])
    return replace(dataset, spec=spec, **transposed)  # type: ignore[arg-type]  # mypy does not know the keys

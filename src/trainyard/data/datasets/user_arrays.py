"""Data sets from the user's own files: an npz file, or a folder of idx files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainyard.config import DatasetConfig, register_dataset, setting
from trainyard.data.cached_npz import load_cached_npz
from trainyard.data.checks import build_dataset
from trainyard.data.dataset import Dataset
from trainyard.data.idx import load_idx
from trainyard.data.npz import ARRAY_NAMES
from trainyard.errors import DatasetError

_CLASS_NAMES = "class_names"
"""The name of the optional array with the names of the classes."""

_IDX_FILE_PREFIXES = ("train-images", "train-labels", "t10k-images", "t10k-labels")
"""The beginnings of the names of the four idx files. ``test-`` is accepted instead of ``t10k-``."""


@dataclass(kw_only=True, slots=True)
class UserData(DatasetConfig):
    """The base of data sets from the user's own files."""

    path: str | None = setting(None, identity=False)
    """Path of the images: a folder or a file. Must be set."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem if no path is set."""
        if not self.path:
            yield "path", "expected the path of the data, got null. Set dataset.path"

    def find_path(self) -> Path:
        """Returns the path of the data, with ``~`` expanded; raises a DatasetError if it does not exist."""
        path = Path(self.path or "").expanduser()
        if not path.exists():
            raise DatasetError(f"dataset.path: expected an existing file or folder, got {path}, which does not exist")
        return path


@dataclass(kw_only=True, slots=True)
class UserArrays(UserData):
    """The base of data sets from files whose labels are numbers."""

    class_names: list[str] | None = setting(None, nonempty=True)
    """Names of the classes, in label order. `null` uses the names in the data, or the labels if there are no names."""
    pixel_max: int = setting(255, ge=1, le=255)
    """Largest possible raw pixel value; pixels are divided by it, which scales them to 0..1."""


@register_dataset("npz")
@dataclass(kw_only=True, slots=True)
class Npz(UserArrays):
    """Your own images in an npz file with the arrays x_train, y_train, x_test, y_test and, optionally, class_names."""

    path: str | None = setting(None, identity=False)
    """Path of the npz file. Must be set."""

    def load(self, progress: bool) -> Dataset:  # noqa: ARG002 - no download, so no progress
        """Loads the file; see `DatasetConfig.load`."""
        file = self.find_path()
        arrays = load_cached_npz(file, ARRAY_NAMES, optional=[_CLASS_NAMES])
        names = arrays.pop(_CLASS_NAMES, None)
        if names is not None and (names.ndim != 1 or not np.issubdtype(names.dtype, np.str_)):
            raise DatasetError(f"{file}: {_CLASS_NAMES}: expected strings (classes,), got {names.dtype} {names.shape}")
        class_names = self.class_names or (None if names is None else [str(name) for name in names])
        return build_dataset(file.stem, arrays, str(file), class_names=class_names, pixel_max=self.pixel_max)


@register_dataset("idx")
@dataclass(kw_only=True, slots=True)
class Idx(UserArrays):
    """Your own images in a folder with four idx files, plain or gzipped, with the file names of MNIST."""

    path: str | None = setting(None, identity=False)
    """Path of the folder with the idx files. Must be set."""

    def load(self, progress: bool) -> Dataset:  # noqa: ARG002 - no download, so no progress
        """Loads the files; see `DatasetConfig.load`."""
        folder = self.find_path()
        if not folder.is_dir():
            raise DatasetError(f"dataset.path: expected a folder with idx files, got the file {folder}")
        arrays = [load_idx(_find_idx_file(folder, prefix)) for prefix in _IDX_FILE_PREFIXES]
        named = dict(zip(ARRAY_NAMES, arrays, strict=True))
        return build_dataset(folder.name, named, str(folder), class_names=self.class_names, pixel_max=self.pixel_max)


def _find_idx_file(folder: Path, prefix: str) -> Path:
    """Returns the only file whose name begins with a prefix; raises a DatasetError if there are none or several."""
    prefixes = (prefix, prefix.replace("t10k", "test"))
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name.startswith(prefixes))
    if len(files) != 1:
        names = ", ".join(path.name for path in files) or "none"
        raise DatasetError(f"{folder}: expected exactly one file {prefix}*, as in MNIST, got {names}")
    return files[0]

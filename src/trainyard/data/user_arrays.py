"""A user's own images: an npz file, or a folder of idx files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainyard.config.fields import setting
from trainyard.config.registry import register_dataset
from trainyard.config.schema import DatasetConfig
from trainyard.data.checks import assemble_dataset
from trainyard.data.dataset import Dataset
from trainyard.data.idx import read_own_idx
from trainyard.data.npz import read_npz
from trainyard.errors import DatasetError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
"""What a data set is made of, as Keras names it."""

_NAMES = "class_names"

IDX_FILES = {
    "x_train": "train-images",
    "y_train": "train-labels",
    "x_test": "t10k-images",
    "y_test": "t10k-labels",
}
"""How the names of the four idx files begin; ``test-`` is taken for ``t10k-`` too."""


@dataclass(kw_only=True, slots=True)
class OwnData(DatasetConfig):
    """Images that lie in a place of the user's."""

    path: str | None = setting(None, identity=False)
    """The folder or file with the images; it has to be named."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem where no path is given."""
        if not self.path:
            yield "path", "expected where the data lies, got nothing. Set dataset.path"

    def place(self) -> Path:
        """Returns the path.

        Raises:
            DatasetError: If there is nothing.
        """
        place = Path(self.path or "").expanduser()
        if not place.exists():
            raise DatasetError(f"dataset.path: expected {place} to be there, and there is no such file or folder")
        return place


@dataclass(kw_only=True, slots=True)
class OwnArrays(OwnData):
    """Images with numbers for labels."""

    class_names: list[str] | None = setting(None, nonempty=True)
    """One name per label, in label order; null: those that the data brings along, else the labels themselves."""
    pixel_max: int = setting(255, ge=1, le=255)
    """The largest value that a pixel can have."""


@register_dataset("npz")
@dataclass(kw_only=True, slots=True)
class Npz(OwnArrays):
    """Your own images in an npz file: x_train, y_train, x_test, y_test, and class_names if you like."""

    def load(self, progress: bool) -> Dataset:  # noqa: ARG002 - there is nothing to wait for
        """Loads the file; see `DatasetConfig.load`."""
        place = self.place()
        arrays = read_npz(place, ARRAYS, optional=[_NAMES])
        names = arrays.pop(_NAMES, None)
        if names is not None and (names.ndim != 1 or not np.issubdtype(names.dtype, np.str_)):
            raise DatasetError(f"{place}: {_NAMES}: expected texts, (classes,), got {names.dtype} {names.shape}")
        return assemble_dataset(
            place.stem,
            arrays,
            source=str(place),
            class_names=self.class_names or (None if names is None else [str(name) for name in names]),
            pixel_max=self.pixel_max,
        )


@register_dataset("idx")
@dataclass(kw_only=True, slots=True)
class Idx(OwnArrays):
    """Your own images in a folder of four idx files, gzipped or not, named as those of MNIST are."""

    def load(self, progress: bool) -> Dataset:  # noqa: ARG002 - there is nothing to wait for
        """Loads the files; see `DatasetConfig.load`."""
        place = self.place()
        if not place.is_dir():
            raise DatasetError(f"dataset.path: expected a folder with idx files, got the file {place}")
        arrays = {name: read_own_idx(_find(place, beginning)) for name, beginning in IDX_FILES.items()}
        return assemble_dataset(
            place.name, arrays, source=str(place), class_names=self.class_names, pixel_max=self.pixel_max
        )


def _find(folder: Path, beginning: str) -> Path:
    """Returns the one file whose name begins so."""
    beginnings = (beginning, beginning.replace("t10k", "test"))
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.name.startswith(beginnings))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DatasetError(f"{folder}: expected one file {beginning}*, as MNIST has it, found {names}")
    return found[0]

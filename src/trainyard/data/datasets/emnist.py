"""EMNIST: handwritten digits and letters in idx files, loaded from this machine or downloaded, and verified.

The digest, the classes and the names in the zip file are those of torchvision, `torchvision.datasets.EMNIST`.
"""

from __future__ import annotations

import math
import string
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from trainyard.config import register_dataset, setting
from trainyard.data.cached_files import load_cached
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.data.datasets.mnist_family import Arrays
from trainyard.data.datasets.published_file import DownloadableFile, PublishedFile
from trainyard.data.idx import check_idx_header, load_idx

_PARTS = ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")
_SIDE = 28

_DIGITS, _UPPER = tuple(string.digits), tuple(string.ascii_uppercase)
_MERGED = (*_DIGITS, *_UPPER, *"abdefghnqrt")
"""The classes in which the other lowercase letters are those of their uppercase forms."""
EMNIST_CLASSES = {
    "balanced": _MERGED,
    "byclass": (*_DIGITS, *_UPPER, *string.ascii_lowercase),
    "bymerge": _MERGED,
    "digits": _DIGITS,
    "letters": tuple(string.ascii_lowercase),
    "mnist": _DIGITS,
}
"""The classes of each data set of EMNIST, in label order."""


@register_dataset("emnist")
@dataclass(kw_only=True, slots=True)
class Emnist(DownloadableFile):
    """Handwritten digits and letters of 28 x 28 pixels (Cohen, Afshar, Tapson and van Schaik, 2017)."""

    split: str = setting("balanced", choices=tuple(EMNIST_CLASSES))
    """Name of one of the data sets of EMNIST."""
    mirrors: list[str] = setting(
        ["https://biometrics.nist.gov/cs_links/EMNIST", "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST"],
        nonempty=True,
        identity=False,
    )
    """Base URLs from which the zip file with all data sets of EMNIST (560 MB) is downloaded, tried in this order."""

    title: ClassVar[str] = "EMNIST"
    folder_names: ClassVar[tuple[str, ...]] = ("emnist", "EMNIST/raw")
    md5: ClassVar[str] = "58c8d27c78d21e728a6bc7b3cc06412e"

    @property
    def published(self) -> PublishedFile:
        """The zip file with all data sets of EMNIST."""
        return PublishedFile("gzip.zip", self.md5)

    @property
    def known_shape(self) -> tuple[tuple[int, ...], int]:
        """The shape of an image and the number of classes; see `DatasetConfig.known_shape`."""
        return (_SIDE, _SIDE), len(EMNIST_CLASSES[self.split])

    def load(self, progress: bool) -> Dataset:
        """Loads the data set from this machine, or downloads it; see `DatasetConfig.load`."""
        (x_train, y_train, x_test, y_test), source = self.load_local() or self.download_missing(progress)
        spec = DataSpec(x_train.shape[1:], EMNIST_CLASSES[self.split], pixel_max=255)
        return Dataset(f"emnist_{self.split}", spec, Split(x_train, y_train), Split(x_test, y_test), str(source))

    def read_arrays(self, path: Path) -> Arrays:
        """Reads the four idx files of a data set in the zip file. The cache is used as for large files of the user."""
        with zipfile.ZipFile(path) as archive:
            names = [f"gzip/emnist-{self.split}-{part}-ubyte.gz" for part in _PARTS]
            members = {part: zipfile.Path(archive, name) for part, name in zip(_PARTS, names, strict=True)}
            size = sum(math.prod(check_idx_header(member)[0]) for member in members.values())
            kind = ["emnist 1", self.split]
            arrays = load_cached(path, kind, size, lambda: {part: self._read(file) for part, file in members.items()})
        return [arrays[part] for part in _PARTS]

    def _read(self, file: zipfile.Path) -> NDArray[np.uint8]:
        """Reads images, which are stored with x and y swapped, or labels, which begin at 1 for letters."""
        array = load_idx(file)
        if array.ndim == 1:
            return array - np.uint8(1) if self.split == "letters" else array
        return np.ascontiguousarray(array.swapaxes(1, 2))

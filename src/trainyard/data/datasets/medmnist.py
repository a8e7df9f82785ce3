"""MedMNIST: small medical images in npz files, loaded from this machine or downloaded, and verified.

The digests, classes and the address are those of the package medmnist 3.0.2, https://github.com/MedMNIST/MedMNIST.
ChestMNIST is missing, because its images have several labels each.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.config import register_dataset, setting
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.data.datasets.mnist_family import DATA_DIR_VARIABLE, Arrays, DownloadableDataset
from trainyard.data.npz import load_npz
from trainyard.errors import DatasetError

_KEYS = ("train_images", "train_labels", "test_images", "test_labels", "val_images", "val_labels")
_SIDE = 28


class _Subset(NamedTuple):
    """The md5 digest of the npz file, whether its images are RGB, and its classes."""

    md5: str
    colour: bool
    class_names: tuple[str, ...]


_ORGANS = ("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left",
           "lung-right", "pancreas", "spleen")  # fmt: skip
SUBSETS = {
    "pathmnist": _Subset("a8b06965200029087d5bd730944a56c1", True, (
        "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
        "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
    )),
    "dermamnist": _Subset("0744692d530f8e62ec473284d019b0c7", True, (
        "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions",
        "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions",
    )),
    "octmnist": _Subset("c68d92d5b585d8d81f7112f81e2d0842", False, (
        "choroidal neovascularization", "diabetic macular edema", "drusen", "normal",
    )),
    "pneumoniamnist": _Subset("28209eda62fecd6e6a2d98b1501bb15f", False, ("normal", "pneumonia")),
    "retinamnist": _Subset("bd4c0672f1bba3e3a89f0e4e876791e4", True, ("0", "1", "2", "3", "4")),
    "breastmnist": _Subset("750601b1f35ba3300ea97c75c52ff8f6", False, ("malignant", "normal, benign")),
    "bloodmnist": _Subset("7053d0359d879ad8a5505303e11de1dc", True, (
        "basophil", "eosinophil", "erythroblast",
        "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)", "lymphocyte", "monocyte", "neutrophil",
        "platelet",
    )),
    "tissuemnist": _Subset("ebe78ee8b05294063de985d821c1c34b", False, (
        "Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule", "Glomerular endothelial cells",
        "Interstitial endothelial cells", "Leukocytes", "Podocytes", "Proximal Tubule Segments",
        "Thick Ascending Limb",
    )),
    "organamnist": _Subset("68e3f8846a6bd62f0c9bf841c0d9eacc", False, _ORGANS),
    "organcmnist": _Subset("b9ceb9546e10131b32923c5bbeaea2b1", False, _ORGANS),
    "organsmnist": _Subset("9ab87b696fb54e2a387ebe992d6ed5f1", False, _ORGANS),
}  # fmt: skip
"""The data sets of images with one label each."""


@register_dataset("medmnist")
@dataclass(kw_only=True, slots=True)
class Medmnist(DownloadableDataset):
    """Medical images of 28 x 28 pixels with training, validation and test images (Yang et al., 2023)."""

    subset: str = setting("pathmnist", choices=tuple(SUBSETS))
    """Name of one of the data sets of MedMNIST."""
    path: str | None = setting(None, identity=False)
    """Path of the npz file, or folder that contains it. `null` searches the usual folders, then downloads the file."""
    mirrors: list[str] = setting(["https://zenodo.org/records/10519652/files"], nonempty=True, identity=False)
    """Base URLs from which the npz file is downloaded, tried in this order."""

    title: ClassVar[str] = "MedMNIST"
    folder_names: ClassVar[tuple[str, ...]] = ("medmnist",)
    url_suffix: ClassVar[str] = "?download=1"

    @property
    def known_shape(self) -> tuple[tuple[int, ...], int]:
        """The shape of an image and the number of classes; see `DatasetConfig.known_shape`."""
        subset = SUBSETS[self.subset]
        return (_SIDE, _SIDE, *((3,) if subset.colour else ())), len(subset.class_names)

    @property
    def has_validation(self) -> bool:
        """Whether there will be validation images; see `DatasetConfig.has_validation`."""
        return True

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem if a mirror is not a URL, or validation images would be held out."""
        yield from DownloadableDataset.problems(self)
        if self.validation_fraction:
            message = f"expected 0, as MedMNIST contains validation images, got {self.validation_fraction}"
            yield "validation_fraction", message

    def load(self, progress: bool) -> Dataset:
        """Loads the data set from this machine, or downloads it; see `DatasetConfig.load`."""
        arrays, source = self.load_local() or self.download_missing(progress)
        train, test, validation = (Split(*arrays[start : start + 2]) for start in (0, 2, 4))
        spec = DataSpec(self.known_shape[0], SUBSETS[self.subset].class_names, pixel_max=255)
        return Dataset(self.subset, spec, train, test, str(source), validation=validation)

    def load_local(self) -> tuple[Arrays, Path] | None:
        """Loads the arrays of the npz file from the first location that has it; None if none has.

        The locations are `path` or, if it is None, $TRAINYARD_DATA_DIR, Trainyard's cache and that of the package
        medmnist. Damaged files in a cache are ignored. Elsewhere, they raise a DatasetError.
        """
        name = f"{self.subset}.npz"
        if self.path is not None:
            location = Path(self.path).expanduser()
            file = location / name if location.is_dir() else location
            if not file.is_file():
                raise DatasetError(
                    f"dataset.path: expected the file {name} or a folder with it, got {location}. Remove dataset.path "
                    "to search other folders or download"
                )
            return _load_verified(file, self.subset), file
        if data_dir := os.environ.get(DATA_DIR_VARIABLE):
            file = Path(data_dir).expanduser() / self.folder_names[0] / name
            if file.is_file():
                return _load_verified(file, self.subset), file
        for file in (self.cache / name, Path("~/.medmnist").expanduser() / name):
            with contextlib.suppress(DatasetError):
                if file.is_file():
                    return _load_verified(file, self.subset), file
        return None

    def download_missing(self, progress: bool) -> tuple[Arrays, Path]:
        """Downloads the npz file to the cache, and loads it; see `DownloadableDataset.download_missing`."""
        file = self.cache / f"{self.subset}.npz"
        return self.download(file, lambda path: _load_verified(path, self.subset), progress), file

    def find_damaged_downloads(self) -> Iterator[tuple[Path, DatasetError]]:
        """Yields each file in the cache that differs from the published file, with the error."""
        for subset in SUBSETS:
            file = self.cache / f"{subset}.npz"
            if file.is_file():
                try:
                    _check_digest(file, subset)
                except DatasetError as error:
                    yield file, error


def _load_verified(path: Path, subset: str) -> Arrays:
    """Loads the arrays of a published npz file, in the order of `_KEYS`: images, and labels as uint8 (n,).

    Raises a DatasetError if the file differs from the published one.
    """
    _check_digest(path, subset)
    arrays = load_npz(path, _KEYS)
    return [_select_column(arrays[key]) if key.endswith("labels") else arrays[key] for key in _KEYS]


def _select_column(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Returns labels, (n, 1), as uint8 (n,)."""
    return labels[:, 0].astype(np.uint8)


def _check_digest(path: Path, subset: str) -> None:
    """Raises a DatasetError if a file can't be read or differs from the published npz file."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise DatasetError(f"{path}: expected {subset}.npz; it can't be read: {error}") from error
    if digest != SUBSETS[subset].md5:
        raise DatasetError(f"{path}: expected {subset}.npz with md5 {SUBSETS[subset].md5}, got {digest}")

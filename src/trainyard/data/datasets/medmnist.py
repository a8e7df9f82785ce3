"""MedMNIST: small medical images in npz files, loaded from this machine or downloaded, and verified.

The digests, classes and the address are those of the package medmnist 3.0.2, https://github.com/MedMNIST/MedMNIST.
ChestMNIST is missing, because its images have several labels each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from trainyard.config import register_dataset, setting
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.data.datasets.mnist_family import Arrays
from trainyard.data.datasets.published_file import DownloadableFile, PublishedFile
from trainyard.data.npz import load_npz

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
class Medmnist(DownloadableFile):
    """Medical images of 28 x 28 pixels with training, validation and test images (Yang et al., 2023)."""

    subset: str = setting("pathmnist", choices=tuple(SUBSETS))
    """Name of one of the data sets of MedMNIST."""
    mirrors: list[str] = setting(["https://zenodo.org/records/10519652/files"], nonempty=True, identity=False)
    """Base URLs from which the npz file is downloaded, tried in this order."""

    title: ClassVar[str] = "MedMNIST"
    folder_names: ClassVar[tuple[str, ...]] = ("medmnist",)
    package_folder: ClassVar[str | None] = "~/.medmnist"
    url_suffix: ClassVar[str] = "?download=1"

    @property
    def published(self) -> PublishedFile:
        """The npz file of the subset."""
        return PublishedFile(f"{self.subset}.npz", SUBSETS[self.subset].md5)

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
        yield from DownloadableFile.problems(self)
        if self.validation_fraction:
            message = f"expected 0, as MedMNIST contains validation images, got {self.validation_fraction}"
            yield "validation_fraction", message

    def load(self, progress: bool) -> Dataset:
        """Loads the data set from this machine, or downloads it; see `DatasetConfig.load`."""
        arrays, source = self.load_local() or self.download_missing(progress)
        train, test, validation = (Split(*arrays[start : start + 2]) for start in (0, 2, 4))
        spec = DataSpec(self.known_shape[0], SUBSETS[self.subset].class_names, pixel_max=255)
        return Dataset(self.subset, spec, train, test, str(source), validation=validation)

    def read_arrays(self, path: Path) -> Arrays:
        """Reads the arrays of the npz file, in the order of `_KEYS`: images, and labels as uint8 (n,)."""
        arrays = load_npz(path, _KEYS)
        return [arrays[key][:, 0].astype(np.uint8) if key.endswith("labels") else arrays[key] for key in _KEYS]

    def list_downloads(self) -> Iterator[tuple[Path, Callable[[Path], object]]]:
        """Yields the npz file of each subset; see `DownloadableDataset.list_downloads`."""
        for subset in SUBSETS:
            yield from DownloadableFile.list_downloads(replace(self, subset=subset))

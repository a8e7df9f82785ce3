"""Image files as a data set: a folder per split, or none, with a subfolder per class."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainyard.config import register_dataset, setting
from trainyard.data.checks import check_labels
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.data.datasets.user_arrays import UserData
from trainyard.data.image_files import load_image
from trainyard.data.image_layout import has_validation_folder
from trainyard.data.image_listing import list_images
from trainyard.data.memory import check_memory
from trainyard.errors import DatasetError

if TYPE_CHECKING:
    from trainyard.data.image_listing import ImageListing


@register_dataset("image_folder")
@dataclass(kw_only=True, slots=True)
class ImageFolder(UserData):
    """Your own image files in PATH/train/CLASS/ and PATH/test/CLASS/, or in PATH/CLASS/, resized to one size."""

    path: str | None = setting(None, identity=False)
    """Path of the folder with the folders `train`, `test` and, optionally, `val`, or with a folder per class. Must be
    set."""
    height: int = setting(32, ge=1)
    """Height of all images, in pixels. Images of another size are resized; their aspect ratio may change."""
    width: int = setting(32, ge=1)
    """Width of all images, in pixels. Images of another size are resized; their aspect ratio may change."""
    colour: bool = setting(True)
    """Whether to load images as RGB (3 channels); `false` converts them to grayscale."""
    test_fraction: float | None = setting(None, gt=0, lt=1, hash_default=False)
    """Fraction of the training images that becomes the test set, stratified by class. It is the same for every `seed`.
    Required if there is no folder `test`; otherwise it must be `null`."""
    on_bad_file: str = setting("error", choices=("error", "skip"), hash_default=False)
    """What to do with files that are no images or are damaged. `error` reports all of them and trains nothing; `skip`
    leaves them out and reports their number."""

    @property
    def has_validation(self) -> bool:
        """Whether `validation_fraction` is set, or the folder contains validation images."""
        return self.validation_fraction > 0 or has_validation_folder(self._root)

    def check_files(self) -> None:
        """Lists the files, and checks everything that does not require decoding; see `list_images`."""
        listing = self._list_files()
        if self.on_bad_file == "error":
            listing.check_contents()
        size = sum(min(len(split), self.limit or len(split)) for split in listing.splits.values())
        self._check_memory(size)

    def load(self, progress: bool) -> Dataset:
        """Loads the images; see `DatasetConfig.load`. The classes are the subfolders, in natural order."""
        return self._load_listing(self._list_files(), progress)

    def load_limited(self, seed: int, progress: bool) -> Dataset:
        """Loads only the images that `limit` selects; see `DatasetConfig.load_limited`."""
        listing = self._list_files()
        if self.limit is None:
            return self._load_listing(listing, progress)
        return replace(self._load_listing(listing.limit(self.limit, seed), progress), limited=True)

    @property
    def _root(self) -> Path:
        """The folder of the data set."""
        return Path(self.path or "").expanduser()

    @property
    def _shape(self) -> tuple[int, ...]:
        """The shape of an image."""
        return (self.height, self.width, *((3,) if self.colour else ()))

    def _list_files(self) -> ImageListing:
        """Returns the files of the data set; raises a DatasetError with all problems."""
        listing = list_images(self._root, test_fraction=self.test_fraction, skip_bad_files=self.on_bad_file == "skip")
        if "validation" in listing.splits and self.validation_fraction:
            raise DatasetError(
                f"dataset.validation_fraction: expected 0, as {self._root} contains a folder with validation images, "
                f"got {self.validation_fraction:g}"
            )
        return listing

    def _check_memory(self, images: int) -> None:
        """Raises a DatasetError if this number of images does not fit into the available memory."""
        shape = " x ".join(map(str, self._shape))
        check_memory(
            images * math.prod(self._shape),
            f"{self._root}: {images:,} images of {shape}",
            "Set a smaller dataset.height and dataset.width, or dataset.limit",
        )

    def _load_listing(self, listing: ImageListing, progress: bool) -> Dataset:  # noqa: ARG002
        """Decodes the files of a listing."""
        self._check_memory(len(listing))
        splits = {
            name: Split(
                self._load_images([listing.root / file.name for file in split.files]),
                check_labels(split.labels, f"{listing.root}: {name}"),
            )
            for name, split in listing.splits.items()
        }
        return Dataset(
            listing.root.name,
            DataSpec(self._shape, listing.class_names, pixel_max=255),
            splits["train"],
            splits["test"],
            str(listing.root),
            validation=splits.get("validation"),
            notices=listing.skipped,
        )

    def _load_images(self, paths: Sequence[Path]) -> NDArray[np.uint8]:
        """Loads image files in parallel: uint8 (n, height, width, 3) if `colour`, else (n, height, width)."""
        images = np.empty((len(paths), *self._shape), np.uint8)
        load = functools.partial(load_image, colour=self.colour, size=(self.height, self.width))
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes outside the GIL
            for index, image in enumerate(pool.map(load, paths)):
                images[index] = image
        return images

"""Image files as a data set: a folder per split, or none, with a subfolder per class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from trainyard.config import register_dataset, setting
from trainyard.data.array_cache import SIZE_VARIABLE, fits_cache
from trainyard.data.checks import check_labels
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.data.datasets.user_arrays import UserData
from trainyard.data.image_decoding import ImageFormat, is_decoded, load_listing
from trainyard.data.image_layout import has_validation_folder
from trainyard.data.image_listing import ImageListing, list_images
from trainyard.data.memory import check_memory
from trainyard.errors import DatasetError


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
    on_bad_file: str = setting("error", choices=("error", "skip"), hash_default=False)
    """What to do with files that are not images or are damaged. `error` reports all of them and trains nothing; `skip`
    leaves them out and reports their number."""

    @property
    def has_validation(self) -> bool:
        """Whether `validation_fraction` is set, or the folder contains validation images."""
        return self.validation_fraction > 0 or has_validation_folder(self._root)

    def check_files(self) -> None:
        """Lists the files, and checks everything that does not require decoding; see `list_images`."""
        listing = self._list_files()
        if self.on_bad_file == "error" and not is_decoded(listing, self._format):
            listing.check_contents()
        count = sum(min(len(split), self.limit or len(split)) for split in listing.splits.values())
        self._check_memory(listing, count)

    def load(self, progress: bool) -> Dataset:
        """Loads all images; see `DatasetConfig.load`. The classes are the subfolders, in natural order."""
        return self._load_images(self._list_files(), None, progress)

    def load_limited(self, seed: int, progress: bool) -> Dataset:
        """Loads only the images that `limit` selects; see `DatasetConfig.load_limited`."""
        listing = self._list_files()
        return self._load_images(listing, listing.limit(self.limit, seed) if self.limit else None, progress)

    @property
    def _root(self) -> Path:
        """The folder of the data set."""
        return Path(self.path or "").expanduser()

    @property
    def _format(self) -> ImageFormat:
        """The size and the colours of the images."""
        return ImageFormat(self.height, self.width, self.colour)

    def _list_files(self) -> ImageListing:
        """Returns the files of the data set; raises a DatasetError with all problems."""
        listing = list_images(self._root, test_fraction=self.test_fraction, skip_bad_files=self.on_bad_file == "skip")
        if "validation" in listing.splits and self.validation_fraction:
            raise DatasetError(
                f"dataset.validation_fraction: expected 0, as {self._root} contains a folder with validation images, "
                f"got {self.validation_fraction:g}"
            )
        return listing

    def _check_memory(self, listing: ImageListing, images: int) -> None:
        """Raises a DatasetError if this number of images fits neither into the available memory nor into the cache."""
        shape = self._format.shape
        size = images * math.prod(shape)
        if self.memory != "memory" and (is_decoded(listing, self._format) or fits_cache(size)):
            return  # they are read from the cache
        check_memory(
            size,
            f"{self._root}: {images:,} images of {' x '.join(map(str, shape))}",
            "Set a smaller dataset.height and dataset.width, or dataset.limit; or dataset.memory=auto, which needs "
            f"this space in the cache of decoded images ({SIZE_VARIABLE}) and on its disk",
        )

    def _load_images(self, listing: ImageListing, part: ImageListing | None, progress: bool) -> Dataset:
        """Loads the images of a listing, or only a part of them."""
        self._check_memory(part or listing, len(part or listing))
        skip = self.on_bad_file == "skip"
        loaded = load_listing(listing, self._format, skip_bad_files=skip, part=part, progress=progress)
        splits = {
            name: Split(images, check_labels(loaded.listing.splits[name].labels, f"{listing.root}: {name}"))
            for name, images in loaded.images.items()
        }
        return Dataset(
            name=listing.root.name,
            spec=DataSpec(self._format.shape, listing.class_names, pixel_max=255),
            train=splits["train"],
            test=splits["test"],
            source=str(listing.root),
            validation=splits.get("validation"),
            limited=part is not None,
            notices=loaded.notices,
        )

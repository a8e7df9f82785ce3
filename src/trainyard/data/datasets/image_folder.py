"""Image files as a data set: the folders ``train/`` and ``test/``, with a subfolder per class."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainyard.config import register_dataset, setting
from trainyard.data.array_dataset import build_dataset
from trainyard.data.checks import MAX_CLASSES
from trainyard.data.datasets.user_arrays import UserData
from trainyard.data.image_files import IMAGE_SUFFIXES, load_image
from trainyard.errors import DatasetError

if TYPE_CHECKING:
    from trainyard.data.dataset import Dataset


@register_dataset("image_folder")
@dataclass(kw_only=True, slots=True)
class ImageFolder(UserData):
    """Your own PNG and JPEG files in PATH/train/CLASS/ and PATH/test/CLASS/, resized to one size."""

    path: str | None = setting(None, identity=False)
    """Path of the folder that contains the folders `train` and `test`. Must be set."""
    height: int = setting(32, ge=1)
    """Height of all images, in pixels. Images of another size are resized; their aspect ratio may change."""
    width: int = setting(32, ge=1)
    """Width of all images, in pixels. Images of another size are resized; their aspect ratio may change."""
    colour: bool = setting(True)
    """Whether to load images as RGB (3 channels); `false` converts them to grayscale."""

    def load(self, progress: bool) -> Dataset:  # noqa: ARG002 - no download, so no progress
        """Loads the images; see `DatasetConfig.load`. The classes are the subfolders of ``train/``, sorted by name."""
        root = self.find_path()
        classes = _list_classes(root / "train", minimum=2)
        if unknown := set(_list_classes(root / "test", minimum=1)) - set(classes):
            raise DatasetError(
                f"{root / 'test'}: expected the class folders of {root / 'train'}, got {min(unknown)!r} in addition"
            )
        arrays: dict[str, NDArray[np.uint8]] = {}
        for part in ("train", "test"):
            files = [(path, label) for label, name in enumerate(classes) for path in _list_images(root / part / name)]
            if not files:
                raise DatasetError(f"{root / part}: expected PNG or JPEG files in the class folders, got none")
            arrays[f"x_{part}"] = self._load_images([path for path, _ in files])
            arrays[f"y_{part}"] = np.array([label for _, label in files], np.uint8)
        return build_dataset(root.name, arrays, str(root), class_names=classes)

    def _load_images(self, paths: Sequence[Path]) -> NDArray[np.uint8]:
        """Loads image files in parallel: uint8 (n, height, width, 3) if `colour`, else (n, height, width)."""
        shape = (len(paths), self.height, self.width, *((3,) if self.colour else ()))
        images = np.empty(shape, np.uint8)
        load = functools.partial(load_image, colour=self.colour, size=shape[1:3])
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes outside the GIL
            for index, image in enumerate(pool.map(load, paths)):
                images[index] = image
        return images


def _list_classes(folder: Path, minimum: int) -> list[str]:
    """Returns the names of the subfolders of a folder, sorted; raises a DatasetError if there are too few or many."""
    if not folder.is_dir():
        raise DatasetError(f"dataset.path: expected the folder {folder} with a subfolder per class; it does not exist")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not minimum <= len(names) <= MAX_CLASSES:
        raise DatasetError(f"{folder}: expected {minimum} to {MAX_CLASSES} subfolders, one per class, got {len(names)}")
    return names


def _list_images(folder: Path) -> Iterator[Path]:
    """Yields the image files of a class, sorted by name; none if the folder does not exist."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or path.name in ("Thumbs.db", "desktop.ini"):  # of operating systems
            continue
        if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
            raise DatasetError(f"{path}: expected an image file, {', '.join(IMAGE_SUFFIXES)}. Move other files away")
        yield path

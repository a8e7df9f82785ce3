"""A folder of pictures: ``train/`` and ``test/``, in each a folder per class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainyard.config.fields import setting
from trainyard.config.registry import register_dataset
from trainyard.data.checks import MOST_CLASSES, assemble_dataset
from trainyard.data.image_files import SUFFIXES, read_picture
from trainyard.data.user_arrays import OwnData
from trainyard.errors import DatasetError

if TYPE_CHECKING:
    from trainyard.data.dataset import Dataset

_NOT_MEANT = ("Thumbs.db", "desktop.ini")
"""What systems put into folders; hidden files are passed over too."""


@register_dataset("image_folder")
@dataclass(kw_only=True, slots=True)
class ImageFolder(OwnData):
    """Your own pictures, PNG or JPEG: PATH/train/CLASS/... and PATH/test/CLASS/..., resized to one size."""

    height: int = setting(32, ge=1)
    """The height in pixels that all images get; those of another size are resized, whatever their proportions."""
    width: int = setting(32, ge=1)
    """The width in pixels that all images get."""
    colour: bool = setting(True)
    """Whether images keep red, green and blue; else they are made grey."""

    def load(self, progress: bool) -> Dataset:  # noqa: ARG002 - there is nothing to wait for
        """Loads the pictures; see `DatasetConfig.load`. Classes are the folders of ``train/``, sorted by name."""
        place = self.place()
        classes = _classes(place / "train", least=2)
        if strangers := set(_classes(place / "test", least=1)) - set(classes):
            raise DatasetError(
                f"{place / 'test'}: expected the classes of {place / 'train'}, and {min(strangers)!r} is none"
            )
        arrays: dict[str, NDArray[np.uint8]] = {}
        for part in ("train", "test"):
            found = [(path, label) for label, name in enumerate(classes) for path in _pictures(place / part / name)]
            if not found:
                raise DatasetError(f"{place / part}: expected pictures, found none")
            arrays[f"x_{part}"] = self._read([path for path, _ in found])
            arrays[f"y_{part}"] = np.array([label for _, label in found], np.uint8)
        return assemble_dataset(place.name, arrays, source=str(place), class_names=classes)

    def _read(self, paths: Sequence[Path]) -> NDArray[np.uint8]:
        """Reads pictures: uint8 (n, height, width, 3), or (n, height, width) of grey ones."""
        shape = (len(paths), self.height, self.width, *((3,) if self.colour else ()))
        images = np.empty(shape, np.uint8)

        def read(index: int) -> None:
            images[index] = read_picture(paths[index], colour=self.colour, size=(self.height, self.width))

        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes outside the GIL
            for _ in pool.map(read, range(len(paths))):
                pass
        return images


def _classes(folder: Path, least: int) -> list[str]:
    """Returns the names of the folders in a folder, sorted."""
    if not folder.is_dir():
        raise DatasetError(f"dataset.path: expected a folder {folder}, with a folder per class, and there is none")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not least <= len(names) <= MOST_CLASSES:
        raise DatasetError(f"{folder}: expected {least} to {MOST_CLASSES} folders, one per class, found {len(names)}")
    return names


def _pictures(folder: Path) -> Iterator[Path]:
    """Yields the pictures of a class, sorted by name; a class that is not tested has none."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or path.name in _NOT_MEANT:
            continue
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            raise DatasetError(f"{path}: expected a picture, {', '.join(SUFFIXES)}. Put other things elsewhere")
        yield path

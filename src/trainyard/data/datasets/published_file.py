"""The base of data sets that are published as one file: loaded from this machine or downloaded, and verified."""

from __future__ import annotations

import contextlib
import hashlib
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from trainyard.config import setting
from trainyard.data.datasets.mnist_family import DATA_DIR_VARIABLE, Arrays, DownloadableDataset
from trainyard.errors import DatasetError


class PublishedFile(NamedTuple):
    """The name and the md5 digest of a published file."""

    name: str
    md5: str

    def verify(self, path: Path) -> None:
        """Raises a DatasetError if a file can't be read or differs from the published one."""
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        except OSError as error:
            raise DatasetError(f"{path}: expected {self.name}; it can't be read: {error}") from error
        if digest != self.md5:
            raise DatasetError(f"{path}: expected {self.name} with md5 {self.md5}, got {digest}")


@dataclass(kw_only=True, slots=True)
class DownloadableFile(DownloadableDataset):
    """The base of data sets that are published as one file, of which the md5 digest is known."""

    path: str | None = setting(None, identity=False)
    """Path of the file, or folder that contains it. `null` searches the usual folders, then downloads the file."""

    package_folder: ClassVar[str | None] = None
    """The folder in which another package stores the file."""

    @property
    @abstractmethod
    def published(self) -> PublishedFile:
        """The file with the data."""

    @abstractmethod
    def read_arrays(self, path: Path) -> Arrays:
        """Reads the arrays of a verified file."""

    def load_local(self) -> tuple[Arrays, Path] | None:
        """Loads the arrays of the file from the first location that has it; None if none has.

        The locations are `path` or, if it is None, $TRAINYARD_DATA_DIR, Trainyard's cache and the folder of another
        package. Damaged files in a cache are ignored. Elsewhere, they raise a DatasetError.
        """
        name = self.published.name
        if self.path is not None:
            location = Path(self.path).expanduser()
            file = location / name if location.is_dir() else location
            if not file.is_file():
                raise DatasetError(
                    f"dataset.path: expected the file {name} or a folder with it, got {location}. Remove dataset.path "
                    "to search other folders or download"
                )
            return self._load_verified(file), file
        if data_dir := os.environ.get(DATA_DIR_VARIABLE):
            for folder in self.folder_names:
                file = Path(data_dir).expanduser() / folder / name
                if file.is_file():
                    return self._load_verified(file), file
        for cache in (self.cache, *([Path(self.package_folder).expanduser()] if self.package_folder else [])):
            with contextlib.suppress(DatasetError):
                if (cache / name).is_file():
                    return self._load_verified(cache / name), cache / name
        return None

    def download_missing(self, progress: bool) -> tuple[Arrays, Path]:
        """Downloads the file to the cache, and loads it; see `DownloadableDataset.download_missing`."""
        file = self.cache / self.published.name
        return self.download(file, self._load_verified, progress), file

    def list_downloads(self) -> Iterator[tuple[Path, Callable[[Path], object]]]:
        """Yields the path of the file in the cache and what verifies it; see `DownloadableDataset.list_downloads`."""
        yield self.cache / self.published.name, self.published.verify

    def _load_verified(self, path: Path) -> Arrays:
        """Loads the arrays of a file; raises a DatasetError if it differs from the published one."""
        self.published.verify(path)
        return self.read_arrays(path)

"""Published data sets in idx files: loaded from this machine or downloaded, and verified each time they are loaded."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainyard.config import DatasetConfig, register_dataset, setting
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.data.idx import IdxFile, load_verified_idx, load_verified_npz_array
from trainyard.data.npz import ARRAY_NAMES
from trainyard.errors import DatasetError, summarize_error

DOWNLOAD_TIMEOUT_SECONDS = (5.0, 30.0)
"""The timeouts for connecting to a mirror, and for waiting for its next bytes."""

DATA_DIR_VARIABLE = "TRAINYARD_DATA_DIR"
"""The environment variable with the path of a folder of data sets. MNIST may be in the folder or in a subfolder."""

_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_SHAPES = ((60000, 28, 28), (60000,), (10000, 28, 28), (10000,))

Arrays = list[NDArray[np.uint8]]
"""Training images, training labels, test images, test labels; and validation images and labels, if there are any."""

_Loaded = TypeVar("_Loaded")


def _build_files(kind: str, *digests: str) -> tuple[IdxFile, ...]:
    """Returns the files of 60,000 training and 10,000 test images. `kind` is the `IdxFile` field of the digests."""
    parts = zip(_NAMES, _SHAPES, ARRAY_NAMES, digests, strict=True)
    return tuple(IdxFile(name, shape, npz_key=key, **{kind: digest}) for name, shape, key, digest in parts)


@dataclass(kw_only=True, slots=True)
class DownloadableDataset(DatasetConfig):
    """The base of data sets that are published as four idx files, or as other files if methods are overridden."""

    path: str | None = setting(None, identity=False)
    """Folder with the four idx files. `null` searches the usual folders, then downloads the files."""
    mirrors: list[str] = setting([], nonempty=True, identity=False)
    """Base URLs from which the gzipped idx files are downloaded, tried in this order."""

    title: ClassVar[str] = ""
    """The name of the data set, as its authors write it."""
    files: ClassVar[tuple[IdxFile, ...]] = ()
    """Training images, training labels, test images, test labels."""
    class_names: ClassVar[tuple[str, ...]] = ()
    folder_names: ClassVar[tuple[str, ...]] = ()
    """The subfolders in which it may be found in a folder of data sets. Trainyard's cache uses the first one."""
    npz: ClassVar[str | None] = None
    """The name of the npz file in which Keras stores the data set; None if Keras stores it as idx files."""
    url_suffix: ClassVar[str] = ""
    """What follows the name of a file in its URL."""
    without_folder: ClassVar[bool] = False
    """Whether its files may be directly in $TRAINYARD_DATA_DIR. The file names of all these data sets are the same."""

    @property
    def known_shape(self) -> tuple[tuple[int, ...], int]:
        """The shape of an image and the number of classes; see `DatasetConfig.known_shape`."""
        return self.files[0].shape[1:], len(self.class_names)

    def load(self, progress: bool) -> Dataset:
        """Loads the data set from this machine, or downloads it; see `DatasetConfig.load`."""
        (x_train, y_train, x_test, y_test), source = self.load_local() or self.download_missing(progress)
        spec = DataSpec(x_train.shape[1:], self.class_names, pixel_max=255)
        return Dataset(self.name, spec, Split(x_train, y_train), Split(x_test, y_test), str(source))

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem if a mirror is not an http or https URL."""
        if invalid := [mirror for mirror in self.mirrors if not mirror.startswith(("http://", "https://"))]:
            yield "mirrors", f"expected URLs that begin with http:// or https://, got {invalid[0]!r}"

    @property
    def cache(self) -> Path:
        """The folder in Trainyard's cache to which the data set is downloaded."""
        import pooch

        return Path(pooch.os_cache("trainyard")) / self.folder_names[0]

    def load_local(self) -> tuple[Arrays, Path] | None:
        """Loads the data set from the first location on this machine that has all of it; returns None if none has.

        The locations are `path` or, if it is None, $TRAINYARD_DATA_DIR, Trainyard's cache and Keras's cache. Damaged
        files in a cache are ignored. Elsewhere, damaged or missing files raise a DatasetError, as does a `path` without
        the data set.
        """
        if self.path is not None:
            location = Path(self.path).expanduser()
            if local := self._load_from(location):
                return local
            reason = "it does not exist" if not location.exists() else "the files are missing"
            form = f" (plain or gzipped) or {self.npz}" if self.npz else " (gzipped)"
            raise DatasetError(
                f"dataset.path: expected the four {self.title} idx files{form} in {location} or in its subfolder "
                f"{self.folder_names[0]}; {reason}. Remove dataset.path to search other folders or download"
            )
        data_dir = os.environ.get(DATA_DIR_VARIABLE)
        if data_dir and (local := self._load_from(Path(data_dir).expanduser(), include_root=self.without_folder)):
            return local
        keras_cache = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets"
        for cache, include_root in ((self.cache, True), (keras_cache, self.without_folder)):
            with contextlib.suppress(DatasetError):
                if local := self._load_from(cache, include_root=include_root):
                    return local
        return None

    def download_missing(self, progress: bool) -> tuple[Arrays, Path]:
        """Loads the data set from the cache, after downloading the files that are missing or damaged there.

        A damaged file is replaced atomically, only after the download was verified. Raises a DatasetError, with the
        error of each mirror, if a file can't be downloaded from any.
        """
        return [self._load_or_download(file, progress) for file in self.files], self.cache

    def find_damaged_downloads(self) -> Iterator[tuple[Path, DatasetError]]:
        """Yields each file in the cache that differs from the published file, with the error."""
        for path, verify in self.list_downloads():
            if path.is_file():
                try:
                    verify(path)
                except DatasetError as error:
                    yield path, error

    def list_downloads(self) -> Iterator[tuple[Path, Callable[[Path], object]]]:
        """Yields the path of each file in the cache, and a function that raises a DatasetError if it is damaged."""
        for file in self.files:
            yield self.cache / f"{file.name}.gz", partial(load_verified_idx, expected=file)

    def _load_from(self, location: Path, *, include_root: bool = True) -> tuple[Arrays, Path] | None:
        """Loads the data set from an npz file, a folder (if `include_root`) or the known subfolders; None if absent."""
        if location.is_file():
            if not self.npz:
                raise DatasetError(
                    f"dataset.path: expected a folder with the four {self.title} idx files, got the file {location}"
                )
            return [load_verified_npz_array(location, file) for file in self.files], location
        for folder in (*([location] if include_root else []), *(location / name for name in self.folder_names)):
            paths = [_find_idx_file(folder, file) for file in self.files]
            if existing := [path for path in paths if path is not None]:
                if len(existing) != len(self.files):
                    missing = self.files[paths.index(None)].name
                    raise DatasetError(
                        f"{folder}: expected all four {self.title} files, got {len(existing)}; {missing} is missing"
                    )
                return [load_verified_idx(path, file) for path, file in zip(existing, self.files, strict=True)], folder
            if self.npz and (npz := folder / self.npz).is_file():
                return [load_verified_npz_array(npz, file) for file in self.files], npz
        return None

    def _load_or_download(self, file: IdxFile, progress: bool) -> NDArray[np.uint8]:
        """Loads a file from the cache. If it is missing or damaged there, first downloads and verifies it."""
        cached = self.cache / f"{file.name}.gz"
        if cached.is_file():
            with contextlib.suppress(DatasetError):
                return load_verified_idx(cached, file)
        return self.download(cached, lambda path: load_verified_idx(path, file), progress)

    def download(self, cached: Path, load: Callable[[Path], _Loaded], progress: bool) -> _Loaded:
        """Downloads a file to the cache, and returns what `load` loads from it.

        `load` raises a DatasetError if the file is damaged; then, a file in the cache is not replaced. Raises a
        DatasetError, with the error of each mirror, if no mirror has the file.
        """
        import pooch
        import requests

        failures, cache = [], cached.parent
        pooch.get_logger().setLevel("WARNING")
        cache.mkdir(parents=True, exist_ok=True)
        download: Callable[..., str] = pooch.HTTPDownloader(progressbar=progress, timeout=DOWNLOAD_TIMEOUT_SECONDS)
        for mirror in self.mirrors:
            url = f"{mirror.rstrip('/')}/{cached.name}{self.url_suffix}"
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                try:
                    path = Path(pooch.retrieve(url, None, fname=cached.name, path=folder, downloader=download))
                    loaded = load(path)
                except (requests.RequestException, OSError, ValueError, DatasetError) as error:
                    failures.append(f"  {url}: {summarize_error(error).replace(folder + os.sep, '')}")
                    continue
                path.replace(cached)
                return loaded
        files = "four files" if self.files else f"file {cached.name}"
        files += f" (or Keras's {self.npz})" if self.npz else ""
        raise DatasetError(
            f"{self.title} is not on this machine, and {cached.name} could not be downloaded:\n"
            + "\n".join(failures)
            + f"\nChoose one: put the {files} in a folder and set dataset.path or {DATA_DIR_VARIABLE} to it; copy them "
            f"to {cache}; set a mirror that you can reach, dataset.mirrors=[https://...]; or use dataset=digits, which "
            "needs no download"
        )


@register_dataset("mnist")
@dataclass(kw_only=True, slots=True)
class Mnist(DownloadableDataset):
    """70,000 handwritten digits of 28 x 28 pixels (LeCun, Cortes and Burges, 1998)."""

    path: str | None = setting(None, identity=False)
    """Folder with the four idx files or with Keras's `mnist.npz`, or the path of this npz file. `null` searches the
    usual folders, then downloads the files."""
    mirrors: list[str] = setting(
        ["https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"],
        nonempty=True,
        identity=False,
    )

    title: ClassVar[str] = "MNIST"
    files: ClassVar[tuple[IdxFile, ...]] = _build_files(
        "sha256",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    )
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    folder_names: ClassVar[tuple[str, ...]] = ("mnist", "MNIST/raw")
    npz: ClassVar[str | None] = "mnist.npz"
    without_folder: ClassVar[bool] = True


@register_dataset("fashion_mnist")
@dataclass(kw_only=True, slots=True)
class FashionMnist(DownloadableDataset):
    """70,000 grayscale images of clothing, of 28 x 28 pixels (Xiao, Rasul and Vollgraf, 2017)."""

    mirrors: list[str] = setting(
        [
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        ],
        nonempty=True,
        identity=False,
    )

    title: ClassVar[str] = "Fashion-MNIST"
    files: ClassVar[tuple[IdxFile, ...]] = _build_files(
        "gz_md5",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    )
    class_names: ClassVar[tuple[str, ...]] = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    folder_names: ClassVar[tuple[str, ...]] = ("fashion_mnist", "fashion-mnist", "FashionMNIST/raw")


@register_dataset("kmnist")
@dataclass(kw_only=True, slots=True)
class Kmnist(DownloadableDataset):
    """70,000 handwritten cursive Japanese characters (ten Hiragana), of 28 x 28 pixels (Clanuwat et al., 2018)."""

    mirrors: list[str] = setting(
        ["https://codh.rois.ac.jp/kmnist/dataset/kmnist", "http://codh.rois.ac.jp/kmnist/dataset/kmnist"],
        nonempty=True,
        identity=False,
    )

    title: ClassVar[str] = "KMNIST"
    files: ClassVar[tuple[IdxFile, ...]] = _build_files(
        "gz_md5",
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    )
    class_names: ClassVar[tuple[str, ...]] = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    folder_names: ClassVar[tuple[str, ...]] = ("kmnist", "KMNIST/raw")


def _find_idx_file(folder: Path, file: IdxFile) -> Path | None:
    """Returns the path of an idx file in a folder, under the first of its usual names that exists, or None."""
    dotted = file.name.replace("-idx", ".idx")  # some archive programs rename the files like this
    names = (f"{file.name}.gz", file.name, f"{dotted}.gz", dotted)
    return next((folder / name for name in names if (folder / name).is_file()), None)

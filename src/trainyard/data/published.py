"""Published data sets of four idx files: found where they lie, else downloaded, and verified at every load."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from trainyard.config.fields import setting
from trainyard.config.registry import register_dataset
from trainyard.config.schema import DatasetConfig
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.data.idx import IdxFile, read_idx, read_npz_member
from trainyard.errors import DatasetError, in_one_line

PATIENCE_SECONDS = (5.0, 30.0)
"""How long a mirror may take to be reached, and then to send anything more."""

DATA_VARIABLE = "TRAINYARD_DATA_DIR"
"""A folder with data sets, or with a folder for each."""

_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_SHAPES = ((60000, 28, 28), (60000,), (10000, 28, 28), (10000,))
_NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")

Arrays = list[NDArray[np.uint8]]
"""Training images, training labels, test images, test labels."""


def _files(digest: str, digests: Sequence[str], npz_keys: Sequence[str | None] = (None,) * 4) -> tuple[IdxFile, ...]:
    """Returns the four files of a set with 60,000 and 10,000 images of 28 x 28 pixels; `digest` says of what."""
    return tuple(
        IdxFile(name, shape, **{digest: value}, npz_key=key)
        for name, shape, value, key in zip(_NAMES, _SHAPES, digests, npz_keys, strict=True)
    )


@dataclass(kw_only=True, slots=True)
class PublishedSet(DatasetConfig):
    """A data set that was published as idx files."""

    path: str | None = setting(None, identity=False)
    """The folder with the idx files (of mnist also mnist.npz, or that file itself); null: look, then download."""
    mirrors: list[str] = setting([], nonempty=True, identity=False)
    """Where the gzipped idx files are downloaded from, tried in this order."""

    title: ClassVar[str] = ""
    """What its authors call it."""
    files: ClassVar[tuple[IdxFile, ...]] = ()
    """Training images, training labels, test images, test labels."""
    class_names: ClassVar[tuple[str, ...]] = ()
    folder_names: ClassVar[tuple[str, ...]] = ()
    """The folders that it lies in, within a folder of data sets: ours, Keras's, torchvision's."""
    npz: ClassVar[str | None] = None
    """The file that Keras keeps it in, where it does."""
    without_folder: ClassVar[bool] = False
    """Whether it may lie in $TRAINYARD_DATA_DIR itself: the files of all these sets have the same names."""

    @property
    def known_shape(self) -> tuple[tuple[int, ...], int]:
        """That of the published training images, and the number of names of classes."""
        return self.files[0].shape[1:], len(self.class_names)

    def load(self, progress: bool) -> Dataset:
        """Loads the set from where it lies, else downloads it; see `DatasetConfig.load`."""
        (x_train, y_train, x_test, y_test), source = self.find() or self.complete_cache(progress)
        return Dataset(
            name=self.name,
            spec=DataSpec(image_shape=x_train.shape[1:], class_names=self.class_names, pixel_max=255),
            train=Split(x_train, y_train),
            test=Split(x_test, y_test),
            source=str(source),
        )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem for a mirror that is no web address."""
        if wrong := [mirror for mirror in self.mirrors if not mirror.startswith(("http://", "https://"))]:
            yield "mirrors", f"expected addresses that begin with http:// or https://, got {wrong[0]!r}"

    @property
    def cache(self) -> Path:
        """Our own folder for it, which it is downloaded into."""
        import pooch

        return Path(pooch.os_cache("trainyard")) / self.folder_names[0]

    def find(self) -> tuple[Arrays, Path] | None:
        """Reads the set from the first place that has it whole, or returns None.

        What lies damaged in a place that the user named is an error; in a cache it is passed over.

        Raises:
            DatasetError: If it does not lie whole where the user said.
        """
        if self.path is not None:
            place = Path(self.path).expanduser()
            found = self._read(place)
            if found is None:
                state = "there is no such file or folder" if not place.exists() else "it holds neither"
                form = f" (gzipped or not) or {self.npz}" if self.npz else ", gzipped"
                raise DatasetError(
                    f"dataset.path: expected {place} to hold the four {self.title} idx files{form}, in itself or in "
                    f"its {self.folder_names[0]}/; {state}. Leave dataset.path out to look elsewhere or download"
                )
            return found
        if named := os.environ.get(DATA_VARIABLE):
            found = self._read(Path(named).expanduser(), itself=self.without_folder)
            if found is not None:
                return found
        keras_cache = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets"
        for cache, itself in ((self.cache, True), (keras_cache, self.without_folder)):
            with contextlib.suppress(DatasetError):
                if found := self._read(cache, itself=itself):
                    return found
        return None

    def complete_cache(self, progress: bool) -> tuple[Arrays, Path]:
        """Downloads into the cache what is missing or damaged there. A file is replaced, never removed before.

        Args:
            progress: Whether to draw a progress bar.

        Raises:
            DatasetError: If no mirror has a file; says what each answered and which ways are left.
        """
        return [self._read_or_download(file, progress) for file in self.files], self.cache

    def damaged_in_cache(self) -> Iterator[tuple[Path, DatasetError]]:
        """Yields each downloaded file that is no longer what was published, with what is wrong with it."""
        for file in self.files:
            path = self.cache / f"{file.name}.gz"
            if path.is_file():
                try:
                    read_idx(path, file)
                except DatasetError as error:
                    yield path, error

    def _read(self, place: Path, *, itself: bool = True) -> tuple[Arrays, Path] | None:
        """Reads the set from a file, a folder (`itself`) or its folders in there, or returns None where it is not."""
        if place.is_file():
            if not self.npz:
                raise DatasetError(f"dataset.path: expected a folder with the four {self.title} idx files, got {place}")
            return [read_npz_member(place, file) for file in self.files], place
        for folder in (*([place] if itself else []), *(place / name for name in self.folder_names)):
            paths = [_idx_path(folder, file) for file in self.files]
            if found := [path for path in paths if path is not None]:
                if len(found) != len(self.files):
                    missing = self.files[paths.index(None)].name
                    raise DatasetError(
                        f"{folder}: expected all four {self.title} files, found {len(found)}; {missing} is missing"
                    )
                return [read_idx(path, file) for path, file in zip(found, self.files, strict=True)], folder
            if self.npz and (npz := folder / self.npz).is_file():
                return [read_npz_member(npz, file) for file in self.files], npz
        return None

    def _read_or_download(self, file: IdxFile, progress: bool) -> NDArray[np.uint8]:
        """Reads a file from the cache, or downloads it where it is missing or damaged there."""
        path = self.cache / f"{file.name}.gz"
        if path.is_file():
            with contextlib.suppress(DatasetError):
                return read_idx(path, file)
        return self._download_verified(file, progress)

    def _download_verified(self, file: IdxFile, progress: bool) -> NDArray[np.uint8]:
        """Downloads one file beside its place, verifies its content and moves it there."""
        import pooch
        import requests

        pooch.get_logger().setLevel("WARNING")
        failures, cache = [], self.cache
        cache.mkdir(parents=True, exist_ok=True)
        download: Callable[..., str] = pooch.HTTPDownloader(progressbar=progress, timeout=PATIENCE_SECONDS)
        for mirror in self.mirrors:
            url = f"{mirror.rstrip('/')}/{file.name}.gz"
            with tempfile.TemporaryDirectory(dir=cache) as beside:
                try:
                    path = Path(
                        pooch.retrieve(url, known_hash=None, fname=f"{file.name}.gz", path=beside, downloader=download)
                    )
                    images = read_idx(path, file)
                except (requests.RequestException, OSError, ValueError, DatasetError) as error:
                    failures.append(f"  {url}: {in_one_line(error).replace(beside + os.sep, '')}")
                    continue
                path.replace(cache / path.name)
                return images
        files = "four files" + (f" (or Keras's {self.npz})" if self.npz else "")
        raise DatasetError(
            f"{self.title} is not on this machine, and {file.name}.gz could not be downloaded:\n"
            + "\n".join(failures)
            + f"\nWays out: put the {files} in a folder and set dataset.path or {DATA_VARIABLE} to it; copy them into "
            f"{cache}; name a mirror you can reach, dataset.mirrors=[https://...]; or use dataset=digits, which needs "
            "no download"
        )


@register_dataset("mnist")
@dataclass(kw_only=True, slots=True)
class Mnist(PublishedSet):
    """70,000 handwritten digits of 28 x 28 pixels (LeCun, Cortes and Burges, 1998)."""

    mirrors: list[str] = setting(
        ["https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"],
        nonempty=True,
        identity=False,
    )
    """Where the gzipped idx files are downloaded from, tried in this order."""

    title: ClassVar[str] = "MNIST"
    files: ClassVar[tuple[IdxFile, ...]] = _files(
        "sha256",
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        _NPZ_KEYS,
    )
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    folder_names: ClassVar[tuple[str, ...]] = ("mnist", "MNIST/raw")
    npz: ClassVar[str | None] = "mnist.npz"
    without_folder: ClassVar[bool] = True


@register_dataset("fashion_mnist")
@dataclass(kw_only=True, slots=True)
class FashionMnist(PublishedSet):
    """70,000 pictures of clothes, grey, of 28 x 28 pixels (Xiao, Rasul and Vollgraf, 2017)."""

    mirrors: list[str] = setting(
        [
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        ],
        nonempty=True,
        identity=False,
    )
    """Where the gzipped idx files are downloaded from, tried in this order."""

    title: ClassVar[str] = "Fashion-MNIST"
    files: ClassVar[tuple[IdxFile, ...]] = _files(
        "gz_md5",
        (
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    )
    class_names: ClassVar[tuple[str, ...]] = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    folder_names: ClassVar[tuple[str, ...]] = ("fashion_mnist", "fashion-mnist", "FashionMNIST/raw")


@register_dataset("kmnist")
@dataclass(kw_only=True, slots=True)
class Kmnist(PublishedSet):
    """70,000 cursive Japanese characters, ten Hiragana, of 28 x 28 pixels (Clanuwat et al., 2018)."""

    mirrors: list[str] = setting(
        ["https://codh.rois.ac.jp/kmnist/dataset/kmnist", "http://codh.rois.ac.jp/kmnist/dataset/kmnist"],
        nonempty=True,
        identity=False,
    )
    """Where the gzipped idx files are downloaded from, tried in this order."""

    title: ClassVar[str] = "KMNIST"
    files: ClassVar[tuple[IdxFile, ...]] = _files(
        "gz_md5",
        (
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
    )
    class_names: ClassVar[tuple[str, ...]] = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    folder_names: ClassVar[tuple[str, ...]] = ("kmnist", "KMNIST/raw")


def _idx_path(folder: Path, file: IdxFile) -> Path | None:
    """Returns the file under the first of its usual names that is there, or None."""
    dotted = file.name.replace("-idx", ".idx")  # some unpackers write it so
    names = (f"{file.name}.gz", file.name, f"{dotted}.gz", dotted)
    return next((folder / name for name in names if (folder / name).is_file()), None)

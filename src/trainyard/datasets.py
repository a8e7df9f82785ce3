"""The data sets: where their images come from, verified at every load.

Before them: the registry, images, idx. After them: training and evaluation, which take a `Dataset`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainyard.errors import DatasetError, in_one_line
from trainyard.idx import IdxFile, read_idx, read_npz_member
from trainyard.images import Dataset, DataSpec, Split, hold_out_validation, limit_dataset, stratified_sample
from trainyard.registry import register_dataset
from trainyard.schema import DatasetConfig, setting

DATA_VARIABLE = "TRAINYARD_DATA_DIR"
"""A folder with data sets, or with a folder for each."""

DIGITS_TEST_IMAGES = 360
"""A fifth of scikit-learn's 1,797 digits."""

MNIST_FILES = (
    IdxFile(
        "train-images-idx3-ubyte",
        "x_train",
        (60000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    IdxFile(
        "train-labels-idx1-ubyte",
        "y_train",
        (60000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte",
        "x_test",
        (10000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte",
        "y_test",
        (10000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)
"""Training images, training labels, test images, test labels."""

MNIST_MIRRORS = [
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
]


def load_dataset(config: DatasetConfig, seed: int, *, progress: bool = False) -> Dataset:
    """Loads a data set as a run uses it: verified, limited, with its validation images held out.

    Args:
        config: Which data, how much of it, and the share for validation.
        seed: Draws the validation images and, where there is a limit, the images that stay.
        progress: Whether a download may draw a progress bar.

    Returns:
        The data set.

    Raises:
        DatasetError: If the data is absent, damaged or not what it claims to be.
    """
    dataset = config.load(progress=progress)
    if config.limit is not None:
        dataset = limit_dataset(dataset, config.limit, seed)
    if config.validation_fraction:
        if len(dataset.train) == 1:
            raise DatasetError("dataset.validation_fraction: one training image can't be split. Raise dataset.limit")
        dataset = hold_out_validation(dataset, config.validation_fraction, seed)
    return dataset


@register_dataset("digits")
@dataclass(kw_only=True, slots=True)
class Digits(DatasetConfig):
    """The 1,797 digits of 8 x 8 pixels that scikit-learn brings along (UCI, Alpaydin and Kaynak, 1998)."""

    def load(self, progress: bool) -> Dataset:  # noqa: ARG002 - there is nothing to wait for
        """Loads the digits; see `DatasetConfig.load`. A fixed, stratified fifth of them is the test set."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        everything = Split(digits.images.astype(np.uint8), digits.target.astype(np.uint8))
        in_test = np.zeros(len(everything), dtype=bool)
        in_test[stratified_sample(everything.labels, DIGITS_TEST_IMAGES, seed=0)] = True
        return Dataset(
            name="digits",
            spec=DataSpec(image_shape=(8, 8), class_names=_ten_digits(), pixel_max=16),
            train=everything.take(np.flatnonzero(~in_test)),
            test=everything.take(np.flatnonzero(in_test)),
            source="scikit-learn",
        )


@register_dataset("mnist")
@dataclass(kw_only=True, slots=True)
class Mnist(DatasetConfig):
    """70,000 handwritten digits of 28 x 28 pixels (LeCun, Cortes and Burges, 1998)."""

    path: str | None = setting(None, identity=False)
    """The folder with the idx files (gzipped or not) or mnist.npz, or that file; null: look, then download."""
    mirrors: list[str] = setting(MNIST_MIRRORS, nonempty=True, identity=False)
    """Where the gzipped idx files are downloaded from, tried in this order."""

    def load(self, progress: bool) -> Dataset:
        """Loads MNIST from where it lies, else downloads it; see `DatasetConfig.load`."""
        arrays, source = self._find() or self._complete_cache(progress)
        x_train, y_train, x_test, y_test = arrays
        return Dataset(
            name="mnist",
            spec=DataSpec(image_shape=(28, 28), class_names=_ten_digits(), pixel_max=255),
            train=Split(x_train, y_train),
            test=Split(x_test, y_test),
            source=str(source),
        )

    def _find(self) -> tuple[list[NDArray[np.uint8]], Path] | None:
        """Reads MNIST from the first place that has it whole, or returns None.

        What lies damaged in a place that the user named is an error; in a cache it is passed over.
        """
        if self.path is not None:
            place = Path(self.path).expanduser()
            found = _read_mnist(place)
            if found is None:
                state = "there is no such file or folder" if not place.exists() else "it holds neither"
                raise DatasetError(
                    f"dataset.path: expected {place} to hold the four MNIST idx files (gzipped or not) or mnist.npz, "
                    f"in itself or in its mnist/; {state}. Leave dataset.path out to look elsewhere or download"
                )
            return found
        if (named := os.environ.get(DATA_VARIABLE)) and (found := _read_mnist(Path(named).expanduser())):
            return found
        keras_cache = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets"
        for cache in (_cache_folder(), keras_cache):
            with contextlib.suppress(DatasetError):
                if found := _read_mnist(cache):
                    return found
        return None

    def _complete_cache(self, progress: bool) -> tuple[list[NDArray[np.uint8]], Path]:
        """Downloads into the cache what is missing or damaged there. A file is replaced, never removed before."""
        cache = _cache_folder()
        return [_read_or_download(file, cache, self.mirrors, progress) for file in MNIST_FILES], cache

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem for a mirror that is no web address."""
        if wrong := [mirror for mirror in self.mirrors if not mirror.startswith(("http://", "https://"))]:
            yield "mirrors", f"expected addresses that begin with http:// or https://, got {wrong[0]!r}"


def _ten_digits() -> tuple[str, ...]:
    return tuple(str(digit) for digit in range(10))


def _cache_folder() -> Path:
    import pooch

    return Path(pooch.os_cache("trainyard")) / "mnist"


def _read_mnist(place: Path) -> tuple[list[NDArray[np.uint8]], Path] | None:
    """Reads MNIST from a file or folder, or returns None where it does not lie there."""
    if place.is_file():
        return [read_npz_member(place, file) for file in MNIST_FILES], place
    for folder in (place, place / "mnist"):
        paths = [_idx_path(folder, file) for file in MNIST_FILES]
        if found := [path for path in paths if path is not None]:
            if len(found) != len(MNIST_FILES):
                missing = MNIST_FILES[paths.index(None)].name
                raise DatasetError(f"{folder}: expected all four MNIST files, found {len(found)}; {missing} is missing")
            return [read_idx(path, file) for path, file in zip(found, MNIST_FILES, strict=True)], folder
        if (npz := folder / "mnist.npz").is_file():
            return [read_npz_member(npz, file) for file in MNIST_FILES], npz
    return None


def _idx_path(folder: Path, file: IdxFile) -> Path | None:
    """Returns the file under the first of its usual names that is there, or None."""
    dotted = file.name.replace("-idx", ".idx")  # some unpackers write it so
    names = (f"{file.name}.gz", file.name, f"{dotted}.gz", dotted)
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_or_download(file: IdxFile, cache: Path, mirrors: list[str], progress: bool) -> NDArray[np.uint8]:
    """Reads a file from the cache, or downloads it where it is missing or damaged there."""
    path = cache / f"{file.name}.gz"
    if path.is_file():
        with contextlib.suppress(DatasetError):
            return read_idx(path, file)
    return _download_verified(file, cache, mirrors, progress)


def _download_verified(file: IdxFile, cache: Path, mirrors: list[str], progress: bool) -> NDArray[np.uint8]:
    """Downloads one file beside its place, verifies its content and moves it there.

    Raises:
        DatasetError: If no mirror has it; says what each answered and which ways are left.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    failures = []
    cache.mkdir(parents=True, exist_ok=True)
    download: Callable[..., str] = pooch.HTTPDownloader(progressbar=progress, timeout=(5, 30))
    for mirror in mirrors:
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
    raise DatasetError(
        f"MNIST is not on this machine, and {file.name}.gz could not be downloaded:\n"
        + "\n".join(failures)
        + "\nWays out: put the four files (or Keras's mnist.npz) in a folder and set dataset.path or "
        f"{DATA_VARIABLE} to it; copy them into {cache}; name a mirror you can reach, dataset.mirrors=[https://...]; "
        "or use dataset=digits, which needs no download"
    )

"""Measures how long folders of photos take to load: Trainyard's first and second load, and Keras's data set.

The photos are generated. Each round has an empty cache, and loads each folder with Trainyard, with
``keras.utils.image_dataset_from_directory`` and with Trainyard again, in this process.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.performance.measure_epochs import BenchmarkSettings
from trainyard.data import CACHE_VARIABLE, ImageFolder, load_dataset

FIRST_LOAD, KERAS, SECOND_LOAD = "trainyard, first load", "keras.utils.image_dataset_from_directory", "trainyard, again"
SIDE = 224
"""Height and width of the loaded images."""
CLASSES = ("crow", "gull")
_TEST_IMAGES = 1
"""Test images per class. Keras does not load them."""
_QUALITY = 88
_NOISE = 12
"""Maximum difference of a pixel from the smooth image, so that the JPEG files have realistic sizes."""


@dataclass(frozen=True, slots=True)
class PhotoFolder:
    """A folder of generated JPEG files."""

    name: str
    width: int
    height: int
    count: int
    distinct: int
    """The number of different photos; the other files are links to them."""


SMALL, LARGE = "500 x 375 pixels", "12 megapixels"
FOLDERS = (PhotoFolder(SMALL, 500, 375, 600, 20), PhotoFolder(LARGE, 4000, 3000, 40, 4))
_QUICK_FOLDERS = (PhotoFolder(SMALL, 50, 40, 6, 1), PhotoFolder(LARGE, 800, 600, 4, 1))


def measure_loading(settings: BenchmarkSettings) -> dict[str, Any]:
    """Measures rounds of loads of each folder, after one load that is not counted."""
    measured = []
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as temporary_folder:
        for photos in _QUICK_FOLDERS if settings.quick else FOLDERS:
            folder = Path(temporary_folder) / photos.name
            size = write_photos(folder, photos)
            _load_with_keras(folder)
            rounds: list[dict[str, float]] = []
            for number in range(1, settings.rounds + 1):
                rounds.append(_measure_round(folder, Path(temporary_folder) / f"{photos.name} {number}"))
                settings.progress.step(number, settings.rounds, number, settings.rounds)
                times = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in rounds[-1].items())
                settings.progress.detail(f"{photos.name}: {times}")
            measured.append({"photos": photos.name, "images": photos.count, "bytes": size, "rounds": rounds})
    return {"side": SIDE, "folders": measured}


def write_photos(folder: Path, photos: PhotoFolder) -> int:
    """Writes the files of a folder; returns the mean size of a file in bytes."""
    from PIL import Image

    generator = np.random.default_rng(0)
    sources, splits = folder / "sources", {"train": photos.count // len(CLASSES), "test": _TEST_IMAGES}
    sources.mkdir(parents=True)
    for number in range(photos.distinct):
        coarse = generator.integers(0, 256, (photos.height // 15, photos.width // 15, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((photos.width, photos.height), Image.Resampling.BICUBIC)
        noise = generator.integers(-_NOISE, _NOISE + 1, (photos.height, photos.width, 3), dtype=np.int16)
        pixels = (np.asarray(smooth) + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(sources / f"{number}.jpg", quality=_QUALITY)
    for split, count in splits.items():
        for name in CLASSES:
            target = folder / "data" / split / name
            target.mkdir(parents=True)
            for number in range(count):
                os.link(sources / f"{number % photos.distinct}.jpg", target / f"{number}.jpg")
    return sum(file.stat().st_size for file in sources.iterdir()) // photos.distinct


def _measure_round(folder: Path, cache: Path) -> dict[str, float]:
    """Returns the seconds of each load, with an empty cache in a folder."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(cache)
    try:
        return {
            FIRST_LOAD: _time(lambda: _load_with_trainyard(folder)),
            KERAS: _time(lambda: _load_with_keras(folder)),
            SECOND_LOAD: _time(lambda: _load_with_trainyard(folder)),
        }
    finally:
        if before is None:
            del os.environ[CACHE_VARIABLE]
        else:
            os.environ[CACHE_VARIABLE] = before


def _load_with_trainyard(folder: Path) -> None:
    """Loads the training and test images as arrays."""
    load_dataset(ImageFolder(path=str(folder / "data"), height=SIDE, width=SIDE), 0)


def _load_with_keras(folder: Path) -> None:
    """Iterates over all batches of the training images once."""
    import keras

    batches = keras.utils.image_dataset_from_directory(
        folder / "data" / "train", image_size=(SIDE, SIDE), verbose=False
    )
    for _ in batches:
        pass


def _time(load: Callable[[], None]) -> float:
    """Returns the wall-clock time of a call in seconds."""
    started = time.perf_counter()
    load()
    return time.perf_counter() - started

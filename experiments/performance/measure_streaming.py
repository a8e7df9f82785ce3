"""Measures the training on images in memory, and on images that are read from the disk while the model trains.

Random images are written to a file. Each round trains on them in two new processes, one per setting of
``dataset.memory``; see ``streaming_child.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from experiments.performance.measure_epochs import BenchmarkSettings
from trainyard.errors import TrainingError

SIDE = 64
CLASSES = 10
MODES = ("memory", "stream")
IMAGES_FILE, LABELS_FILE = "images.npy", "labels.npy"
_CHUNK = 1000
_ROOT = Path(__file__).parents[2]


def measure_streaming(settings: BenchmarkSettings) -> dict[str, Any]:
    """Measures rounds of both settings, each in a new process."""
    count, epochs = (200, 3) if settings.quick else (40_000, 4)
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as temporary_folder:
        folder = Path(temporary_folder)
        size = write_images(folder, count)
        for number in range(1, settings.rounds + 1):
            rounds.append({mode: _train(folder, mode, epochs, settings.threads) for mode in MODES})
            settings.progress.step(number, settings.rounds, number, settings.rounds)
    return {"side": SIDE, "images": count, "bytes": size, "epochs": epochs, "rounds": rounds}


def write_images(folder: Path, count: int) -> int:
    """Writes random images and labels; returns the size of the images in bytes."""
    generator = np.random.default_rng(0)
    images = np.lib.format.open_memmap(folder / IMAGES_FILE, "w+", np.uint8, (count, SIDE, SIDE, 3))
    for start in range(0, count, _CHUNK):
        part = images[start : start + _CHUNK]
        part[:] = generator.integers(0, 256, part.shape, np.uint8)
    images.flush()
    np.save(folder / LABELS_FILE, (np.arange(count) % CLASSES).astype(np.uint8))
    return int(images.nbytes)


def _train(folder: Path, mode: str, epochs: int, threads: int) -> dict[str, Any]:
    """Trains in a new process; returns the times of the epochs after the first one, and the additional memory."""
    arguments = [str(folder), mode, str(epochs), str(threads)]
    done = subprocess.run(
        [sys.executable, "-m", "experiments.performance.streaming_child", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=_ROOT,
    )
    if done.returncode:
        raise TrainingError(f"streaming_child ended with exit code {done.returncode}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result

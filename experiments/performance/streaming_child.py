"""Trains on memory-mapped images, and prints the times of the epochs and the memory that the training used.

    python -m experiments.performance.streaming_child FOLDER MODE EPOCHS THREADS

MODE is a value of ``dataset.memory``. The memory is that of the process without files that are mapped into memory,
which the operating system can free. It is read every few milliseconds.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from pathlib import Path
from typing import Self

import numpy as np

from experiments.performance.measure_streaming import CLASSES, IMAGES_FILE, LABELS_FILE
from trainyard import compose_config
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.system import configure_tensorflow
from trainyard.system.progress import Progress
from trainyard.training import train

_INTERVAL_SECONDS = 0.005
_WARM_UP_IMAGES = 64


class MemorySampler:
    """Reads the memory of this process in a thread, and keeps its maximum."""

    def __init__(self) -> None:
        self.maximum = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(_INTERVAL_SECONDS):
            self.maximum = max(self.maximum, read_anonymous_bytes())


def read_anonymous_bytes() -> int:
    """Returns the resident memory of this process without mapped files, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon:")).split()[1])


def main() -> None:
    """Trains once on a few images, then on all of them, and prints a line of JSON."""
    folder, mode, epochs, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    configure_tensorflow(0, threads)
    images = np.load(folder / IMAGES_FILE, mmap_mode="r")
    split = Split(images, np.load(folder / LABELS_FILE))
    spec = DataSpec(images.shape[1:], tuple(map(str, range(CLASSES))), pixel_max=255)
    few = split.take(np.arange(_WARM_UP_IMAGES))
    dataset = Dataset("random", spec, split, few, source=str(folder))
    _train(dataclasses.replace(dataset, train=few), mode, 1)
    before = read_anonymous_bytes()
    with MemorySampler() as sampler:
        seconds = _train(dataset, mode, epochs)
    result = {"epoch_seconds": seconds[1:], "additional_bytes": max(0, sampler.maximum - before)}
    sys.stdout.write(json.dumps(result) + "\n")


def _train(dataset: Dataset, mode: str, epochs: int) -> list[float]:
    """Trains a small network; returns the seconds of each epoch."""
    config = compose_config([f"dataset.memory={mode}", "model.hidden_units=[64]", f"training.epochs={epochs}"])
    model = config.model.build(dataset.spec)
    result = train(model, dataset, config, Progress(), lambda *_: None)
    return [epoch["time/epoch_seconds"] for epoch in result.history]


if __name__ == "__main__":
    main()

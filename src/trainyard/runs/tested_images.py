"""Loads the images that a run was tested on again, from the data set of its config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainyard.config import load_config
from trainyard.data import DataSpec, load_dataset
from trainyard.errors import TrainyardError
from trainyard.tracking import RunRecord, names


def load_test_images(run: RunRecord, labels: NDArray[np.unsignedinteger[Any]]) -> tuple[NDArray[np.uint8], DataSpec]:
    """Loads the images that a run was tested on, using the data set of its config, and the description of the data set.

    The images are raw pixels, uint8 (n, height, width) or (n, height, width, 3). `labels` are the labels of the test
    images as the run logged them, integers (n,).

    Raises:
        TrainyardError: If the images are not available on this machine, or have changed since the run.
    """
    with run.open_files(names.CONFIG_FILE) as folder:
        config = load_config(folder / names.CONFIG_FILE)
    path = getattr(config.dataset, "path", None)
    if hasattr(config.dataset, "mirrors") and path and not Path(path).exists():
        config.dataset.path = None  # type: ignore[attr-defined]  # the path is on another machine
    full = load_dataset(config.dataset, config.seed)
    test = config.debug.reduce_dataset(full, config.training.batch_size, config.seed).test
    if run.test_digest and not test.digest.startswith(run.test_digest):
        raise TrainyardError(f"expected test images with the digest {run.test_digest}, got {test.digest}")
    if not np.array_equal(test.labels, labels):
        raise TrainyardError("expected the test images that the run logged, got other images: their labels differ")
    return test.images, full.spec

"""The memory that loading images needs: little more than the images themselves."""

from __future__ import annotations

import gzip
import tracemalloc

import numpy as np
import pytest

from trainyard.config import find_component
from trainyard.data import load_dataset

COUNT = 6000
NAMES = {"x_train": "train-images", "y_train": "train-labels", "x_test": "test-images", "y_test": "test-labels"}


def _save_idx(folder, arrays, suffix, pack):
    folder.mkdir()
    for name, array in arrays.items():
        header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
        (folder / f"{NAMES[name]}{suffix}").write_bytes(pack(header + array.tobytes()))


FORMATS = {
    "npz": ("npz", lambda path, arrays: np.savez(path, **arrays)),
    "compressed npz": ("npz", lambda path, arrays: np.savez_compressed(path, **arrays)),
    "idx": ("idx", lambda path, arrays: _save_idx(path, arrays, "", bytes)),
    "gzipped idx": ("idx", lambda path, arrays: _save_idx(path, arrays, ".gz", lambda data: gzip.compress(data, 1))),
}


@pytest.mark.parametrize("fields", [{}, {"validation_fraction": 0.1}], ids=["all", "validation"])
@pytest.mark.parametrize("name", FORMATS)
def test_loading_needs_at_most_1_3_times_the_memory_of_the_images(tmp_path, name, fields):
    """NumPy and Python report the memory that they allocate to tracemalloc."""
    component, save = FORMATS[name]
    labels = (np.arange(COUNT) % 3).astype(np.uint8)
    arrays = {"x_train": np.random.default_rng(0).integers(0, 256, (COUNT, 64, 64), np.uint8), "y_train": labels}
    arrays |= {"x_test": arrays["x_train"][:50] ^ 1, "y_test": labels[:50]}
    save(tmp_path / "data.npz", arrays)
    config = find_component("dataset", component)(path=str(tmp_path / "data.npz"), **fields)
    config.load(progress=False)
    tracemalloc.start()
    try:
        dataset = load_dataset(config, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(len(split) for split in (dataset.train, dataset.validation) if split) == COUNT
    assert peak <= 1.3 * arrays["x_train"].nbytes

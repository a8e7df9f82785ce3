"""What every test stands on: a folder of its own, a clean environment, no network beyond this machine."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from trainyard.compose import compose_config
from trainyard.datasets import Mnist
from trainyard.idx import IdxFile

ROOT = Path(__file__).parents[1]
MNIST = ROOT.parent / "shared" / "mnist"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Each test works in an empty folder, with caches of its own and without the user's settings."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "TRAINYARD_", "HYDRA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib")))


@pytest.fixture
def tiny():
    """A config that trains in a second: 300 digits, one small layer, two epochs."""

    def compose(*overrides: str):
        small = ["dataset.limit=300", "model.hidden_units=[16]", "training.epochs=2", "name=tiny"]
        return compose_config([*small, *overrides])

    return compose


@pytest.fixture(scope="session")
def mnist_folder():
    """The folder with the real MNIST files. CI has it, and fails where it is missing."""
    if not MNIST.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"MNIST is expected at {MNIST} in CI")
        pytest.skip("MNIST does not lie beside this checkout")
    return MNIST


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch):
    """A folder with four gzipped idx files of 40 and 20 images, which the code takes for MNIST."""
    return write_tiny_mnist(tmp_path / "tiny_mnist", monkeypatch)


@pytest.fixture
def take_tiny_files_for(tiny_mnist, monkeypatch):
    """Has another published set take the tiny files for its own; only the md5 of their gzipped form is known of it."""

    def take(dataset):
        sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in tiny_mnist.iterdir()}
        files = [IdxFile(file.name, file.shape, gz_md5=sums[f"{file.name}.gz"]) for file in Mnist.files]
        monkeypatch.setattr(dataset, "files", tuple(files))
        return dataset

    return take


def write_tiny_mnist(folder: Path, monkeypatch) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    arrays = {
        "x_train": generator.integers(0, 256, (40, 28, 28), dtype=np.uint8),
        "y_train": np.arange(40, dtype=np.uint8) % 10,
        "x_test": generator.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        "y_test": np.arange(20, dtype=np.uint8) % 10,
    }
    files = []
    for file in Mnist.files:
        array = arrays[file.npz_key]
        content = IdxFile(file.name, array.shape).header + array.tobytes()
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(content))
        files.append(IdxFile(file.name, array.shape, sha256=_sha256(content), npz_key=file.npz_key))
    np.savez(folder.parent / "mnist.npz", **arrays)
    monkeypatch.setattr(Mnist, "files", tuple(files))
    return folder


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="session")
def keras():
    """Keras on TensorFlow, imported the way a run imports it."""
    from trainyard import runtime

    runtime.import_tensorflow()
    import keras

    return keras

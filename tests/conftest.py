"""What every test stands on: a folder of its own, a clean environment, no network beyond this machine."""

from __future__ import annotations

import gc
import gzip
import hashlib
import os
import signal
from pathlib import Path

import hypothesis  # noqa: F401 - it looks for who refers to what, and has to do so before all that is exempt from collection
import numpy as np
import pytest
from stand_ins import BLANK_VARIABLE, STORE_VARIABLE, copying, write_blank

from trainyard.config.compose import compose_config
from trainyard.data import Mnist
from trainyard.data.idx import IdxFile
from trainyard.evaluation.trials import Trial, TrialResult
from trainyard.system.garbage import process_is_ours
from trainyard.system.uris import sqlite_uri
from trainyard.tracking.connection import _create_store as make_store
from trainyard.tracking.connection import connect

process_is_ours()
for _number in (signal.SIGHUP, signal.SIGINT):  # ignored under nohup; what tests start has to hear them all the same
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else lambda *_: None)
ROOT = Path(__file__).parents[1]
MNIST = ROOT.parent / "shared" / "mnist"
MANY_OBJECTS = 150_000
CHILDREN = Path(__file__).with_name("children")
"""What is imported by the processes that tests start, as `PYTHONPATH` tells them."""


def pytest_addoption(parser):
    """Adds where tests leave pictures of the pages that they read."""
    parser.addoption("--screenshots", metavar="FOLDER", help="keep pictures of the MLflow UI's pages in FOLDER")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Each test works in an empty folder, with caches of its own and without the user's settings."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "TRAINYARD_", "HYDRA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("PYTHONPATH", str(CHILDREN), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib")))


@pytest.fixture(scope="session")
def _kept_store(tmp_path_factory):
    """Where a store lies as MLflow makes it, once one was made."""
    return tmp_path_factory.mktemp("store") / "mlflow.db"


@pytest.fixture(autouse=True)
def _stores_are_copied(request, monkeypatch, _kept_store):
    """A test's new store is a copy of the first that MLflow made, which takes it two seconds each time.

    So is that of a command that a test starts, which finds `children/sitecustomize.py`, but for tests marked `stores`.
    """
    monkeypatch.setattr("trainyard.tracking.connection._create_store", copying(make_store, _kept_store))
    if not request.node.get_closest_marker("stores"):
        monkeypatch.setenv(STORE_VARIABLE, str(_kept_store))


@pytest.fixture
def new_store(_kept_store):
    """Puts a new store in a place, and returns a client of it."""

    def put(file: Path):
        copying(make_store, _kept_store)(file)
        return connect(sqlite_uri(file))

    return put


@pytest.fixture(autouse=True)
def _pictures_are_blank(request, monkeypatch):
    """Runs of a test leave blank pictures, which spares each some seconds; tests marked `pictures` see real ones.

    So do runs of the commands that it starts, as with stores.
    """
    if not request.node.get_closest_marker("pictures"):
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", write_blank)
        monkeypatch.setenv(BLANK_VARIABLE, "true")


@pytest.fixture(autouse=True)
def _little_to_look_through():
    """What a test leaves for good (MLflow keeps each store that it ever opened) is exempt from garbage collection.

    Keras asks for one before each run: after fifty tests it would take a second.
    """
    yield
    if len(gc.get_objects()) > MANY_OBJECTS:
        gc.collect()
        gc.freeze()


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
    from trainyard.system import tensorflow_setup

    tensorflow_setup.import_tensorflow()
    import keras

    return keras


@pytest.fixture
def sweep_of():
    """Makes the trials of a sweep with what they came to, from the objective under each seed, by the point's label."""

    def make(points, *, varied=None, epochs=3, objective="accuracy/val"):
        """The seeds of a point are 0, 1, ...; None is one that failed. `varied`: the settings of each point, by label."""
        trials = []
        for point, (label, values) in enumerate(points.items(), 1):
            for seed, value in enumerate(values):
                if value is not None:
                    number = len(trials) + 1
                    settings = {**(varied or {}).get(label, {"name": label}), "seed": seed}
                    trials.append(
                        (
                            Trial(
                                number=number, point=point, label=f"{label} seed{seed}", varied=settings, seed=seed,
                                overrides=(), config={},
                            ),
                            make_result(value, epochs, objective, f"run{number}", parameters=1000 * point),
                        )
                    )  # fmt: skip
        return trials

    def make_result(value, epochs, objective, run_id, parameters):
        history = tuple(
            {"loss/train": 1 / epoch, (objective or "accuracy/val"): value * epoch / epochs}
            for epoch in range(1, epochs + 1)
        )
        metrics = {"accuracy/test": value - 0.01, "loss/test": 1 - value, "f1_macro/test": value - 0.02}
        return TrialResult(
            objective=value if objective else None, metrics=metrics, epochs=epochs, history=history, seconds=2.0,
            run_id=run_id, folder=run_id, parameters=parameters,
        )  # fmt: skip

    return make

"""Shared fixtures. Each test runs in its own empty folder, with a clean environment and without internet access."""

from __future__ import annotations

import dataclasses
import gc
import gzip
import hashlib
import os
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis  # noqa: F401 - it scans the garbage collector's objects, so it is imported before gc.freeze
import numpy as np
import pytest
from processes import start_server
from stand_ins import BLANK_VARIABLE, STORE_VARIABLE, install_stand_ins

from trainyard import RunResult, compose_config, run_experiment
from trainyard.data import Mnist
from trainyard.data.idx import IdxFile
from trainyard.evaluation.ranking import RankedRun
from trainyard.system.garbage_collection import mark_process_owned
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import connection

mark_process_owned()
install_stand_ins()
for _number in (signal.SIGHUP, signal.SIGINT):  # nohup ignores them; processes that tests start must receive them
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else lambda *_: None)
ROOT = Path(__file__).parents[1]
MNIST = ROOT.parent / "shared" / "mnist"
MANY_OBJECTS = 150_000
CHILDREN = Path(__file__).with_name("children")
"""The folder of modules for the processes that tests start; it is added to their `PYTHONPATH`."""


def pytest_addoption(parser):
    """Adds the options of these tests."""
    parser.addoption("--screenshots", metavar="FOLDER", help="save screenshots of the MLflow UI to FOLDER")
    parser.addoption("--slow", action="store_true", help="also run the tests that are marked slow")


def pytest_xdist_auto_num_workers(config):
    """Runs the tests of a single file in this process, because starting workers would take longer than the tests."""
    return 0 if len(config.args) == 1 and ".py" in config.args[0] else None


def pytest_collection_modifyitems(config, items):
    """Deselects slow tests, unless an option selects them or the command names tests."""
    if config.option.slow or config.option.markexpr or any("::" in argument for argument in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if item not in set(slow)]
    config.hook.pytest_deselected(items=slow)


SESSION_VARIABLE = "TEST_SESSION_FOLDER"
"""The environment variable with the folder that all workers of a pytest run share."""

_session = pytest.StashKey[ExitStack]()


def pytest_configure(config):
    """Creates the folder that the workers share, and starts the server that forks processes."""
    if hasattr(config, "workerinput"):
        return
    stack = config.stash[_session] = ExitStack()
    os.environ[SESSION_VARIABLE] = folder = stack.enter_context(TemporaryDirectory(prefix="trainyard-tests-"))
    server = stack.enter_context(start_server(Path(folder)))
    stack.callback(server.stdin.close)


def pytest_unconfigure(config):
    """Ends the server and deletes the folder."""
    if _session in config.stash:
        config.stash[_session].close()


@pytest.fixture(scope="session")
def session_folder():
    """The folder that all workers of this pytest run share."""
    return Path(os.environ[SESSION_VARIABLE])


def _isolate(patch: pytest.MonkeyPatch, root: Path, session_folder: Path) -> None:
    """Changes to an empty folder, with separate caches and without the user's environment variables.

    Only the cache of compiled programs is shared. New stores are copies of a prepared one, and figures are blank; both
    save seconds per run. Processes that a test starts do the same, by means of `children/sitecustomize.py`.
    """
    folder = root / "work"
    folder.mkdir()
    patch.chdir(folder)
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "TRAINYARD_", "HYDRA_"))]:
        patch.delenv(name)
    patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    patch.setenv("PYTHONPATH", str(CHILDREN), prepend=os.pathsep)
    patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    patch.setenv("KERAS_HOME", str(root / "keras"))
    patch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib")))
    patch.setenv(STORE_VARIABLE, str(session_folder / "mlflow.db"))
    patch.setenv(BLANK_VARIABLE, "true")
    programs = session_folder / "cache" / "trainyard" / "xla"
    programs.mkdir(parents=True, exist_ok=True)
    (root / "cache" / "trainyard").mkdir(parents=True)
    (root / "cache" / "trainyard" / "xla").symlink_to(programs)


@pytest.fixture(autouse=True)
def _own_folder(request, tmp_path, monkeypatch, session_folder):
    """Runs each test in its own folder and environment.

    Tests marked `stores` create stores, and tests marked `pictures` draw figures.
    """
    _isolate(monkeypatch, tmp_path, session_folder)
    if request.node.get_closest_marker("stores"):
        monkeypatch.delenv(STORE_VARIABLE)
    if request.node.get_closest_marker("pictures"):
        monkeypatch.delenv(BLANK_VARIABLE)


@pytest.fixture
def own_program_cache(tmp_path):
    """Gives the test a cache of compiled programs of its own."""
    (tmp_path / "cache" / "trainyard" / "xla").unlink()


@pytest.fixture
def new_store():
    """Returns a function that creates a new store at a path, and returns a client of it."""

    def create(file: Path):
        connection._create_store(file)
        return connection.connect(build_sqlite_uri(file))

    return create


@pytest.fixture
def older_store():
    """The SQLite file mlflow.db with the schema of an older MLflow."""
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config, create_sqlalchemy_engine
    from mlflow.store.tracking.dbmodels.initial_models import Base

    file = Path("mlflow.db").absolute()
    uri = build_sqlite_uri(file)
    engine = create_sqlalchemy_engine(uri)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        config = _get_alembic_config(uri)
        config.attributes["connection"] = connection
        command.upgrade(config, "acf3f17fdcc7")
    engine.dispose()
    return file


@pytest.fixture(autouse=True)
def _freeze_garbage_collector():
    """Exempts objects that tests leave behind (MLflow keeps each store it opened) from garbage collection.

    Keras collects garbage before each run. Without this, a collection takes a second after fifty tests.
    """
    yield
    if len(gc.get_objects()) > MANY_OBJECTS:
        gc.collect()
        gc.freeze()


SMALL = ("dataset.limit=300", "model.hidden_units=[16]", "training.epochs=2", "name=tiny", "training.xla=off")
"""Overrides of a config that trains in a second: 300 digits, one small layer, two epochs, without XLA."""


@pytest.fixture
def tiny():
    """Returns a function that composes a config that trains in a second."""

    def compose(*overrides: str):
        return compose_config([*SMALL, *overrides])

    return compose


@pytest.fixture
def prefer_xla(keras, monkeypatch):
    """Returns a function that replaces the costs of operations, so that ``training.xla=auto`` chooses ``on`` or ``off``.

    The other choice is estimated to take four times as long.
    """
    from trainyard.training import xla
    from trainyard.training.xla_costs import Costs, CostTable

    def prefer(choice: str):
        cheap, expensive = Costs({}, {"step": 1.0}), Costs({}, {"step": 4.0})
        table = CostTable(cheap, expensive) if choice == "on" else CostTable(expensive, cheap)
        monkeypatch.setattr(xla, "load_cost_table", lambda device: table)

    return prefer


@pytest.fixture(scope="session")
def train_once(tmp_path_factory, session_folder):
    """Returns a function that trains the config of `tiny`, for runs that several tests only read.

    It logs to `mlflow.db` in a new folder, or in that of an earlier run, and moves the folder of the run away from the
    place that the store knows, so that a test which reads the run from the store cannot use the folder.
    """

    def train(*overrides: str, beside: RunResult | None = None):
        root = beside.folder.parent if beside else tmp_path_factory.mktemp("trained")
        uri = f"tracking.uri='{build_sqlite_uri(root / 'mlflow.db')}'"
        with pytest.MonkeyPatch.context() as patch:
            _isolate(patch, tmp_path_factory.mktemp("isolated"), session_folder)
            result = run_experiment(compose_config([*SMALL, uri, *overrides]))
            folder = shutil.move(result.folder.absolute(), root / f"run{len(list(root.glob('run*')))}")
        return dataclasses.replace(result, folder=Path(folder))

    return train


@pytest.fixture(scope="session")
def mnist_folder():
    """The folder with the real MNIST files. Tests are skipped without it, except in CI, where they fail."""
    if not MNIST.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"MNIST is expected at {MNIST} in CI")
        pytest.skip(f"there is no MNIST folder {MNIST}")
    return MNIST


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch):
    """A folder with four gzipped idx files of 40 and 20 images, whose digests replace those of MNIST."""
    return write_tiny_mnist(tmp_path / "tiny_mnist", monkeypatch)


@pytest.fixture
def use_tiny_files_for(tiny_mnist, monkeypatch):
    """Returns a function that replaces the digests of another published data set by the md5 of the tiny files."""

    def use(dataset):
        digests = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in tiny_mnist.iterdir()}
        files = [IdxFile(file.name, file.shape, gz_md5=digests[f"{file.name}.gz"]) for file in Mnist.files]
        monkeypatch.setattr(dataset, "files", tuple(files))
        return dataset

    return use


def write_tiny_mnist(folder: Path, monkeypatch) -> Path:
    """Writes a tiny MNIST to a folder, and its npz file next to the folder; replaces the digests of MNIST."""
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
    """The keras module with the TensorFlow backend, imported as in a run."""
    from trainyard.system import tensorflow_setup

    tensorflow_setup.import_tensorflow()
    import keras

    return keras


@pytest.fixture
def sweep_of():
    """Returns a function that makes the finished runs of a sweep from the objective values of each point."""

    def make(points, *, varied=None, epochs=3, objective="accuracy/val"):
        """Makes trials from a mapping of point labels to objective values, one per seed 0, 1, ...

        A value of None means a failed trial. `varied` has the varied settings of each point, by label.
        """
        trials = []
        for point, (label, values) in enumerate(points.items(), 1):
            for seed, value in enumerate(values):
                if value is not None:
                    number = len(trials) + 1
                    settings = {**(varied or {}).get(label, {"name": label}), "seed": seed}
                    trials.append(
                        RankedRun(
                            number=number, point=point, label=label, varied=settings, seed=seed,
                            value=value if objective else None, history=make_history(value, epochs, objective),
                            metrics={"accuracy/test": value - 0.01, "loss/test": 1 - value, "f1_macro/test": value - 0.02},
                            seconds=2.0, run_id=f"run{number}", parameters=1000 * point,
                        )
                    )  # fmt: skip
        return trials

    def make_history(value, epochs, objective):
        return tuple(
            {"loss/train": 1 / epoch, (objective or "accuracy/val"): value * epoch / epochs}
            for epoch in range(1, epochs + 1)
        )

    return make

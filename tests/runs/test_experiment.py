from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from trainyard import (
    ConfigError,
    DatasetError,
    TrackingError,
    TrainingError,
    TrainyardError,
    compose_config,
    load_config,
    run_experiment,
)
from trainyard.config.schema import RunConfig
from trainyard.system.progress import Progress
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import Tracker, connection
from trainyard.tracking.connection import connect

MISSING_DATA = ["dataset=mnist", "dataset.path=nowhere"]
"""Overrides of a run that fails when it loads its data, after the run was created."""


@pytest.fixture
def client(keras, new_store):
    """Returns a client of the store to which the runs of this test are logged."""
    return new_store(Path("mlflow.db"))


class Interrupting(Progress):
    """Raises the given exception after the first epoch."""

    def __init__(self, error: BaseException):
        self.error = error

    def epoch(self, epoch, epochs, metrics):
        raise self.error


class Listening(Progress):
    """Keeps all details."""

    def __init__(self):
        self.details = []

    def detail(self, text):
        self.details.append(text)


@pytest.fixture
def finished(once, tiny, keras, new_store):
    """A finished run that logged its model, while MLflow was used by the caller, and the caller's state afterwards."""
    import mlflow

    def run_within_another_run():
        new_store(Path("callers.db"))
        mlflow.set_tracking_uri("sqlite:///callers.db")
        try:
            callers_id = mlflow.MlflowClient().create_run("0").info.run_id
            with mlflow.start_run(run_id=callers_id), pytest.MonkeyPatch.context() as context:
                context.setenv("MLFLOW_RUN_ID", "0" * 32)
                result = run_experiment(
                    tiny(
                        "+tracking.tags.owner=ada", "notes=hello", "model.dropout=0.1", "evaluation.first_predictions=4"
                    )
                )
                state = mlflow.active_run().info.run_id, mlflow.get_tracking_uri(), os.environ["MLFLOW_RUN_ID"]
        finally:
            mlflow.set_tracking_uri(None)
        return SimpleNamespace(
            result=result, cwd=Path.cwd(), client=connect(result.tracking_uri), callers_id=callers_id, state=state
        )

    return once(run_within_another_run)


@pytest.fixture
def untracked(once, quick, keras):
    """A run without tracking, whose batch size is larger than its data, and what it reported."""

    def run_untracked():
        progress = Listening()
        result = run_experiment(quick("tracking=off", "training.batch_size=301"), progress=progress)
        return SimpleNamespace(result=result, cwd=Path.cwd(), details=progress.details)

    return once(run_untracked)


def _only_run(client):
    (experiment,) = [item for item in client.search_experiments() if item.name != "Default"]
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def test_a_finished_run_returns_its_result(finished):
    result = finished.result
    run = finished.client.get_run(result.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", result.name)
    assert result.name == "16 dropout0.1 epochs2 xla-off limit300 seed0"
    assert run.data.metrics["accuracy/test"] == result.evaluation.accuracy
    assert run.data.tags["owner"] == "ada"
    assert run.data.tags["mlflow.note.content"].endswith("hello")
    assert result.folder.parent == finished.cwd / "outputs" / "tiny"
    assert load_config(result.folder / "config.yaml") == result.config
    assert list(result.timings) == ["start", "load", "build", "compile", "train", "evaluate", "log", "total"]


def test_two_runs_have_separate_folders(quick, keras):
    for _ in range(2):
        with pytest.raises(DatasetError):
            run_experiment(quick("tracking=off", *MISSING_DATA))
    assert len(list(Path("outputs/tiny").iterdir())) == 2


def test_without_tracking_the_folder_contains_everything(untracked):
    result = untracked.result
    assert result.run_id is None
    assert [path.name for path in untracked.cwd.iterdir()] == ["outputs"]
    assert {path.name for path in result.folder.iterdir()} == {
        ".tracking.jsonl", ".tracking.lock", "checksums.txt", "classification_report.txt", "config.yaml", "confusion_matrix.png", "environment", "evaluation",
        "learning_curves.png", "model.h5", "model.keras", "model_summary.txt", "predictions.png", "preprocessing.json",
        "report.html",
    }  # fmt: skip


def test_the_model_is_not_logged_if_the_config_disables_it(client, quick):
    result = run_experiment(quick("tracking.model=false"))
    assert client.get_run(result.run_id).outputs.model_outputs == []
    assert (result.folder / "model.h5").exists()


def test_an_invalid_config_creates_nothing(tiny):
    config = tiny()
    config.training.epochs = 0
    with pytest.raises(ConfigError, match=r"training\.epochs: expected an integer at least 1, got 0"):
        run_experiment(config)
    with pytest.raises(ConfigError, match="dataset: expected DatasetConfig"):
        run_experiment(RunConfig())
    assert not list(Path.cwd().iterdir())


def test_a_missing_server_address_is_a_config_error(tiny):
    with pytest.raises(ConfigError, match=r"tracking\.uri: expected the address of a tracking server"):
        run_experiment(tiny("tracking=server"))
    assert not list(Path.cwd().iterdir())


def test_missing_data_fails_the_run_with_an_error(client):
    with pytest.raises(DatasetError):
        run_experiment(compose_config(MISSING_DATA))
    run = _only_run(client)
    assert run.info.status == "FAILED"
    assert run.data.tags["error"].startswith("DatasetError: dataset.path: expected the four MNIST idx files")
    assert " in nowhere or in its subfolder mnist; it does not exist" in run.data.tags["error"]
    assert run.data.params["dataset.path"] == "nowhere"
    artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert artifacts >= {"error.txt", "config.yaml"}


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError("boom"), "FAILED"), (SystemExit(3), "FAILED"), (KeyboardInterrupt(), "KILLED")],
    ids=["exception", "sys.exit", "Ctrl-C"],
)
def test_the_status_is_correct_after_an_exception_or_interrupt(client, quick, error, status):
    with pytest.raises(type(error)):
        run_experiment(quick(), progress=Interrupting(error))
    run = _only_run(client)
    assert run.info.status == status
    assert run.data.tags["error"] == f"{type(error).__name__}: {error}"
    assert run.info.end_time
    (error_file,) = Path("outputs/tiny").glob("*/error.txt")
    assert "Traceback" in error_file.read_text()


def test_a_failed_run_is_failed_even_if_a_signal_arrives_while_it_is_closed(client, quick, monkeypatch):
    class Impatient(Interrupting):
        def epoch(self, epoch, epochs, metrics):
            monkeypatch.setattr(Tracker, "log_folder", lambda _: os.kill(os.getpid(), signal.SIGINT))
            super().epoch(epoch, epochs, metrics)

    with pytest.raises(KeyboardInterrupt) as caught:
        run_experiment(quick(), progress=Impatient(RuntimeError("boom")))
    assert isinstance(caught.value.__cause__, RuntimeError)
    run = _only_run(client)
    assert (run.info.status, run.data.tags["error"]) == ("FAILED", "RuntimeError: boom")


def test_the_error_is_logged_even_if_a_file_name_is_not_valid_text(client, tiny):
    for part in ("train", "test"):
        for name in ("crow", "gull"):
            folder = Path("birds", part, name)
            folder.mkdir(parents=True)
            (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    config = tiny(
        "dataset=image_folder", "dataset.path=birds", "dataset.height=8", "dataset.width=8", "dataset.limit=null"
    )
    with pytest.raises(DatasetError, match="expected an image; it can't be read"):
        run_experiment(config)
    run = _only_run(client)
    assert run.info.status == "FAILED"
    assert r"caf\udce9.png" in run.data.tags["error"]
    (error_file,) = Path("outputs/tiny").glob("*/error.txt")
    assert r"caf\udce9.png" in error_file.read_text()


class Swallowing(Progress):
    """A library that is interrupted by a signal in the second epoch, and ignores it or raises another exception."""

    def __init__(self, error: Exception | None):
        self.error, self.epochs = error, 0

    def epoch(self, epoch, epochs, metrics):
        self.epochs = epoch
        if epoch == 2:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)
            except KeyboardInterrupt:
                if self.error:
                    raise self.error from None


@pytest.mark.parametrize("error", [None, ImportError("initialization failed")], ids=["nothing", "an error"])
def test_a_signal_stops_the_run_even_if_a_library_swallows_it(client, quick, error):
    library = Swallowing(error)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(quick("training.epochs=5"), progress=library)
    run = _only_run(client)
    assert (run.info.status, run.data.tags["error"]) == ("KILLED", "KeyboardInterrupt: ")
    assert library.epochs == 2
    (error_file,) = Path("outputs/tiny").glob("*/error.txt")
    assert ("initialization failed" in error_file.read_text()) == bool(error)


@pytest.mark.slow
def test_commit_and_local_changes_are_logged(client, quick):
    _git("init", "-q", "-b", "trunk")
    Path(".gitignore").write_text("/outputs\n/mlartifacts\nmlflow.db*\n")
    Path("code.py").write_text("old\n")
    _git("add", ".")
    _git("commit", "-qm", "first")
    clean = client.get_run(run_experiment(quick("tracking.model=false")).run_id)
    assert clean.data.tags["git.dirty"] == "false"
    assert clean.data.tags["mlflow.source.git.branch"] == "trunk"
    Path("code.py").write_text("new\n")
    Path("more.py").write_text("more\n")
    result = run_experiment(quick("tracking.model=false"))
    dirty = client.get_run(result.run_id)
    assert dirty.data.tags["git.dirty"] == "true"
    assert dirty.data.tags["mlflow.source.git.commit"] == clean.data.tags["mlflow.source.git.commit"]
    diff = (result.folder / "environment" / "git.diff").read_text()
    assert "+new" in diff
    assert "# untracked: more.py" in diff


@pytest.mark.slow
def test_weights_depend_on_config_and_seed(client, quick):
    runs = [run_experiment(quick(f"seed={seed}", "tracking.model=false")) for seed in (1, 1, 2)]
    tags = [client.get_run(run.run_id).data.tags for run in runs]
    assert tags[0]["weights_digest"] == tags[1]["weights_digest"] != tags[2]["weights_digest"]
    assert len({tag["config_hash"] for tag in tags}) == 1
    assert len({tag["dataset_digest"] for tag in tags[:2]}) == 1


def test_an_unreachable_server_is_reported_before_the_training(tiny, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"the tracking store http://127.0.0.1:9 can't be used"):
        run_experiment(tiny("tracking.uri=http://127.0.0.1:9"))


def test_a_silent_server_is_reported_before_the_training(tiny, monkeypatch):
    """The port accepts connections, but nothing answers."""
    assert 2 * connection.ANSWER_SECONDS <= 10  # a server gets two attempts
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(TrackingError, match=rf"the tracking store {uri} can't be used: .*[Tt]imed out"):
            run_experiment(tiny(f"tracking.uri={uri}"))
    assert time.monotonic() - started < 60  # without the check, MLflow waits for four minutes


def test_a_password_in_the_environment_is_shown_nowhere(tiny, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:canary@127.0.0.1:9")
    with pytest.raises(TrackingError) as caught:
        run_experiment(tiny())
    assert "http://***@127.0.0.1:9" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert not any(b"canary" in path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file())


def test_if_the_store_fails_during_the_run_the_folder_contains_everything(quick, keras):
    class LosesTheStore(Listening):
        def epoch(self, epoch, epochs, metrics):
            if epoch == 1:
                Path("mlflow.db").unlink()
                Path("mlflow.db").mkdir()

    progress = LosesTheStore()
    with pytest.raises(TrackingError, match="Nothing is lost: .* contains the complete run"):
        run_experiment(quick(), progress=progress)
    assert any("The run continues" in detail for detail in progress.details)
    (folder,) = Path("outputs/tiny").iterdir()
    assert (folder / "model.h5").exists()
    assert json.loads((folder / "evaluation" / "metrics.json").read_text())["accuracy/test"] > 0


def test_a_failed_call_to_the_store_is_repeated_at_the_end(client, quick, monkeypatch):
    """One call fails, then the store works again."""
    from mlflow import MlflowClient

    log_inputs = MlflowClient.log_inputs

    def locked(self, *arguments, **named):
        monkeypatch.setattr(MlflowClient, "log_inputs", log_inputs)
        raise OSError("database is locked")

    monkeypatch.setattr(MlflowClient, "log_inputs", locked)
    run_experiment(quick("tracking.model=false"))
    run = _only_run(client)
    assert run.info.status == "FINISHED"
    assert "error" not in run.data.tags
    assert {entry.tags[0].value for entry in run.inputs.dataset_inputs} == {"train", "test"}


def test_a_run_whose_calls_to_the_store_keep_failing_is_failed(client, quick, monkeypatch):
    from mlflow import MlflowClient

    def locked(self, *arguments, **named):
        raise OSError("database is locked")

    monkeypatch.setattr(MlflowClient, "log_inputs", locked)
    with pytest.raises(TrackingError, match="is locked: another program.* Nothing is lost"):
        run_experiment(quick("tracking.model=false", "tracking.retry_seconds=0"))
    run = _only_run(client)
    assert run.info.status == "FAILED"
    assert "is locked" in run.data.tags["error"]


@pytest.mark.parametrize("folder", [".", "..", "used"])
def test_a_run_requires_a_new_or_empty_folder(tiny, folder):
    Path("used").mkdir()
    Path("used/secret").write_text("mine")
    with pytest.raises(ConfigError, match="expected a separate folder|got one that contains files"):
        run_experiment(tiny(), folder=folder)
    assert [path.name for path in Path.cwd().iterdir()] == ["used"]


def test_a_folder_that_cannot_be_created_raises(tiny):
    Path("outputs").write_text("in the way")
    with pytest.raises(TrainyardError, match="the run's folder can't be created"):
        run_experiment(tiny())


@pytest.mark.slow
def test_without_tracking_mlflow_is_not_imported():
    program = (
        "import sys; from trainyard import compose_config, run_experiment\n"
        "run_experiment(compose_config(['tracking=off', 'dataset.limit=50', 'model.hidden_units=[4]', 'training.epochs=1']))\n"
        "assert 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_second_run_in_the_same_process_raises_at_once_without_a_folder_or_a_run(client, quick):
    class StartsAnother(Listening):
        def epoch(self, epoch, epochs, metrics):
            with ThreadPoolExecutor(1) as thread:
                self.second = thread.submit(run_experiment, quick("name=second", "seed=1")).exception()
            self.folders = [path.name for path in Path("outputs").iterdir()]

    progress = StartsAnother()
    result = run_experiment(quick("training.epochs=1", "tracking.model=false"), progress=progress)
    assert isinstance(progress.second, TrainingError)
    assert "Seeds and TensorFlow's settings apply to the whole process" in str(progress.second)
    assert progress.folders == ["tiny"]
    assert _only_run(client).info.run_id == result.run_id
    assert client.get_experiment_by_name("second") is None
    assert result.history == result.training.history
    with pytest.raises(DatasetError):  # the failed call above did not end the first run, and the lock is free again
        run_experiment(quick(*MISSING_DATA, "tracking=off"))


def test_a_deleted_experiment_raises(client, tiny):
    client.delete_experiment(client.create_experiment("tiny"))
    with pytest.raises(TrackingError, match="the experiment 'tiny' has been deleted in this store. Restore it"):
        run_experiment(tiny())


def test_the_default_store_is_in_the_working_directory_of_each_run(tiny, new_store, monkeypatch):
    for name in ("one", "two"):
        Path(name).mkdir()
        monkeypatch.chdir(name)
        with pytest.raises(DatasetError):
            run_experiment(tiny(*MISSING_DATA))
        monkeypatch.chdir("..")
    for name in ("one", "two"):
        run = _only_run(connect(build_sqlite_uri(Path(name, "mlflow.db"))))
        assert Path(run.data.tags["trainyard.folder"]).parent == Path(name, "outputs", "tiny").absolute()


def test_the_mlflow_state_of_the_caller_is_not_changed(finished):
    assert finished.state == (finished.callers_id, "sqlite:///callers.db", "0" * 32)
    assert finished.result.run_id not in (finished.callers_id, "0" * 32)


def test_a_batch_larger_than_the_data_causes_a_warning(untracked):
    warning = (
        "warning: training.batch_size=301 is larger than the training set (300 images), so each epoch is a single step"
    )
    assert warning in untracked.details


def test_loaded_models_make_the_same_predictions(finished, keras):
    result = finished.result
    scaled = result.dataset.test.images / np.float32(16)
    for name in ("model.keras", "model.h5"):
        loaded = keras.models.load_model(result.folder / name)
        assert np.array_equal(loaded.predict_on_batch(scaled), result.model.predict_on_batch(scaled)), name
    resumed = keras.models.load_model(result.folder / "model.keras")
    assert int(resumed.optimizer.iterations.numpy()) == 2 * 10  # .keras includes the optimizer


def test_the_logged_model_accepts_raw_pixels(finished):
    import mlflow

    result = finished.result
    (output,) = finished.client.get_run(result.run_id).outputs.model_outputs
    logged = finished.client.get_logged_model(output.model_id)
    mlflow.set_tracking_uri(result.tracking_uri)
    try:
        served = mlflow.pyfunc.load_model(logged.model_uri)
        requirements = mlflow.pyfunc.get_model_dependencies(logged.model_uri)
    finally:
        mlflow.set_tracking_uri(None)
    assert np.allclose(served.predict(result.dataset.test.images), result.evaluation.probabilities, atol=1e-6)
    (inputs,) = served.metadata.signature.inputs.inputs
    assert (inputs.type, inputs.shape) == (np.uint8, (-1, 8, 8))
    packages = {line.partition("==")[0] for line in Path(requirements).read_text().split()}
    assert packages >= {"tensorflow", "keras", "numpy"}


def test_the_tables_match_the_result(finished):
    result = finished.result
    evaluation = result.folder / "evaluation"
    first = json.loads((evaluation / "first_predictions.json").read_text())
    assert [row["actual"] for row in first] == [str(label) for label in result.dataset.test.labels[:4]]
    matrix = json.loads((evaluation / "confusion_matrix.json").read_text())
    assert matrix["matrix"] == result.evaluation.confusion.tolist()
    per_class = json.loads((evaluation / "per_class.json").read_text())
    assert per_class["columns"] == ["class", "f1", "precision", "recall", "support"]
    assert sum(row[4] for row in per_class["data"]) == 300
    saved = np.load(evaluation / "test_predictions.npz")
    assert saved["predicted"].dtype == np.uint8
    assert np.mean(saved["predicted"] == saved["actual"]) == result.evaluation.accuracy


def _git(*arguments: str) -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *identity, *arguments], check=True)


def test_a_run_is_nested_under_a_run_of_the_user(client, quick):
    experiment = client.create_experiment("mine")
    parent = client.create_run(experiment).info.run_id
    nested = run_experiment(quick("tracking.model=false", f"tracking.parent={parent}", "tracking.experiment=mine"))
    run = client.get_run(nested.run_id)
    assert (run.info.experiment_id, run.data.tags["mlflow.parentRunId"]) == (experiment, parent)
    with pytest.raises(TrackingError, match="has no run '0{32}'"):
        run_experiment(quick("tracking.model=false", f"tracking.parent='{'0' * 32}'"))


def test_a_run_changes_nothing_in_the_process_of_the_caller(quick, monkeypatch):
    import mlflow

    def snapshot():
        loggers = {name: logging.getLogger(name).level for name in ("", "mlflow", "alembic", "urllib3")}
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        variables = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
        return loggers, handlers, variables, mlflow.get_tracking_uri(), mlflow.active_run()

    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    before = snapshot()
    run_experiment(quick())
    assert snapshot() == before

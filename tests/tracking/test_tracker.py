"""The writers to the store, in this process and in a separate one, and what happens when one of the processes dies."""

from __future__ import annotations

import filecmp
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from processes import command_line, run_program

from trainyard import TrackingError
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import TrackingStore, operations
from trainyard.tracking.connection import connect, tracking_errors
from trainyard.tracking.mlflow_model import MODEL_PACKAGES, ServableModel, _pin_version
from trainyard.tracking.names import RUN_KEY
from trainyard.tracking.writer import RunRequest, StoreWriter, WriterStatus
from trainyard.tracking.writer_process import ProcessWriter


def _make_request(folder):
    return TrackingStore(build_sqlite_uri(folder / "mlflow.db")), RunRequest("tiny", "Notes.", "a run", {"seed": "0"})


def _only_run(client):
    (experiment,) = [experiment for experiment in client.search_experiments() if experiment.name == "tiny"]
    (run,) = client.search_runs([experiment.experiment_id])
    return run


PRINTING = """
import pathlib
from stand_ins import install_stand_ins

install_stand_ins()
print("hello")
pathlib.Path(__file__).with_name("printed").touch()
"""
"""A module that Python imports when the writer process starts."""


def _log_with(writer_class, folder, monkeypatch):
    """Logs valid data, then an operation that fails, and others after it.

    A writer process prints text while it starts, and later receives the signals that stop a run.
    """
    store, request = _make_request(folder)
    for name, text in {"notes.txt": "hello", "table/rows.json": "[]", "program/sitecustomize.py": PRINTING}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    with monkeypatch.context() as context:
        context.setenv("PYTHONPATH", str(folder / "program"), prepend=os.pathsep)
        writer = writer_class()
    writer.create(store, request)
    created = writer.flush()
    if writer_class is ProcessWriter:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(writer._process.pid, number)
    metrics = {"loss/train": 0.5}
    writer.perform(operations.log_history, [(metrics, 1, 1000)])
    metrics["loss/train"] = 9.0  # a later change does not affect what is logged
    writer.perform(operations.log_params, {"model.hidden_units": [3, 2], "long": "x" * 7000})
    writer.perform(operations.set_tags, {"a": "b"})
    writer.perform(operations.log_inputs, [operations.DatasetInput("digits", "train", "0" * 64, "here", 5, (8, 8), 10)])
    writer.perform(operations.log_files, [folder / "notes.txt", folder / "table"])
    writer.perform(operations.end, "FINISHED")
    complete = writer.flush()
    client = connect(store.uri)
    complete_run = _only_run(client)
    writer.perform(operations.log_files, [folder / "absent.txt"])
    writer.perform(operations.set_tags, {"tried": "yes"})
    failed = writer.flush()
    writer.perform(operations.end, "FAILED", even_after_failure=True)
    last = writer.flush()
    writer.close()
    assert writer.status == last
    return SimpleNamespace(
        client=client, created=created, complete=complete, complete_run=complete_run, failed=failed, last=last,
        printed=(folder / "program" / "printed").exists(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def _logged():
    return {}


@pytest.fixture
def logged_with(_logged, tmp_path_factory, monkeypatch):
    """Returns a function that logs with a writer, once for all tests of this module; see `_log_with`."""

    def log(writer_class):
        if writer_class not in _logged:
            _logged[writer_class] = _log_with(writer_class, tmp_path_factory.mktemp("logged"), monkeypatch)
        return _logged[writer_class]

    return log


@pytest.mark.parametrize("writer_class", [StoreWriter, ProcessWriter])
def test_both_writers_log_the_same_data(writer_class, logged_with):
    logged = logged_with(writer_class)
    client, run, status = logged.client, logged.complete_run, logged.complete
    assert status.failure is None
    assert (run.info.run_id, run.info.experiment_id) == (status.run_id, status.experiment_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "a run")
    assert run.data.params == {"model.hidden_units": "[3, 2]"}
    assert run.data.tags.items() >= {"seed": "0", "a": "b"}.items()
    (point,) = client.get_metric_history(run.info.run_id, "loss/train")
    assert (point.value, point.step, point.timestamp) == (0.5, 1, 1000)
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["notes.txt", "table"]


@pytest.mark.parametrize("writer_class", [StoreWriter, ProcessWriter])
def test_after_the_first_failure_only_required_operations_are_performed(writer_class, logged_with):
    logged = logged_with(writer_class)
    assert "absent.txt" in str(logged.failed.failure)
    assert str(logged.last.failure) == str(logged.failed.failure)
    run = _only_run(logged.client)
    assert run.info.status == "FAILED"
    assert "tried" not in run.data.tags


def test_the_writer_process_ignores_the_signals_that_stop_a_run(logged_with):
    logged = logged_with(ProcessWriter)
    assert logged.complete.failure is None
    assert logged.complete_run.info.status == "FINISHED"


def test_output_during_the_start_of_the_writer_process_is_ignored(logged_with):
    logged = logged_with(ProcessWriter)
    assert logged.printed
    assert logged.created.run_id
    assert logged.created.failure is None


def test_a_writer_that_continues_a_run_creates_neither_the_run_nor_its_model_again(keras, tmp_path):
    """The first writer died before its answers arrived."""
    store, request = _make_request(tmp_path)
    request = replace(request, tags={**request.tags, RUN_KEY: "1"}, model_label="tiny")
    model = keras.Sequential([keras.layers.Input((4, 4)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.save(tmp_path / "trainyard.keras")
    servable = ServableModel(tmp_path / "trainyard.keras", "tiny", (4, 4), 3)
    writers = [StoreWriter(), StoreWriter()]
    writers[1].continue_run(store, WriterStatus())
    for writer in writers:
        writer.create(store, request)
        writer.perform(operations.log_model, servable, [], None)  # moves the file, so it fails the second time
        assert writer.status.failure is None
    client = connect(store.uri)
    assert {writer.status.run_id for writer in writers} == {_only_run(client).info.run_id}
    assert len(client.search_logged_models([writers[0].status.experiment_id])) == 1


def test_an_unreachable_store_is_a_failure_without_a_traceback(monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    writer = StoreWriter()
    writer.create(TrackingStore("http://ada:canary@127.0.0.1:9"), RunRequest("tiny", "", "a run", {}))
    writer.perform(operations.set_tags, {"a": "b"})
    status = writer.flush()
    writer.close()
    assert status.run_id is None
    assert "the tracking store http://***@127.0.0.1:9 can't be used" in str(status.failure)
    assert "canary" not in str(status.failure)
    assert capfd.readouterr() == ("", "")


def test_a_package_that_another_distribution_provides_is_required_without_version():
    assert _pin_version("no-such-package") == "no-such-package"
    assert _pin_version("numpy") == f"numpy=={version('numpy')}"


def test_the_servable_model_equals_the_one_that_mlflow_writes(keras, tmp_path):
    import mlflow.keras
    from mlflow.models import Model

    model = keras.Sequential([keras.layers.Input((4, 4)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.save(tmp_path / "trainyard.keras")
    servable = ServableModel(tmp_path / "trainyard.keras", "tiny", (4, 4), 3)
    actual, expected = tmp_path / "actual", tmp_path / "expected"
    servable.save_model(actual, description := Model())
    mlflow.keras.save_model(
        model,
        str(expected),
        signature=description.signature,
        pip_requirements=[f"{name}=={version(name)}" for name in MODEL_PACKAGES],
    )
    names = sorted(str(path.relative_to(expected)) for path in expected.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(actual)) for path in actual.rglob("*") if path.is_file())
    same = [name for name in names if name not in ("MLmodel", "data/model.keras")]
    assert len(same) == 4
    assert filecmp.cmpfiles(actual, expected, same, shallow=False)[0] == same
    contents = [yaml.safe_load((folder / "MLmodel").read_text()) for folder in (actual, expected)]
    for content in contents:
        del content["model_uuid"], content["utc_time_created"], content["model_size_bytes"]
    assert contents[0] == contents[1]
    assert not (tmp_path / "trainyard.keras").exists()
    images = np.zeros((2, 4, 4), np.uint8)
    assert mlflow.pyfunc.load_model(str(actual)).predict(images).shape == (2, 3)


@pytest.mark.slow
def test_a_run_whose_writer_process_dies_uploads_itself_at_the_end(tmp_path):
    """The program has not imported MLflow, like the command line."""
    program = (
        "import os, threading, time\n"
        "from trainyard import Progress, compose_config, run_experiment\n"
        "import psutil\n"
        "class WriterKiller(Progress):\n"
        "    def epoch(self, epoch, epochs, metrics):\n"
        "        threading.Thread(target=self.kill, daemon=True).start()\n"
        "    def kill(self):\n"
        "        while True:\n"
        "            for child in psutil.Process().children(): child.kill()\n"
        "            time.sleep(0.05)\n"
        "    def detail(self, text): print(text)\n"
        "config = compose_config(['dataset.limit=50', 'model.hidden_units=[4]', 'training.epochs=1', 'name=tiny',\n"
        "                         'training.xla=off'])\n"
        "config.tracking.uri = 'sqlite:///' + os.environ['STORE']\n"
        "run_experiment(config, progress=WriterKiller())\n"
    )
    store = tmp_path / "mlflow.db"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "STORE": str(store)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the process that logs to MLflow ended unexpectedly with exit code -9" in done.stdout
    assert "the tracking store works again and now contains the complete run" in done.stdout
    run = _only_run(connect(build_sqlite_uri(store)))
    assert run.info.status == "FINISHED"
    assert "error" not in run.data.tags
    assert run.data.metrics["loss/train"] > 0


def test_ctrl_c_does_not_wait_for_an_unresponsive_store(tmp_path):
    """The store accepts the connection but never answers."""
    with socket.create_server(("127.0.0.1", 0)) as unresponsive:
        uri = f"http://127.0.0.1:{unresponsive.getsockname()[1]}"
        command = command_line("train", f"tracking.uri={uri}")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout
        while "Starting TensorFlow" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: the run is KILLED" in errors
    assert time.monotonic() - start < 30


OPEN_STORE_PROGRAM = """
import signal, sys
from pathlib import Path
from trainyard.tracking import TrackingStore
from trainyard.system.uris import build_sqlite_uri
signal.setitimer(signal.ITIMER_PROF, float(sys.argv[1]))
TrackingStore(build_sqlite_uri(Path("mlflow.db").absolute())).open_experiment("tiny", "")
print("created", flush=True)
"""
"""A signal that is not handled kills the process after some seconds of processor time; 0 disables it."""


@pytest.mark.parametrize("text", ["http://ada:canary@host/api failed", f"parse http://oauth2:{'canary' * 99}@host"])
def test_passwords_are_removed_from_error_messages_of_mlflow(text):
    uri = "http://ada:canary@host"
    with pytest.raises(TrackingError) as caught, tracking_errors(uri):
        raise RuntimeError(text)
    assert "canary" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(TrackingError) as caught, tracking_errors("http://host"):
        raise RuntimeError("no")
    assert isinstance(caught.value.__cause__, RuntimeError)  # the cause is kept if it contains no password


@pytest.mark.slow
@pytest.mark.stores
def test_a_store_whose_creation_was_killed_is_created_by_the_next_process():
    """Creating the tables takes half a second; MLflow can't open a file in which some of them are missing."""
    interrupted, seconds, is_created = 0, 0.05, False
    while not is_created:
        done = run_program(OPEN_STORE_PROGRAM, str(seconds))
        is_created = done.returncode == 0
        assert is_created or done.returncode == -signal.SIGPROF, done.stderr
        interrupted += Path("partial.mlflow.db").exists()
        seconds += 0.1
    assert interrupted
    for _ in range(2):
        assert run_program(OPEN_STORE_PROGRAM, "0").stdout == "created\n"
    assert not list(Path().glob("partial.*"))

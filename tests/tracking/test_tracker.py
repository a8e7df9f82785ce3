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
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import yaml

from trainyard import TrackingError
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import operations
from trainyard.tracking.connection import connect, tracking_errors
from trainyard.tracking.mlflow_model import MODEL_PACKAGES, ServableModel
from trainyard.tracking.writer import RunRequest, StoreWriter
from trainyard.tracking.writer_process import PROCESS_DIED, ProcessWriter


@pytest.fixture
def request_(tmp_path):
    return RunRequest(build_sqlite_uri(tmp_path / "mlflow.db"), "tiny", "Notes.", "a run", {"seed": "0"})


@pytest.fixture
def client(request_):
    """Returns a client of the store when called, which must be after the store was created."""
    return lambda: connect(request_.uri)


def _only_run(client):
    (experiment,) = [experiment for experiment in client.search_experiments() if experiment.name == "tiny"]
    (run,) = client.search_runs([experiment.experiment_id])
    return run


@pytest.mark.parametrize("writer_class", [StoreWriter, ProcessWriter])
def test_both_writers_log_the_same_data(writer_class, request_, client, tmp_path):
    folder = tmp_path / "table"
    folder.mkdir()
    (folder / "rows.json").write_text("[]")
    (tmp_path / "notes.txt").write_text("hello")
    writer = writer_class()
    writer.create(request_)
    metrics = {"loss/train": 0.5}
    writer.perform(operations.log_metrics, metrics, 1, 1000)
    metrics["loss/train"] = 9.0  # a later change does not affect what is logged
    writer.perform(operations.log_params, {"model.hidden_units": [3, 2], "long": "x" * 7000})
    writer.perform(operations.set_tags, {"a": "b"})
    writer.perform(operations.log_inputs, [operations.DatasetInput("digits", "train", "0" * 64, "here", 5, (8, 8), 10)])
    writer.perform(operations.log_files, [tmp_path / "notes.txt", folder])
    writer.perform(operations.end, "FINISHED")
    status = writer.flush()
    writer.close()
    assert status.failure is None
    assert writer.status == status
    run = _only_run(client())
    assert (run.info.run_id, run.info.experiment_id) == (status.run_id, status.experiment_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "a run")
    assert run.data.params == {"model.hidden_units": "[3, 2]"}
    assert run.data.tags.items() >= {"seed": "0", "a": "b"}.items()
    (point,) = client().get_metric_history(run.info.run_id, "loss/train")
    assert (point.value, point.step, point.timestamp) == (0.5, 1, 1000)
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"
    assert [file.path for file in client().list_artifacts(run.info.run_id)] == ["notes.txt", "table"]


@pytest.mark.parametrize("writer_class", [StoreWriter, ProcessWriter])
def test_after_the_first_failure_only_required_operations_are_performed(writer_class, request_, client, tmp_path):
    writer = writer_class()
    writer.create(request_)
    writer.perform(operations.log_files, [tmp_path / "absent.txt"])
    writer.perform(operations.set_tags, {"tried": "yes"})
    failure = writer.flush().failure
    assert "absent.txt" in str(failure)
    writer.perform(operations.end, "FAILED", even_after_failure=True)
    assert str(writer.flush().failure) == str(failure)
    writer.close()
    run = _only_run(client())
    assert run.info.status == "FAILED"
    assert "tried" not in run.data.tags


@pytest.mark.parametrize("writer_class", [StoreWriter, ProcessWriter])
def test_an_unreachable_store_is_a_failure_without_a_traceback(writer_class, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    writer = writer_class()
    writer.create(RunRequest("http://ada:canary@127.0.0.1:9", "tiny", "", "a run", {}))
    writer.perform(operations.set_tags, {"a": "b"})
    status = writer.flush()
    writer.close()
    assert status.run_id is None
    assert "the tracking store http://***@127.0.0.1:9 can't be used" in str(status.failure)
    assert "canary" not in str(status.failure)
    assert capfd.readouterr() == ("", "")


def test_a_writer_process_that_dies_is_a_failure_of_the_store(request_):
    writer = ProcessWriter()
    writer.create(request_)
    assert writer.flush().failure is None
    os.kill(writer.pid, signal.SIGKILL)
    writer.perform(operations.set_tags, {"a": "b"})
    for _ in range(2):  # the process stays dead
        assert "the process that logs to MLflow ended unexpectedly with exit code -9" in str(writer.flush().failure)
    writer.close()
    assert writer.status.run_id


def test_the_writer_process_ignores_the_signals_that_stop_a_run(request_):
    writer = ProcessWriter()
    writer.create(request_)
    writer.flush()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(writer.pid, number)
    writer.perform(operations.end, "KILLED")
    assert writer.flush().failure is None
    writer.close()


def test_the_writer_process_closes_a_run_whose_process_is_killed(client, request_):
    program = (
        "import sys, time\n"
        "from trainyard.tracking.writer_process import ProcessWriter\n"
        "from trainyard.tracking.writer import RunRequest\n"
        "writer = ProcessWriter()\n"
        f"writer.create({request_!r})\n"
        "writer.flush()\n"
        "print(writer.pid, flush=True)\n"
        "time.sleep(100)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    writer_pid = int(process.stdout.readline())
    assert _only_run(client()).info.status == "RUNNING"
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{writer_pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run = _only_run(client())
    assert run.info.status == "KILLED"
    assert run.data.tags["error"] == PROCESS_DIED


def test_the_servable_model_equals_the_one_that_mlflow_writes(keras, tmp_path):
    import mlflow.keras
    from mlflow.models import Model

    model = keras.Sequential([keras.layers.Input((4, 4)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.save(tmp_path / "trainyard.keras")
    servable = ServableModel(tmp_path / "trainyard.keras", (4, 4), 3)
    actual, expected = tmp_path / "actual", tmp_path / "expected"
    servable.save_model(str(actual), description := Model())
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


def test_output_during_the_start_of_the_writer_process_is_ignored(request_, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("print('hello')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    writer = ProcessWriter()
    writer.create(request_)
    status = writer.flush()
    writer.perform(operations.end, "FINISHED")
    writer.flush()
    writer.close()
    assert status.run_id
    assert status.failure is None


@pytest.mark.slow
def test_a_run_whose_writer_process_dies_uploads_itself_at_the_end(client, tmp_path):
    """The program has not imported MLflow, like the command line."""
    program = (
        "import os, signal\n"
        "from trainyard import Progress, compose_config, run_experiment\n"
        "import psutil\n"
        "class WriterKiller(Progress):\n"
        "    def epoch(self, epoch, epochs, metrics):\n"
        "        for child in psutil.Process().children(): child.kill()\n"
        "    def detail(self, text): print(text)\n"
        "config = compose_config(['dataset.limit=50', 'model.hidden_units=[4]', 'training.epochs=1', 'name=tiny'])\n"
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
    run = _only_run(client())
    assert run.info.status == "FINISHED"
    assert "error" not in run.data.tags
    assert run.data.metrics["loss/train"] > 0


def test_ctrl_c_does_not_wait_for_an_unresponsive_store(tmp_path):
    """The store accepts the connection but never answers."""
    with socket.create_server(("127.0.0.1", 0)) as unresponsive:
        uri = f"http://127.0.0.1:{unresponsive.getsockname()[1]}"
        command = [sys.executable, "-c", "from trainyard.cli import main; main()", "train", f"tracking.uri={uri}"]
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
import sys
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from trainyard.tracking.connection import open_store
from trainyard.system.uris import build_sqlite_uri
print("start", flush=True)
open_store(build_sqlite_uri(Path("mlflow.db").absolute()), "tiny", "")
print("created", flush=True)
"""


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
    interrupted, wait_seconds = 0, 0.05
    while wait_seconds < 2:
        process = subprocess.Popen([sys.executable, "-c", OPEN_STORE_PROGRAM], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "start\n"
        time.sleep(wait_seconds)
        process.kill()
        is_created = process.communicate()[0] == "created\n"
        interrupted += Path("partial.mlflow.db").exists()
        if is_created:
            break
        wait_seconds += 0.25
    assert interrupted
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", OPEN_STORE_PROGRAM], stdout=subprocess.PIPE, text=True, check=True)
        assert done.stdout == "start\ncreated\n"
    assert not list(Path().glob("partial.*"))

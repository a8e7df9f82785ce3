"""The writers to the store, here and in a process of their own, and what they do when one side dies."""

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
from trainyard.system.uris import sqlite_uri
from trainyard.tracking import operations
from trainyard.tracking.connection import connect, tracking_errors
from trainyard.tracking.mlflow_model import MODEL_PACKAGES, ServableModel
from trainyard.tracking.writer import RunRequest, StoreWriter
from trainyard.tracking.writer_process import DIED, WorkerWriter


@pytest.fixture
def request_(tmp_path):
    return RunRequest(sqlite_uri(tmp_path / "mlflow.db"), "tiny", "Notes.", "a run", {"seed": "0"})


@pytest.fixture
def client(request_):
    """A client of the store, made when the store is there."""
    return lambda: connect(request_.uri)


def _only_run(client):
    (found,) = [experiment for experiment in client.search_experiments() if experiment.name == "tiny"]
    (run,) = client.search_runs([found.experiment_id])
    return run


@pytest.mark.parametrize("writer_class", [StoreWriter, WorkerWriter])
def test_both_writers_write_the_same(writer_class, request_, client, tmp_path):
    folder = tmp_path / "table"
    folder.mkdir()
    (folder / "rows.json").write_text("[]")
    (tmp_path / "notes.txt").write_text("hello")
    writer = writer_class()
    writer.create(request_)
    metrics = {"loss/train": 0.5}
    writer.perform(operations.log_metrics, metrics, 1, 1000)
    metrics["loss/train"] = 9.0  # what is logged is what it was
    writer.perform(operations.log_params, {"model.hidden_units": [3, 2], "long": "x" * 7000})
    writer.perform(operations.set_tags, {"a": "b"})
    writer.perform(operations.log_inputs, [operations.DatasetInput("digits", "train", "0" * 64, "here", 5, (8, 8), 10)])
    writer.perform(operations.log_files, [tmp_path / "notes.txt", folder])
    writer.perform(operations.end, "FINISHED")
    standing = writer.settle()
    writer.close()
    assert standing.failure is None
    assert writer.standing == standing
    run = _only_run(client())
    assert (run.info.run_id, run.info.experiment_id) == (standing.run_id, standing.experiment_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "a run")
    assert run.data.params == {"model.hidden_units": "[3, 2]"}
    assert run.data.tags.items() >= {"seed": "0", "a": "b"}.items()
    (point,) = client().get_metric_history(run.info.run_id, "loss/train")
    assert (point.value, point.step, point.timestamp) == (0.5, 1, 1000)
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"
    assert [file.path for file in client().list_artifacts(run.info.run_id)] == ["notes.txt", "table"]


@pytest.mark.parametrize("writer_class", [StoreWriter, WorkerWriter])
def test_after_the_first_failure_only_what_must_be_is_tried(writer_class, request_, client, tmp_path):
    writer = writer_class()
    writer.create(request_)
    writer.perform(operations.log_files, [tmp_path / "absent.txt"])
    writer.perform(operations.set_tags, {"tried": "yes"})
    failure = writer.settle().failure
    assert "absent.txt" in str(failure)
    writer.perform(operations.end, "FAILED", although_failed=True)
    assert str(writer.settle().failure) == str(failure)
    writer.close()
    run = _only_run(client())
    assert run.info.status == "FAILED"
    assert "tried" not in run.data.tags


@pytest.mark.parametrize("writer_class", [StoreWriter, WorkerWriter])
def test_a_store_out_of_reach_is_a_failure_and_no_traceback(writer_class, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    writer = writer_class()
    writer.create(RunRequest("http://ada:canary@127.0.0.1:9", "tiny", "", "a run", {}))
    writer.perform(operations.set_tags, {"a": "b"})
    standing = writer.settle()
    writer.close()
    assert standing.run_id is None
    assert "the tracking store http://***@127.0.0.1:9 can't be used" in str(standing.failure)
    assert "canary" not in str(standing.failure)
    assert capfd.readouterr() == ("", "")


def test_a_worker_that_dies_is_a_failure_of_the_store(request_):
    writer = WorkerWriter()
    writer.create(request_)
    assert writer.settle().failure is None
    os.kill(writer.pid, signal.SIGKILL)
    writer.perform(operations.set_tags, {"a": "b"})
    for _ in range(2):  # it stays dead
        assert "the process that logs to MLflow ended by itself, code -9" in str(writer.settle().failure)
    writer.close()
    assert writer.standing.run_id


def test_a_worker_does_not_hear_the_signals_that_end_a_run(request_):
    writer = WorkerWriter()
    writer.create(request_)
    writer.settle()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(writer.pid, number)
    writer.perform(operations.end, "KILLED")
    assert writer.settle().failure is None
    writer.close()


def test_a_run_whose_process_is_killed_is_closed_by_its_worker(client, request_):
    program = (
        "import sys, time\n"
        "from trainyard.tracking.writer_process import WorkerWriter\n"
        "from trainyard.tracking.writer import RunRequest\n"
        "writer = WorkerWriter()\n"
        f"writer.create({request_!r})\n"
        "writer.settle()\n"
        "print(writer.pid, flush=True)\n"
        "time.sleep(100)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    worker = int(process.stdout.readline())
    assert _only_run(client()).info.status == "RUNNING"
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{worker}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run = _only_run(client())
    assert run.info.status == "KILLED"
    assert run.data.tags["error"] == DIED


def test_the_servable_model_is_what_mlflow_itself_would_write(keras, tmp_path):
    import mlflow.keras
    from mlflow.models import Model

    model = keras.Sequential([keras.layers.Input((4, 4)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.save(tmp_path / "ours.keras")
    servable = ServableModel(tmp_path / "ours.keras", (4, 4), 3)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    servable.save_model(str(ours), described := Model())
    mlflow.keras.save_model(
        model,
        str(theirs),
        signature=described.signature,
        pip_requirements=[f"{name}=={version(name)}" for name in MODEL_PACKAGES],
    )
    names = sorted(str(path.relative_to(theirs)) for path in theirs.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(ours)) for path in ours.rglob("*") if path.is_file())
    same = [name for name in names if name not in ("MLmodel", "data/model.keras")]
    assert len(same) == 4
    assert filecmp.cmpfiles(ours, theirs, same, shallow=False)[0] == same
    described_by = [yaml.safe_load((folder / "MLmodel").read_text()) for folder in (ours, theirs)]
    for description in described_by:
        del description["model_uuid"], description["utc_time_created"], description["model_size_bytes"]
    assert described_by[0] == described_by[1]
    assert not (tmp_path / "ours.keras").exists()
    images = np.zeros((2, 4, 4), np.uint8)
    assert mlflow.pyfunc.load_model(str(ours)).predict(images).shape == (2, 3)


def test_what_is_printed_while_the_worker_starts_disturbs_nothing(request_, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("print('hello')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    writer = WorkerWriter()
    writer.create(request_)
    standing = writer.settle()
    writer.perform(operations.end, "FINISHED")
    writer.settle()
    writer.close()
    assert standing.run_id
    assert standing.failure is None


@pytest.mark.slow
def test_a_run_whose_worker_dies_is_told_by_the_run_itself(client, tmp_path):
    """In a process that has not imported MLflow, as the command line is."""
    program = (
        "import os, signal\n"
        "from trainyard import Progress, compose_config, run_experiment\n"
        "import psutil\n"
        "class Kills(Progress):\n"
        "    def epoch(self, epoch, epochs, metrics):\n"
        "        for child in psutil.Process().children(): child.kill()\n"
        "    def detail(self, text): print(text)\n"
        "config = compose_config(['dataset.limit=50', 'model.hidden_units=[4]', 'training.epochs=1', 'name=tiny'])\n"
        "config.tracking.uri = 'sqlite:///' + os.environ['STORE']\n"
        "run_experiment(config, progress=Kills())\n"
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
    assert "the process that logs to MLflow ended by itself, code -9" in done.stdout
    assert "the tracking store works again, and has the whole run now" in done.stdout
    run = _only_run(client())
    assert run.info.status == "FINISHED"
    assert "error" not in run.data.tags
    assert run.data.metrics["loss/train"] > 0


def test_ctrl_c_does_not_wait_for_a_store_that_does_not_answer(tmp_path):
    """The store accepts the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-c", "from trainyard.cli import main; main()", "train", f"tracking.uri={uri}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout
        while "Starting TensorFlow" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: the run is KILLED" in errors
    assert time.monotonic() - began < 30


FIRST = """
import sys
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from trainyard.tracking.connection import open_store
from trainyard.system.uris import sqlite_uri
print("go", flush=True)
open_store(sqlite_uri(Path("mlflow.db").absolute()), "tiny", "")
print("made", flush=True)
"""


@pytest.mark.parametrize("text", ["http://ada:canary@host/api failed", f"parse http://oauth2:{'canary' * 99}@host"])
def test_what_mlflow_says_of_a_password_is_told_without_it(text):
    uri = "http://ada:canary@host"
    with pytest.raises(TrackingError) as caught, tracking_errors(uri):
        raise RuntimeError(text)
    assert "canary" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(TrackingError) as caught, tracking_errors("http://host"):
        raise RuntimeError("no")
    assert isinstance(caught.value.__cause__, RuntimeError)  # where nothing is to be hidden, for whoever looks for it


@pytest.mark.slow
@pytest.mark.stores
def test_a_store_whose_making_is_killed_at_any_moment_is_made_by_the_next():
    """The tables take half a second; MLflow refuses a file that has some of them."""
    cut, wait = 0, 0.05
    while wait < 2:
        process = subprocess.Popen([sys.executable, "-c", FIRST], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "go\n"
        time.sleep(wait)
        process.kill()
        made = process.communicate()[0] == "made\n"
        cut += Path("partial.mlflow.db").exists()
        if made:
            break
        wait += 0.25
    assert cut
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", FIRST], stdout=subprocess.PIPE, text=True, check=True)
        assert done.stdout == "go\nmade\n"
    assert not list(Path().glob("partial.*"))

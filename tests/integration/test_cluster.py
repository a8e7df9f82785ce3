"""Sweeps on a real Ray cluster of two nodes, one of which is killed, with a real `mlflow server`."""

from __future__ import annotations

import collections
import contextlib
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from trainyard.sweep.ledger import Ledger
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import ui_server
from trainyard.tracking.connection import connect

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from trainyard.cli import main; main()", "sweep"]
RATES = ("0.1", "0.01", "0.001")
SWEEP = [
    "dataset.limit=200", "dataset.validation_fraction=0.2", "model.hidden_units=[8]", "name=tiny", "sweep.name=far",
    f"optimizer.learning_rate={','.join(RATES)}", "hydra/launcher=ray",
]  # fmt: skip


@contextlib.contextmanager
def _node(*arguments: str):
    """Runs a Ray node with one core; on exit it kills the node and all its child processes."""
    ray = Path(sys.executable).with_name("ray")
    command = [str(ray), "start", "--num-cpus=1", "--disable-usage-stats", "--block", *arguments]
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        _kill_all(process)


def _kill_all(process: psutil.Popen) -> None:
    """Kills a process and all its child processes at once, as in a power failure."""
    with contextlib.suppress(psutil.NoSuchProcess):
        processes = [*process.children(recursive=True), process]
        for each in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGKILL)
        psutil.wait_procs(processes, timeout=10)


@pytest.fixture
def cluster(monkeypatch):
    """Starts two nodes with token authentication; yields the address and the second node, which the test kills."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    folder = tempfile.mkdtemp(prefix="ray")  # paths of Unix sockets must be short
    port = ui_server.find_free_port(6400)
    address = f"127.0.0.1:{port}"
    head = ("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}")
    with _node(*head), _node(f"--address={address}") as second:
        yield SimpleNamespace(address=address, second=second)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def store(new_store):
    """Starts a tracking server and yields its URI."""
    new_store(Path("ui_server.db"))
    port = ui_server.find_free_port(5660)
    with ui_server.mlflow_server(build_sqlite_uri(Path("ui_server.db").absolute()), port) as running:
        ui_server.wait_until_ready(running)
        yield f"http://{ui_server.HOST}:{port}"


def _wait_for(condition, process):
    deadline = time.monotonic() + 600
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _is_training(number: int) -> bool:
    log = Path(f"sweeps/far/logs/{number}.log")
    return log.exists() and "epoch" in log.read_text()


def test_a_killed_node_fails_only_its_trial_and_resuming_completes_the_sweep(cluster, store):
    command = [
        *COMMAND, *SWEEP, f"hydra.launcher.address={cluster.address}", "tracking=server", f"tracking.uri={store}",
        "training.epochs=400",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _wait_for(lambda: _is_training(1) and _is_training(2), process)  # in parallel, on two nodes
        _kill_all(cluster.second)
        output, errors = process.communicate(timeout=900)
    assert process.returncode == 1, output + errors
    assert "its process was lost" in output
    ledger = Ledger(Path("sweeps/far/ledger.jsonl"))
    states = [ledger.get_trial_record(number).state for number in (1, 2, 3)]
    assert sorted(states) == ["done", "done", "failed"]
    assert collections.Counter(_statuses(store)) == {
        "FINISHED": 2,
        "KILLED": 1,
        "FAILED": 1,
    }  # FAILED is the sweep's run

    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ledger = Ledger(Path("sweeps/far/ledger.jsonl"))
    assert [ledger.get_trial_record(number).state for number in (1, 2, 3)] == ["done"] * 3
    assert sorted(ledger.get_trial_record(number).attempts for number in (1, 2, 3)) == [1, 1, 2]
    assert collections.Counter(_statuses(store)) == {"FINISHED": 4, "KILLED": 1}
    rates = [run.data.params.get("optimizer.learning_rate") for run in _runs(store) if run.info.status == "FINISHED"]
    assert sorted(rate for rate in rates if rate) == sorted(RATES)


def _runs(uri):
    client = connect(uri)
    experiment = client.get_experiment_by_name("tiny")
    return client.search_runs([experiment.experiment_id])


def _statuses(uri):
    return [run.info.status for run in _runs(uri)]

"""Secrets in the environment and in the tracking URI are not written anywhere by successful and failed runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from processes import command_line, run_trainyard

from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import ui_server
from trainyard.tracking.connection import connect

pytestmark = pytest.mark.slow

CANARY = "canary7f3a"
SMALL = ["experiment=quickstart", "name=tiny", "dataset.limit=300", "training.epochs=1", "training.xla=off"]


def test_password_and_environment_variables_are_not_written_anywhere(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    port = ui_server.find_free_port(5680)
    secrets = {"MLFLOW_TRACKING_URI": f"http://ada:{CANARY}@127.0.0.1:{port}", "MY_TOKEN": CANARY}

    def trainyard(*arguments):
        done = run_trainyard(*arguments, environment=secrets)
        assert CANARY not in done.stdout + done.stderr
        return done

    with ui_server.mlflow_server(build_sqlite_uri(store / "mlflow.db"), port) as running:
        ui_server.wait_until_ready(running)
        assert trainyard("train", *SMALL).returncode == 0
        failed = trainyard("train", *SMALL, "optimizer=sgd", "optimizer.learning_rate=1e30")
        assert failed.returncode == 1
        for invalid in (
            f"tracking.uri=http://ada:{CANARY}@127.0.0.1:{port}",
            "notes='${oc.env:MY_TOKEN}'",
            "hydra.run.dir='${oc.env:MY_TOKEN}'",
        ):
            assert trainyard("train", *SMALL, invalid).returncode == 2
        sweep = trainyard("sweep", *SMALL, "optimizer.learning_rate=0.001,1e30", "optimizer=sgd")
        assert "1 of 2 done" in sweep.stdout
        assert sweep.returncode == 1
        (folder,) = [path.parent for path in Path("outputs").rglob("model.h5")]
        assert trainyard("sync", str(folder)).returncode == 0
    offline = subprocess.run(  # the server has been stopped; in a new interpreter, another process writes to the store
        command_line("train", *SMALL), env=os.environ | secrets, capture_output=True, text=True, check=False
    )
    assert "http://***@127.0.0.1" in offline.stderr
    assert CANARY not in offline.stdout + offline.stderr
    assert trainyard("sync", "outputs").returncode == 1
    assert trainyard("doctor").returncode == 1

    runs = connect(build_sqlite_uri(store / "mlflow.db")).search_runs(["1", "2", "3"])
    assert sorted(run.info.status for run in runs) == ["FAILED", "FAILED", "FAILED", "FINISHED", "FINISHED"]
    for path in tmp_path.rglob("*"):
        assert CANARY not in str(path)
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
    assert Path("outputs").is_dir()

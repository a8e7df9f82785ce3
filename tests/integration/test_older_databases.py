"""PostgreSQL databases with the schema of MLflow 2."""

from __future__ import annotations

import subprocess

import pytest
from postgresql import PASSWORD
from processes import command_line, run_program
from servers import SMALL_RUN, create_store_with_mlflow_2, run_on_store

from trainyard.tracking import TrackingStore

pytestmark = pytest.mark.slow


def _dump(postgresql, name):
    """Returns the complete contents of a database as SQL, without the random key that pg_dump adds."""
    done = postgresql.run(name=name, program="pg_dump")
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("\\")]


def test_a_postgresql_database_of_mlflow_2_is_refused_and_not_changed(postgresql, monkeypatch):
    uri = postgresql.create_database("older")
    create_store_with_mlflow_2(uri)
    before = _dump(postgresql, "older")
    assert any("precious" in line for line in before)
    commands = [
        ["compare", "a" * 32, "b" * 32],
        ["export", "a" * 32, "exported"],
        ["train", *SMALL_RUN],
        ["sweep", *SMALL_RUN, "seed=0,1"],
    ]
    outputs = [run_on_store(uri, *command, code=2) for command in commands]
    outputs.append(run_on_store(uri, "doctor", code=1))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    done = subprocess.run(command_line("train", *SMALL_RUN), capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr  # another process writes to the store
    for output in (*outputs, done.stdout + done.stderr):
        assert "older" in output
        assert 'mlflow db upgrade "$MLFLOW_TRACKING_URI"' in output
        assert PASSWORD not in output
    assert _dump(postgresql, "older") == before

    assert run_program("from mlflow.cli import cli; cli()", "db", "upgrade", uri).returncode == 0
    run_on_store(uri, "train", *SMALL_RUN)
    runs = TrackingStore(uri).iterate_runs("")
    assert {(run.info.run_name == "precious", run.info.status) for run in runs} == {
        (True, "FINISHED"),
        (False, "FINISHED"),
    }

"""A store for a team: `mlflow server` with user accounts on a real PostgreSQL database, also during an outage."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from ports import ephemeral_port
from postgresql import PASSWORD as DATABASE
from processes import command_line, run_trainyard

from trainyard.tracking import ui_server
from trainyard.tracking.connection import connect

pytestmark = pytest.mark.slow

CANARY, ADMIN = "canary-9f3b17", "admin-5ad0c2e8"
"""Passwords of the user and of the administrator, which must not be stored anywhere."""
EPOCHS = 20


@pytest.fixture(scope="module")
def database(postgresql):
    """The PostgreSQL server, with empty databases for runs and users."""
    for name in ("runs", "users"):
        postgresql.create_database(name)
    return postgresql


@contextlib.contextmanager
def serving(database, folder: Path, port: int):
    """Runs the server with the settings of docs/team.md for the duration of the block."""
    settings = folder / "auth.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = EDIT\nauth_cache_ttl_seconds = 60\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        f"database_uri = {database.address}/users\n"
    )
    settings.chmod(0o600)
    environment = {
        **os.environ, "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_BACKEND_STORE_URI": f"{database.address}/runs", "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin", "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "only-for-forms", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--app-name",
        "basic-auth",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command += ["--workers", "1", "--artifacts-destination", str(folder / "artifacts")]
    with (folder / "ui_server.log").open("a+b") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            ui_server.wait_until_ready(ui_server.MlflowServer(process, port, log))
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _create_user(address: str, name: str, password: str) -> None:
    token = base64.b64encode(f"admin:{ADMIN}".encode()).decode()
    body = json.dumps({"username": name, "password": password}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {token}"}
    request = urllib.request.Request(f"{address}/api/2.0/mlflow/users/create", body, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200


@contextlib.contextmanager
def _terminated(process: subprocess.Popen):
    """Terminates the process at the end of the block, also if the test fails."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            finally:
                process.kill()
        process.wait()


def test_a_sweep_whose_server_is_down_for_a_while_loses_nothing(database, tmp_path, monkeypatch):
    server_dir, work = tmp_path / "server", tmp_path / "work"
    server_dir.mkdir()
    work.mkdir(exist_ok=True)
    port = ephemeral_port()
    address = f"http://127.0.0.1:{port}"
    for name, value in {"URI": address, "USERNAME": "ann", "PASSWORD": CANARY}.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    swept = ["experiment=quickstart", "model.hidden_units=[8],[16]", "seed=0,1", f"training.epochs={EPOCHS}"]
    command = command_line("sweep", *swept, "sweep.name=team", "hydra.launcher.n_jobs=2", "tracking=server")

    def find_runs():
        client = connect(address)
        return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])

    with (work / "screen.txt").open("ab") as screen, contextlib.ExitStack() as stack:
        with serving(database, server_dir, port):
            _create_user(address, "ann", CANARY)
            sweep = stack.enter_context(_terminated(subprocess.Popen(command, cwd=work, stdout=screen, stderr=screen)))
            deadline = time.monotonic() + 600
            statuses = set()
            while not {"FINISHED", "RUNNING"} <= statuses:  # until one trial is finished and another is running
                assert sweep.poll() is None, (work / "screen.txt").read_text()
                assert time.monotonic() < deadline, "no moment to stop the server was found"
                time.sleep(0.3)
                statuses = {run.info.status for run in find_runs() if run.data.tags.get("trainyard.role") == "trial"}
        time.sleep(3)  # the server is down
        with serving(database, server_dir, port):
            sweep.wait(900)
            if sweep.returncode:  # trials that started while the server was down have failed: resume the sweep
                resumed = subprocess.run(command, cwd=work, stdout=screen, stderr=screen, timeout=900, check=False)
                assert resumed.returncode == 0, (work / "screen.txt").read_text()
            runs = find_runs()
            assert {run.info.status for run in runs} <= {"FINISHED", "FAILED", "KILLED"}
            finished = [run for run in runs if run.info.status == "FINISHED"]
            roles = Counter(run.data.tags["trainyard.role"] for run in finished)
            assert roles == {"sweep": 1, "trial": 4}
            trials = [run for run in finished if run.data.tags["trainyard.role"] == "trial"]
            assert {run.data.tags["trainyard.trial"] for run in trials} == {str(number) for number in range(1, 5)}
            client = connect(address)
            for run in trials:
                history = client.get_metric_history(run.info.run_id, "loss/train")
                assert sorted(metric.step for metric in history) == list(range(1, EPOCHS + 1))
                files = {item.path for item in client.list_artifacts(run.info.run_id)}
                assert {"config.yaml", "model.h5", "evaluation"} <= files
                (model,) = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
                assert model.status.name == "READY"
            best = [run for run in trials if run.data.params["seed"] == "0"]  # a report has the first seed
            for run in best:
                files = {item.path for item in client.list_artifacts(run.info.run_id)}
                assert {"report.html", "confusion_matrix.png"} <= files
        dumps = [database.run(name=name, program="pg_dump") for name in ("runs", "users")]
    assert [dump.returncode for dump in dumps] == [0, 0]
    assert "accuracy/test" in dumps[0].stdout
    for secret in (CANARY, ADMIN, DATABASE):
        assert not any(secret in dump.stdout for dump in dumps)
        for file in (
            path for folder in (work, server_dir / "artifacts") for path in folder.rglob("*") if path.is_file()
        ):
            assert secret.encode() not in file.read_bytes(), file


@pytest.fixture(scope="module")
def address(database, tmp_path_factory):
    """The address of a running server."""
    port = ephemeral_port()
    with serving(database, tmp_path_factory.mktemp("server"), port):
        yield f"http://127.0.0.1:{port}"


def test_two_users_can_log_to_the_same_experiment(address, monkeypatch):
    for user in ("cleo", "dan"):
        _create_user(address, user, f"{user}-has-a-password")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", f"{user}-has-a-password")
        recipe = ("experiment=quickstart", "name=shared", "training.epochs=1")
        done = run_trainyard("train", *recipe, "tracking=server", f"tracking.uri={address}")
        assert done.returncode == 0, done.stderr
    client = connect(address)
    runs = client.search_runs([client.get_experiment_by_name("shared").experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 2


def test_a_wrong_password_is_reported_but_not_shown(address):
    variables = {"URI": address, "USERNAME": "ann", "PASSWORD": "wrong-4e1"}
    environment = {f"MLFLOW_TRACKING_{name}": value for name, value in variables.items()}
    done = run_trainyard("train", "experiment=quickstart", "tracking=server", environment=environment)
    assert done.returncode == 1
    assert "MLFLOW_TRACKING_USERNAME" in done.stderr
    assert "wrong-4e1" not in done.stderr + done.stdout

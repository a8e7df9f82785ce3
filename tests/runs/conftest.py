"""Runs that several tests read, a config that is trained even faster than `tiny`, and a fast MLflow server."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from ports import ephemeral_port
from processes import run_program

from trainyard.system.uris import get_sqlite_path

STEP = ("training.batch_size=300", "optimizer=sgd")

SERVER = """
import os, sys, warnings
path, port, pid_file = sys.argv[1:]
os.environ |= {
    "_MLFLOW_SERVER_FILE_STORE": path, "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/", "_MLFLOW_SERVER_ARTIFACT_DESTINATION": "./mlartifacts",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
warnings.simplefilter("ignore")
from mlflow.server import app
from werkzeug.serving import make_server
server = make_server("127.0.0.1", int(port), app, threaded=True)
with open(pid_file + ".partial", "w") as file:
    file.write(str(os.getpid()))
os.rename(pid_file + ".partial", pid_file)
server.serve_forever()
"""


@pytest.fixture
def quick(tiny):
    """`tiny` with one step of plain SGD per epoch, whose program is built in a third of the time."""

    def compose(*overrides: str):
        return tiny(*STEP, *overrides)

    return compose


@pytest.fixture(scope="module")
def _results(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("shared"), {}


@pytest.fixture
def once(_results, monkeypatch):
    """Returns a function that calls another one in a new folder, and in later tests of the module returns its result.

    Thus several tests can read one run. A test that changes its files or its store works on copies of them.
    """
    make_folder, results = _results

    def call(create):
        if create.__name__ not in results:
            folder = make_folder()
            with monkeypatch.context() as context:
                context.chdir(folder)
                results[create.__name__] = create()
        return results[create.__name__]

    return call


class ForkedServer:
    """A server with MLflow's API, in a forked process: it starts in a second and is stopped by killing the process."""

    def __init__(self, uri: str, folder: Path) -> None:
        self._uri, self._folder = uri, folder
        self.port = ephemeral_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.pid = 0

    def start(self) -> None:
        """Starts the server, also again after `stop`, and waits until it answers."""
        pid_file = self._folder / "server.pid"
        pid_file.unlink(missing_ok=True)
        arguments = (self._uri, str(self.port), str(pid_file))
        self._thread = threading.Thread(target=run_program, args=(SERVER, *arguments), daemon=True)
        self._thread.start()
        while not pid_file.exists():
            assert self._thread.is_alive(), "the server ended during its start"
            time.sleep(0.01)
        self.pid = int(pid_file.read_text())
        urllib.request.urlopen(f"{self.address}/api/2.0/mlflow/experiments/get?experiment_id=0").close()

    def stop(self) -> None:
        """Kills the server, unless it is stopped already."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self._thread.join()
            self.pid = 0


@pytest.fixture
def server(tmp_path, new_store):
    """Returns a function that builds a server for a new SQLite store; it is stopped after the test."""
    servers = []

    def build(uri: str) -> ForkedServer:
        new_store(get_sqlite_path(uri))
        servers.append(ForkedServer(uri, tmp_path))
        return servers[-1]

    yield build
    for running in servers:
        running.stop()

"""The MLflow UI on a store: an `mlflow server` of our own on this machine, and what it should open at."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from trainyard.errors import ConfigError, TrackingError
from trainyard.tracking.connection import connect, tracking_errors

HOST = "127.0.0.1"
START_SECONDS = 60


def free_port(wanted: int) -> int:
    """Returns the wanted port, or the next one that nothing listens on.

    Raises:
        TrackingError: If none of the next hundred is free.
    """
    for port in range(wanted, wanted + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise TrackingError(f"expected a free port from {wanted} on, found none. Name another with --port")


@dataclass(frozen=True, slots=True)
class Server:
    """A running `mlflow server`: its process, its port, and the file that it writes to."""

    process: subprocess.Popen[bytes]
    port: int
    output: IO[bytes]


@contextlib.contextmanager
def mlflow_server(uri: str, port: int) -> Iterator[Server]:
    """Runs `mlflow server` on a store for the time of the block, on this machine's own address only.

    Args:
        uri: A database URI; handed over in the environment, where no list of processes shows its password.
        port: A free port.

    Yields:
        The server, which may not answer yet. It and its workers end with the block.
    """
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": uri,
    }
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            yield Server(process, port, output)
        finally:
            _end(process)


def wait_until_ready(server: Server) -> None:
    """Returns when the server answers.

    Raises:
        TrackingError: If it ends or stays silent.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            server.output.seek(0)
            lines = server.output.read().decode(errors="replace").strip().splitlines()
            raise TrackingError(f"mlflow server ended at once: {lines[-1] if lines else server.process.returncode}")
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://{HOST}:{server.port}/health", timeout=2),
        ):
            return
        time.sleep(0.2)
    raise TrackingError(f"mlflow server did not answer on port {server.port} within {START_SECONDS} seconds")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the server with its workers, which share its process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            return


def latest_experiment(uri: str, name: str | None) -> str | None:
    """Returns the id of the named experiment, or of that with the latest run; None where there is no run.

    Raises:
        ConfigError: If the store has no experiment of that name.
        TrackingError: If the store can't be reached.
    """
    with tracking_errors(uri):
        client = connect(uri)
        if name is not None:
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                names = ", ".join(sorted(found.name for found in client.search_experiments()))
                raise ConfigError(f"--experiment: there is no experiment {name!r} in the store. Available: {names}")
            return str(experiment.experiment_id)
        ids = [experiment.experiment_id for experiment in client.search_experiments()]
        runs = client.search_runs(ids, order_by=["attributes.start_time DESC"], max_results=1)
        return str(runs[0].info.experiment_id) if runs else None

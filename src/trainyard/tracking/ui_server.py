"""Starts an `mlflow server` on this machine for the MLflow UI, and finds the experiment to open in it."""

from __future__ import annotations

import contextlib
import os
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
from trainyard.system import end_process_group
from trainyard.tracking.connection import connect, tracking_errors

HOST = "127.0.0.1"
"""The address on which the server listens: only this machine can connect."""
START_SECONDS = 60
"""Time limit for the start of the server."""


def find_free_port(first_port: int) -> int:
    """Returns the first port, from `first_port` on, that no program listens on.

    Raises:
        TrackingError: If none of 100 ports is free.
    """
    for port in range(first_port, first_port + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise TrackingError(
        f"expected a free port between {first_port} and {first_port + 99}, found none. Choose another with --port"
    )


@dataclass(frozen=True, slots=True)
class MlflowServer:
    """A running `mlflow server`: its process, its port, and the file with its output."""

    process: subprocess.Popen[bytes]
    port: int
    output: IO[bytes]


@contextlib.contextmanager
def mlflow_server(uri: str, port: int) -> Iterator[MlflowServer]:
    """Runs `mlflow server` on a store for the duration of the block; it only accepts connections from this machine.

    Args:
        uri: A database URI. It is passed in the environment, so that lists of processes do not show its password.
        port: A free port.

    Yields:
        The server, which may not answer yet; see `wait_until_ready`. It is stopped at the end of the block.
    """
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": uri,
    }
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            yield MlflowServer(process, port, output)
        finally:
            end_process_group(process)


def wait_until_ready(server: MlflowServer) -> None:
    """Waits until the server answers.

    Raises:
        TrackingError: If it exits, or does not answer within `START_SECONDS`.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            server.output.seek(0)
            lines = server.output.read().decode(errors="replace").strip().splitlines()
            raise TrackingError(
                f"mlflow server exited during its start: {lines[-1] if lines else server.process.returncode}"
            )
        health = f"http://{HOST}:{server.port}/health"
        with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=2):
            return
        time.sleep(0.2)
    raise TrackingError(f"mlflow server did not answer on port {server.port} within {START_SECONDS} seconds")


def find_experiment_id(uri: str, name: str | None) -> str | None:
    """Returns the id of an experiment.

    Args:
        uri: The tracking URI.
        name: The name of the experiment; None uses the experiment with the latest run.

    Returns:
        MLflow's id of the experiment; None if no name is given and the store has no runs.

    Raises:
        ConfigError: If the store has no experiment with this name.
        TrackingError: If the store can't be reached.
    """
    with tracking_errors(uri):
        client = connect(uri)
        if name is not None:
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                names = ", ".join(sorted(entity.name for entity in client.search_experiments()))
                raise ConfigError(f"--experiment: the store has no experiment {name!r}. Available: {names}")
            return str(experiment.experiment_id)
        ids = [entity.experiment_id for entity in client.search_experiments()]
        runs = client.search_runs(ids, order_by=["attributes.start_time DESC"], max_results=1)
        return str(runs[0].info.experiment_id) if runs else None

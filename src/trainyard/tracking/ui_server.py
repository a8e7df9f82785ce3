"""Starts an `mlflow server` on this machine for the MLflow UI."""

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

from trainyard.errors import TrackingError
from trainyard.system import end_process_group

HOST = "127.0.0.1"
"""The address on which the server listens: only this machine can connect."""
START_SECONDS = 60
"""Time limit for the start of the server."""


def find_free_port(first_port: int) -> int:
    """Returns the first free port from `first_port` on. Raises a TrackingError if none of 100 ports is free."""
    for port in range(first_port, first_port + 100):
        with contextlib.suppress(OSError), socket.create_server((HOST, port)):
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

    The server may not answer yet when the block starts; see `wait_until_ready`. The URI is that of a database. It is
    passed in the environment, so that lists of processes do not show its password.
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
    """Waits until the server answers. Raises a TrackingError if it exits, or does not within `START_SECONDS`."""
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

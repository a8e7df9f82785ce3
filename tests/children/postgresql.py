"""PostgreSQL servers for tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import ephemeral_port

PASSWORD = "database-71c2f"
"""The password of the user of the databases."""


class PostgresqlServer:
    """A running server. `address` is the URI of its databases, without the name of a database."""

    def __init__(self, port: int) -> None:
        self.address = f"postgresql://mlflow:{PASSWORD}@127.0.0.1:{port}"
        self._environment = {
            **os.environ, "PGPASSWORD": PASSWORD, "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "mlflow",
        }  # fmt: skip

    def run(self, *arguments: str, name: str = "postgres", program: str = "psql") -> subprocess.CompletedProcess[str]:
        """Runs a client program on the database `name`, and returns its exit code, stdout and stderr."""
        command = [_find_program(program), *arguments, name]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)

    def create_database(self, name: str) -> str:
        """Creates an empty database, which replaces one of that name, and returns its URI."""
        done = self.run("-c", f"drop database if exists {name} with (force)", "-c", f"create database {name}")
        assert done.returncode == 0, done.stderr
        return f"{self.address}/{name}"


@contextlib.contextmanager
def run_postgresql() -> Iterator[PostgresqlServer]:
    """Runs a PostgreSQL server with an empty folder for the duration of the block."""
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL does not run as root
    folder = Path(tempfile.mkdtemp(prefix="trainyard-postgres-", dir="/tmp"))
    if user:
        shutil.chown(folder, user)
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    port = ephemeral_port()
    access = ["-U", "mlflow", "-A", "scram-sha-256", "--pwfile", folder / "password"]
    initdb = [_find_program("initdb"), "-D", folder / "data", *access]
    subprocess.run(initdb, check=True, capture_output=True, user=user, cwd=folder)
    settings = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    process = subprocess.Popen(
        [_find_program("postgres"), "-D", folder / "data", "-p", str(port), "-k", folder, *settings],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd=folder,
    )  # fmt: skip
    try:
        server = PostgresqlServer(port)
        deadline = time.monotonic() + 60
        while server.run("-c", "select 1").returncode:
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.2)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        shutil.rmtree(folder)


def _find_program(name: str) -> str:
    """Returns the path of a PostgreSQL program; Debian does not add the folder of the server programs to PATH."""
    candidates = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    program = shutil.which(name) or (str(candidates[-1]) if candidates else None)
    if not program:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("PostgreSQL is not installed")
    return program

"""MLflow servers for tests: one of MLflow 2 in an environment of its own, and a proxy that delays and rejects requests."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple, Self

from filelock import FileLock
from ports import ephemeral_port

MLFLOW_2_PACKAGES = ("mlflow==2.22.5", "sqlalchemy<2.1")
"""The last MLflow without logged models, which does not start with a later SQLAlchemy."""

_MLFLOW_2 = Path(__file__).parents[2] / ".venv-mlflow2"


def find_mlflow_2() -> Path:
    """Returns the Python interpreter of an environment with MLflow 2, which is created first if it does not exist."""
    python = _MLFLOW_2 / "bin" / "python"
    with FileLock(f"{_MLFLOW_2}.lock"):
        ready = _MLFLOW_2 / "ready"
        if not ready.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(_MLFLOW_2)], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "-q", *MLFLOW_2_PACKAGES], check=True)
            ready.touch()
    return python


@contextlib.contextmanager
def run_server(
    folder: Path, python: Path | str = sys.executable, port: int | None = None, database: str | None = None
) -> Iterator[int]:
    """Runs `mlflow server` on a store below a folder, waits until it answers, and yields its port.

    Args:
        folder: The folder for the store, the artifacts and the output of the server.
        python: The interpreter of an environment with MLflow.
        port: The port; None chooses a free one.
        database: The URI of the database; None uses a SQLite file in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = port or ephemeral_port()
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", database or f"sqlite:///{folder / 'server.db'}",
               "--artifacts-destination", str(folder / "artifacts")]  # fmt: skip
    environment.pop("PYTHONPATH", None)
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                break
            if process.poll() is not None:
                raise RuntimeError((folder / "server.log").read_text())
            time.sleep(0.1)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


class Request(NamedTuple):
    """A request that the proxy received: its number, counted from 1, its method, and its path with the query."""

    number: int
    method: str
    path: str


@dataclass
class FaultyProxy:
    """An HTTP proxy in front of a server on this machine.

    Attributes:
        upstream: The port of the server.
        reject: Returns the status to answer a request with, or None to forward the request. It may also wait.
        lose: Returns whether the answer to a request is lost, once: the server performs it, but the answer is 503.
        requests: All requests, with the status of the answer.
    """

    upstream: int
    reject: Callable[[Request], int | None] = lambda _request: None
    lose: Callable[[Request], bool] = lambda _request: False
    requests: list[tuple[Request, int]] = field(default_factory=list)
    port: int = 0
    _server: ThreadingHTTPServer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _received: int = 0
    _lost: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        """The address of the proxy."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Prints nothing."""

            def forward(self) -> None:
                proxy._answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = forward  # noqa: N815 - names of http.server

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the port: connections are refused. The proxy can be entered again."""
        self._server.shutdown()
        self._server.server_close()

    def count(self, *, uploads: bool) -> int:
        """Returns the number of requests that upload a file, or that do not."""
        return sum((request.method == "PUT") == uploads for request, _ in self.requests)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answers a request, or forwards it to the server."""
        body = _read_body(handler)
        with self._lock:
            self._received += 1
            request = Request(self._received, handler.command, handler.path)
        status, headers, content = self.reject(request), [], b"<html><body>rejected by the proxy</body></html>"
        if status is None:
            status, headers, content = self._forward(handler, body)
            if self.lose(request) and request.path not in self._lost:
                self._lost.add(request.path)
                status = 503
        with self._lock:
            self.requests.append((request, status))
        handler.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "server", "date"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Returns the status, the headers and the body with which the server answers a request."""
        dropped = ("host", "connection", "transfer-encoding", "content-length")
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in dropped}
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=120)
        try:
            connection.request(handler.command, handler.path, body, headers)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        except OSError as error:
            return 502, [], str(error).encode()
        finally:
            connection.close()


def _read_body(handler: BaseHTTPRequestHandler) -> bytes:
    """Returns the body of a request, which may be sent in chunks."""
    if handler.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    body = b""
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return body

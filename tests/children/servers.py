"""MLflow servers for tests: one of MLflow 2 in an environment of its own, and a proxy that rejects requests or uses TLS."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from filelock import FileLock
from ports import ephemeral_port
from processes import run_trainyard

MLFLOW_2_PACKAGES = ("mlflow==2.22.5", "sqlalchemy<2.1", "psycopg2-binary")
"""The last MLflow without logged models, which does not start with a later SQLAlchemy, and a driver for PostgreSQL."""

_MLFLOW_2 = Path(__file__).parents[2] / ".venv-mlflow2"


def find_mlflow_2() -> Path:
    """Returns the interpreter of an environment with MLflow 2, which is created if it does not have these packages."""
    python = _MLFLOW_2 / "bin" / "python"
    with FileLock(f"{_MLFLOW_2}.lock"):
        ready, packages = _MLFLOW_2 / "ready", "\n".join(MLFLOW_2_PACKAGES)
        if not ready.exists() or ready.read_text() != packages:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(_MLFLOW_2)], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "-q", *MLFLOW_2_PACKAGES], check=True)
            ready.write_text(packages)
    return python


@contextlib.contextmanager
def run_server(folder: Path, python: Path | str = sys.executable, *, options: Sequence[str] = ()) -> Iterator[int]:
    """Runs `mlflow server` on a store below a folder, waits until it answers, and yields its port.

    Args:
        folder: The folder for the store, the artifacts and the output of the server.
        python: The interpreter of an environment with MLflow.
        options: Options of the command for artifacts. By default the server stores them in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = ephemeral_port()
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", f"sqlite:///{folder / 'server.db'}",
               *(options or ["--artifacts-destination", str(folder / "artifacts")])]  # fmt: skip
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


def write_certificate(file: Path, address: str) -> Path:
    """Writes a self-signed certificate for an IP address, which is valid for a day, and its private key to a PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server of a test")])
    start = datetime.now(UTC) - timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return file


SMALL_RUN = ("experiment=quickstart", "name=tiny", "dataset.limit=300", "training.epochs=2", "training.xla=off")
"""Overrides of a run of two seconds."""

_CREATE = """
import sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("mine")
with mlflow.start_run(run_name="precious"):
    mlflow.log_metric("acc", 0.5)
"""


def create_store_with_mlflow_2(uri: str) -> None:
    """Logs a run named "precious" with MLflow 2 to a database, which is created if necessary."""
    subprocess.run([find_mlflow_2(), "-c", _CREATE, uri], check=True, capture_output=True)


def run_on_store(uri: str, *arguments: str, code: int = 0, **variables: str) -> str:
    """Runs a command of Trainyard with MLFLOW_TRACKING_URI, checks its exit code, and returns its complete output.

    Args:
        uri: The tracking URI.
        arguments: The words after ``trainyard``.
        code: The expected exit code.
        variables: Other environment variables.
    """
    done = run_trainyard(*arguments, environment={"MLFLOW_TRACKING_URI": uri, **variables}, timeout=150)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def find_run_id(output: str) -> str:
    """Returns the id of the run in the output of ``trainyard train``."""
    return re.search(r"^run .*\b([0-9a-f]{32})$", output, re.MULTILINE).group(1)


class Request(NamedTuple):
    """A request that the proxy received.

    Attributes:
        number: The number of the request, counted from 1.
        path: The path with the query.
        authorization: The header of this name, empty if it is missing.
    """

    number: int
    method: str
    path: str
    authorization: str


@dataclass
class FaultyProxy:
    """An HTTP proxy in front of a server on this machine.

    Attributes:
        upstream: The port of the server.
        reject: Returns the status to answer a request with, or None to forward the request. It may also wait.
        lose: Returns whether the answer to a request is lost, once: the server performs it, but the answer is 503.
        certificate: A PEM file with the certificate for TLS and its key; None answers without TLS.
        requests: All requests, with the status of the answer.
    """

    upstream: int
    reject: Callable[[Request], int | None] = lambda _request: None
    lose: Callable[[Request], bool] = lambda _request: False
    certificate: Path | None = None
    requests: list[tuple[Request, int]] = field(default_factory=list)
    port: int = 0
    _server: ThreadingHTTPServer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _received: int = 0
    _lost: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        """The address of the proxy."""
        return f"http{'s' if self.certificate else ''}://127.0.0.1:{self.port}"

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
        if self.certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
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
            request = Request(self._received, handler.command, handler.path, handler.headers.get("Authorization", ""))
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

"""Runs commands in processes that are forked from a server, which has already imported TensorFlow, MLflow and others.

A new interpreter needs seconds of processor time to import them, a fork some milliseconds. Tests of what a process
imports, of signals and of killed processes start new interpreters instead, with `command_line`.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from multiprocessing import util
from pathlib import Path

SOCKET_VARIABLE = "TEST_PROCESS_SERVER"
"""The environment variable with the path of the server's socket."""

_MAIN = "from trainyard.cli import main; main()"

_REQUEST_BYTES = 1_000_000
_KEPT_VARIABLES = ("TF_XLA_FLAGS", "TF_CPP_MIN_LOG_LEVEL")
"""Variables that a forked process inherits from the server, which set them before it imported TensorFlow."""

_PRELOADED = (
    "trainyard.runs.experiment", "trainyard.cli", "mlflow.pyfunc", "mlflow.server", "mlflow.store.tracking.sqlalchemy_store",
    "sklearn.metrics", "sklearn.datasets", "matplotlib.backends.backend_agg", "jinja2",
)  # fmt: skip


def command_line(*arguments: str) -> list[str]:
    """Returns the command line that runs a command of Trainyard in a new interpreter."""
    return [sys.executable, "-c", _MAIN, *arguments]


def run_trainyard(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Runs a command of Trainyard in a forked process, and returns its exit code, stdout and stderr.

    Args:
        arguments: The words after ``trainyard``.
        environment: Variables to set, in addition to those of this process.
        folder: The working directory; None for that of this process.
        timeout: The time in seconds after which the process is killed and `subprocess.TimeoutExpired` is raised.
    """
    return run_program(_MAIN, *arguments, environment=environment, folder=folder, timeout=timeout)


def run_program(
    program: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Executes Python code in a forked process, like ``python -c PROGRAM ARGUMENTS``; see `run_trainyard`."""
    request = {
        "program": program,
        "arguments": [*map(str, arguments)],
        "environment": {**os.environ, **(environment or {})},
        "folder": str(folder or Path.cwd()),
    }
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as output,
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.connect(os.environ[SOCKET_VARIABLE])
        socket.send_fds(connection, [b"."], [output.fileno(), errors.fileno()])
        connection.sendall(json.dumps(request).encode())
        connection.shutdown(socket.SHUT_WR)
        answers = connection.makefile()
        pid = int(answers.readline())
        connection.settimeout(timeout)
        try:
            code = int(answers.readline())
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired([*arguments], timeout) from None
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess([*arguments], code, output.read(), errors.read())


def start_server(folder: Path) -> subprocess.Popen[bytes]:
    """Starts the server and sets `SOCKET_VARIABLE`. It imports the libraries with the first request.

    The server ends when its stdin is closed, thus also when this process dies.
    """
    path = folder / "processes"
    ready, ready_in_server = os.pipe()
    program = f"import processes; processes.serve({str(path)!r}, {ready_in_server})"
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), environment.get("PYTHONPATH", "")])
    server = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, env=environment, pass_fds=[ready_in_server]
    )
    os.close(ready_in_server)
    os.read(ready, 1)
    os.close(ready)
    os.environ[SOCKET_VARIABLE] = str(path)
    return server


def serve(path: str, ready: int) -> None:
    """Runs the server: forks one process for each connection until stdin is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system removes exited children
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        os.close(ready)
        is_loaded = False
        while listener in select.select([sys.stdin, listener], [], [])[0]:
            connection, _ = listener.accept()
            if not is_loaded:
                _preload()
                is_loaded = True
            if os.fork() == 0:
                listener.close()
                _supervise(connection)
            connection.close()


def _preload() -> None:
    """Imports everything that a command may need, and composes a config, which loads the built-in components."""
    import importlib

    from trainyard.config import compose_config, load_plugins
    from trainyard.system import count_available_cores, import_tensorflow
    from trainyard.system.xla_cache import configure_xla_cache

    configure_xla_cache(count_available_cores())
    import_tensorflow(before_fork=True)
    for name in _PRELOADED:
        importlib.import_module(name)
    compose_config([])
    load_plugins.cache_clear()  # a request may bring its own plugins


def _supervise(connection: socket.socket) -> None:
    """Forks the process that executes the request, sends its process id and its exit code, and exits."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 2)
    content = bytearray()
    while part := connection.recv(_REQUEST_BYTES):
        content += part
    pid = os.fork()
    if pid == 0:
        connection.close()
        _execute(json.loads(content), descriptors)
    connection.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _execute(request: dict, descriptors: list[int]) -> None:
    """Executes the code of a request like a new interpreter, and exits."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path(os.devnull).open("rb") as null_device:
        os.dup2(null_device.fileno(), 0)
    for target, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, target)
        os.close(descriptor)
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    if "training.threads" in f"{request['program']} {request['arguments']}":
        kept.pop("TF_XLA_FLAGS", None)  # the cached programs were compiled for one thread per core
    os.environ.clear()
    os.environ.update(kept | request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["-c", *request["arguments"]]
    sys.orig_argv = [sys.executable, "-c", request["program"], *request["arguments"]]
    sys.path[:1] = ["", *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    random.seed()
    util.spawnv_passfds = functools.partial(_spawn_or_fork, util.spawnv_passfds)
    _run_code(request["program"])


def _spawn_or_fork(spawn: Callable[..., int], path: bytes, arguments: list, descriptors: list[int]) -> int:
    """Starts a process of `multiprocessing`; its fork server is forked, so that it need not import the libraries."""
    program = arguments[-1]
    if "forkserver" not in program:
        return spawn(path, arguments, descriptors)
    pid = os.fork()
    if pid == 0:
        start = 3  # as in a new process, only the standard streams and the given descriptors are open
        for descriptor in sorted(descriptors):
            os.closerange(start, descriptor)
            start = descriptor + 1
        os.closerange(start, os.sysconf("SC_OPEN_MAX"))
        _run_code(program)
    return pid


def _run_code(program: str) -> None:
    """Executes code as ``__main__``, and exits like an interpreter."""
    code = 0
    try:
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - like the interpreter
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)

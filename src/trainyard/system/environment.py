"""Describes the environment of a run: package versions, machine, process, weights."""

from __future__ import annotations

import functools
import getpass
import hashlib
import importlib.metadata
import os
import platform
import shlex
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import psutil

from trainyard.system.tensorflow_setup import count_available_cores, uses_onednn
from trainyard.system.uris import redact_credentials
from trainyard.system.xla_cache import read_cpu_info

if TYPE_CHECKING:
    import keras

REPORTED_PACKAGES = ("trainyard", "tensorflow", "keras", "numpy", "scikit-learn", "mlflow", "hydra-core", "omegaconf")
"""The packages with the largest influence on results. versions.txt lists all installed packages."""

_VECTOR_SETS = ("avx", "fma", "amx")
"""Prefixes of the instruction sets that affect rounding. CPUs of the same model name can differ in them."""

_CLOCK_TOLERANCE = 10
"""Tolerance when the start times of a process are compared: they shift if the clock is set. A PID is reused later."""


@functools.cache
def list_installed_versions() -> Mapping[str, str]:
    """Returns the version of every installed distribution by lower-case name, sorted. Cached: it reads many files."""
    records = (distribution.metadata for distribution in importlib.metadata.distributions())
    versions = {str(metadata["Name"]).lower(): str(metadata["Version"]) for metadata in records if metadata["Name"]}
    return MappingProxyType(dict(sorted(versions.items())))


def collect_machine_info(threads: int) -> dict[str, Any]:
    """Returns the host name and what can affect results or speed. `threads`: the number that TensorFlow uses."""
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu": _read_cpu_field("model name") or platform.processor() or platform.machine(),
        "instructions": [name for name in _read_cpu_field("flags").split() if name.startswith(_VECTOR_SETS)],
        "cores": count_available_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus,
        "threads": threads,
        "onednn": uses_onednn(),
    }


def collect_process_info() -> dict[str, str]:
    """Returns the host, PID and start time (UTC) of this process. Together they identify it uniquely."""
    started = datetime.fromtimestamp(psutil.Process().create_time(), UTC).isoformat(timespec="milliseconds")
    return {"host": socket.gethostname(), "pid": str(os.getpid()), "started": started}


def is_process_alive(pid: str, started: str) -> bool:
    """Returns whether a process of this host, as described by `collect_process_info`, is still running.

    The start time distinguishes it from a newer process with the same ID. Returns True if a process with this ID exists
    but may not be inspected by this user.
    """
    try:
        process = psutil.Process(int(pid))
        start_time = datetime.fromisoformat(started).timestamp()
        return process.create_time() - start_time < _CLOCK_TOLERANCE and process.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return _is_hidden(int(pid))
    except ValueError:
        return False


def _is_hidden(pid: int) -> bool:
    """Returns whether a process exists that is visible only to its owner (/proc mounted with ``hidepid``)."""
    if os.name == "nt":  # os.kill(pid, 0) would end the process on Windows
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        pass
    return False  # psutil would have found a process that can be signalled: this is the ID of a thread


def find_user_name() -> str:
    """Returns the name of the user, or the user ID if it has no name, for example in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def format_command_line() -> str:
    """Returns the command that started this process, quoted for a shell. Credentials in URIs are redacted."""
    program, *arguments = sys.orig_argv
    if arguments and Path(arguments[0]).stem == "trainyard":  # the console script is an argument of Python
        program, *arguments = arguments
    return redact_credentials(shlex.join([Path(program).stem, *arguments]))


def hash_weights(model: keras.Model) -> str:
    """Returns the SHA-256 hash (hexadecimal) of the shape, dtype and bytes of all weights, in order.

    Hashes of ``.keras`` files cannot be compared: saving identical weights twice creates different files.
    """
    sha = hashlib.sha256()
    for weight in model.get_weights():
        sha.update(f"{weight.shape} {weight.dtype}".encode())
        sha.update(weight.tobytes())
    return sha.hexdigest()


def _read_cpu_field(name: str) -> str:
    """Returns a field of the first processor in /proc/cpuinfo, or an empty string."""
    return next((line.partition(":")[2].strip() for line in read_cpu_info() if line.startswith(name)), "")

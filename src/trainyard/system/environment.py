"""Describes the environment of a run: git commit, package versions, machine, process, weights.

A run does not need any of it. Outside a git checkout, or without git, no commit is recorded.
"""

from __future__ import annotations

import functools
import getpass
import hashlib
import importlib.metadata
import os
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
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
_RUN_OUTPUTS = tuple(
    f":(exclude,top,glob)**/{name}"
    for name in ("outputs/**", "multirun/**", "sweeps/**", "mlartifacts/**", "mlflow.db*")
)
"""Patterns of the files that runs write. They do not make a checkout dirty."""


@dataclass(frozen=True, slots=True)
class GitState:
    """The state of the git checkout in which the command was started."""

    commit: str
    """The full hash."""
    branch: str
    """The name of the branch, or ``HEAD`` if no branch is checked out."""
    diff: str
    """The output of ``git diff HEAD``; empty if no tracked file was changed."""
    untracked: tuple[str, ...]
    """The files that git neither tracks nor ignores."""

    @property
    def dirty(self) -> bool:
        """Whether the code differs from the commit."""
        return bool(self.diff or self.untracked)

    def describe_changes(self) -> str:
        """Returns the names of the untracked files, followed by the diff."""
        untracked = "".join(f"# untracked: {name}\n" for name in self.untracked)
        return (untracked + self.diff)[:5_000_000]


def read_git_state(folder: Path) -> GitState | None:
    """Returns the state of the git checkout that contains a folder, or None outside a checkout."""

    def run_git(*arguments: str) -> str:
        """Returns the output of a git command in the folder."""
        command = ["git", "-C", str(folder), *arguments]
        process = subprocess.run(command, capture_output=True, check=True, timeout=10)
        return process.stdout.decode(errors="replace")

    try:
        return GitState(
            commit=run_git("rev-parse", "HEAD").strip(),
            branch=run_git("rev-parse", "--abbrev-ref", "HEAD").strip(),
            diff=run_git("diff", "HEAD", "--no-color", "--no-ext-diff"),
            untracked=tuple(
                run_git("ls-files", "--others", "--exclude-standard", "--full-name", ":/", *_RUN_OUTPUTS).splitlines()
            ),
        )
    except (OSError, subprocess.SubprocessError):
        return None


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

"""Where a result comes from: code, versions, machine, process, weights.

Nothing here is a condition for a run: outside a git checkout, or without git, there is simply no commit to tell.
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

from trainyard.system.tensorflow_setup import available_cores, uses_onednn
from trainyard.system.uris import without_credentials

if TYPE_CHECKING:
    import keras

REPORTED_PACKAGES = (
    "trainyard",
    "tensorflow",
    "keras",
    "numpy",
    "scikit-learn",
    "mlflow",
    "hydra-core",
    "omegaconf",
)
"""The packages that a result depends on first; versions.txt lists all."""

_VECTOR_SETS = ("avx", "fma", "amx")
"""How the instruction sets begin that change the last bits of a sum; processors of one name have different ones."""

_GIT_SECONDS = 10
_CLOCK_SECONDS = 10
"""By how much the start of a process may seem to move when the clock is set; numbers are not reused that soon."""
_OUR_OWN = tuple(
    f":(exclude,top,glob)**/{name}"
    for name in ("outputs/**", "multirun/**", "sweeps/**", "mlartifacts/**", "mlflow.db*")
)
"""What runs write, wherever they are started, does not make a checkout dirty."""
_LARGEST_DIFF = 5_000_000


@dataclass(frozen=True, slots=True)
class GitState:
    """The state of the checkout that the command ran in.

    Attributes:
        commit: The commit's full hash.
        branch: The branch's name, or ``HEAD`` where none is checked out.
        diff: What the tracked files differ in from the commit; empty when they do not.
        untracked: Files that git neither tracks nor ignores.
    """

    commit: str
    branch: str
    diff: str
    untracked: tuple[str, ...]

    @property
    def dirty(self) -> bool:
        """Whether the commit alone does not tell what ran."""
        return bool(self.diff or self.untracked)

    def describe_changes(self) -> str:
        """Returns the diff, with the names of the untracked files in front."""
        untracked = "".join(f"# untracked: {name}\n" for name in self.untracked)
        return (untracked + self.diff)[:_LARGEST_DIFF]


def read_git_state(folder: Path) -> GitState | None:
    """Returns the state of the checkout around a folder, or None where there is none."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, check=True, timeout=_GIT_SECONDS)
        return done.stdout.decode(errors="replace")

    try:
        return GitState(
            commit=git("rev-parse", "HEAD").strip(),
            branch=git("rev-parse", "--abbrev-ref", "HEAD").strip(),
            diff=git("diff", "HEAD", "--no-color", "--no-ext-diff"),
            untracked=tuple(
                git("ls-files", "--others", "--exclude-standard", "--full-name", ":/", *_OUR_OWN).splitlines()
            ),
        )
    except (OSError, subprocess.SubprocessError):
        return None


@functools.cache
def installed_versions() -> Mapping[str, str]:
    """Returns the version of every installed distribution, by lower-case name, sorted. Reads hundreds of files once."""
    described = (distribution.metadata for distribution in importlib.metadata.distributions())
    found = {str(metadata["Name"]).lower(): str(metadata["Version"]) for metadata in described if metadata["Name"]}
    return MappingProxyType(dict(sorted(found.items())))


def describe_machine(threads: int) -> dict[str, Any]:
    """Returns what of the machine can change a result or its speed.

    Args:
        threads: The threads that TensorFlow was given.
    """
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu": _cpu_field("model name") or platform.processor() or platform.machine(),
        "instructions": [name for name in _cpu_field("flags").split() if name.startswith(_VECTOR_SETS)],
        "cores": available_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus,
        "threads": threads,
        "onednn": uses_onednn(),
    }


def describe_process() -> dict[str, str]:
    """Returns host, pid and start (UTC) of this process: together they tell it from every other, past or present."""
    return {"host": socket.gethostname(), "pid": str(os.getpid()), "started": _started(psutil.Process())}


def is_alive(pid: str, started: str) -> bool:
    """Tells whether a process of this host that `describe_process` described still runs.

    Args:
        pid: Its number, which another process may have by now.
        started: When it started; one with its number that took over from it started later.

    Returns:
        False where it is gone. A process that this user may not look at is taken for the one.
    """
    try:
        process = psutil.Process(int(pid))
        then = datetime.fromisoformat(started).timestamp()
        return process.create_time() - then < _CLOCK_SECONDS and process.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return _is_hidden(int(pid))
    except ValueError:
        return False


def _is_hidden(pid: int) -> bool:
    """Tells whether there is a process that only its owner may see, as where /proc is mounted with hidepid."""
    if os.name == "nt":  # where this would be the end of the process
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return False  # a process that may be signalled would have been seen: this is a thread


def user_name() -> str:
    """Returns the name of the user, or the number of one without a name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def command_line() -> str:
    """Returns the command that started this process, as it could be typed again, but for passwords in addresses."""
    program, *arguments = sys.orig_argv
    if arguments and Path(arguments[0]).stem == "trainyard":  # the console script, which Python was started with
        program, *arguments = arguments
    return without_credentials(shlex.join([Path(program).stem, *arguments]))


def digest_weights(model: keras.Model) -> str:
    """Returns the sha256, in hexadecimal, over shape, dtype and bytes of every weight, in order.

    Files are no measure: identical weights give different ``.keras`` files.
    """
    sha = hashlib.sha256()
    for weight in model.get_weights():
        sha.update(f"{weight.shape} {weight.dtype}".encode())
        sha.update(weight.tobytes())
    return sha.hexdigest()


def _started(process: psutil.Process) -> str:
    return datetime.fromtimestamp(process.create_time(), UTC).isoformat(timespec="milliseconds")


def _cpu_field(name: str) -> str:
    """Returns what Linux tells of the first processor under a name, or an empty text."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")

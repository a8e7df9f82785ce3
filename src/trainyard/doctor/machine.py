"""Checks the hardware and the environment for what slows a training down or changes its results."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from trainyard.doctor.finding import GIB, Finding, note, ok, wrong
from trainyard.system import count_available_cores, read_available_memory, read_core_quota, uses_onednn

GPU_DEVICE = Path("/dev/nvidia0")

LOW_MEMORY_BYTES = 2 * GIB
"""Available memory in bytes below which a note is reported; TensorFlow and MLflow use about 1 GiB without any data."""

_COUNT_GPUS_PROGRAM = "import tensorflow as tf; print('GPUs', len(tf.config.list_physical_devices('GPU')))"
_XLA_FLAGS = "it changes the programs that XLA compiles, and thus the last bits of results"
_TF_THREADS = "it has no effect, because Trainyard sets TensorFlow's threads. Use training.threads"
_VARIABLES = {
    "OMP_NUM_THREADS": "it limits the threads of NumPy and scikit-learn; for the training use training.threads",
    "TF_NUM_INTRAOP_THREADS": _TF_THREADS,
    "TF_NUM_INTEROP_THREADS": _TF_THREADS,
    "TF_XLA_FLAGS": _XLA_FLAGS,
    "XLA_FLAGS": _XLA_FLAGS,
}


def check_cores() -> Iterator[Finding]:
    """Compares the CPU cores that this process may use with the cores of the machine, the CPU quota and the load."""
    cores, quota = count_available_cores(), read_core_quota()
    usable = f"{cores} of {os.cpu_count() or 1} cores are usable"
    if quota is not None and quota < cores:
        limit = f"the CPU quota of the container is {quota:g} cores; with one thread per core, threads would wait"
        yield note("cores", f"{usable}, but {limit}", f"training.threads={max(1, int(quota))}")
    else:
        yield ok("cores", usable)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > cores:
        yield note("load", f"load average {load:.1f} on {cores} cores: runs are slower, and their times not comparable")
    else:
        yield ok("load", f"load average {load:.1f} on {cores} cores")


def check_memory() -> Iterator[Finding]:
    """Reports the available memory, within the limit of the container."""
    free = read_available_memory()
    message = f"{free / GIB:.1f} GiB available"
    if free < LOW_MEMORY_BYTES:
        yield note("memory", f"{message}; a small run requires 1 to 2 GiB", "close other programs, or add memory")
    else:
        yield ok("memory", message)


def check_environment() -> Iterator[Finding]:
    """Reports the environment variables that slow a training down or change its results."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        yield wrong("environment", f"KERAS_BACKEND: expected tensorflow, got {backend}", "unset KERAS_BACKEND")
    if not uses_onednn():
        yield note(
            "environment",
            "TF_ENABLE_ONEDNN_OPTS=0: results differ in the last bits, training is mostly slower, and "
            "determinism=strict is not possible",
            "unset TF_ENABLE_ONEDNN_OPTS",
        )
    effects = {name: effect for name, effect in _VARIABLES.items() if os.environ.get(name)}
    for name, effect in effects.items():
        yield note("environment", f"{name}={os.environ[name]}: {effect}", f"unset {name}, unless this is intended")
    if not effects and uses_onednn() and backend == "tensorflow":
        yield ok("environment", "no environment variable slows a training down or changes its results")


def check_gpu() -> Iterator[Finding]:
    """Looks for a GPU, and checks in a separate process whether TensorFlow can use it."""
    gpus = _run_program("nvidia-smi", "--query-gpu=name", "--format=csv,noheader", timeout_seconds=5).splitlines()
    name = ", ".join(gpus) or ("an NVIDIA GPU" if GPU_DEVICE.exists() else "")
    if not name:
        yield ok("gpu", "no GPU found; training uses the CPU")
    elif os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        hidden = f"CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']!r}"
        yield note("gpu", f"{name} is hidden from TensorFlow by {hidden}", "unset CUDA_VISIBLE_DEVICES to use it")
    elif count := _count_usable_gpus():
        yield ok("gpu", f"{name}; TensorFlow can use {count}")
    else:
        yield note(
            "gpu",
            f"TensorFlow can't use {name}; training uses the CPU",
            "pip install 'tensorflow[and-cuda]', and check that the driver supports the CUDA version of TensorFlow",
        )


def _count_usable_gpus() -> int:
    """Returns the number of GPUs that TensorFlow finds in a separate process; 0 if the process fails."""
    output = _run_program(sys.executable, "-c", _COUNT_GPUS_PROGRAM, timeout_seconds=30)
    return int(output.rpartition("GPUs ")[2] or 0)


def _run_program(*command: str, timeout_seconds: float) -> str:
    """Returns the output of a program; empty if it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=timeout_seconds).stdout
    except (OSError, subprocess.SubprocessError):
        return ""

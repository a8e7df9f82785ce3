"""What of the machine slows a training down or changes it: cores, memory, load, environment variables, GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from trainyard.doctor.finding import GIB, Finding, note, ok, wrong
from trainyard.system.tensorflow_setup import available_cores, uses_onednn

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
GPU_DEVICE = Path("/dev/nvidia0")

LITTLE_MEMORY = 2 * GIB
"""TensorFlow and MLflow take about one before there is any data."""

_GPU_SECONDS = 30
_ASK_TENSORFLOW = "import tensorflow as tf; print('GPUs', len(tf.config.list_physical_devices('GPU')))"
_XLA_FLAGS = "it changes what XLA compiles, and with it the last bits of a result"
_TF_THREADS = "it has no effect: Trainyard sets TensorFlow's threads itself. Use training.threads"
_VARIABLES = {
    "OMP_NUM_THREADS": "it limits the threads of NumPy and scikit-learn; those of the training are training.threads",
    "TF_NUM_INTRAOP_THREADS": _TF_THREADS,
    "TF_NUM_INTEROP_THREADS": _TF_THREADS,
    "TF_XLA_FLAGS": _XLA_FLAGS,
    "XLA_FLAGS": _XLA_FLAGS,
}


def check_cores() -> Iterator[Finding]:
    """Compares the cores that this process may use with those of the machine, their quota and the load on them."""
    cores, all_cores, quota = available_cores(), os.cpu_count() or 1, core_quota()
    if quota is not None and quota < cores:
        threads = max(1, int(quota))
        yield note(
            "cores",
            f"{cores} of {all_cores} may be used, but for the time of {quota:g} only; one thread per core would wait",
            f"training.threads={threads}",
        )
    else:
        yield ok("cores", f"{cores} of {all_cores} may be used")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > cores:
        yield note("load", f"{load:.1f} processes want the {cores} cores: all takes longer, and times say little")
    else:
        yield ok("load", f"{load:.1f} processes want the {cores} cores")


def check_memory() -> Iterator[Finding]:
    """Tells how much memory is left, within the limit of the container."""
    free = available_memory()
    found = f"{free / GIB:.1f} GiB available"
    if free < LITTLE_MEMORY:
        yield note("memory", f"{found}; a small run takes one to two", "end other programs, or use a larger machine")
    else:
        yield ok("memory", found)


def check_environment() -> Iterator[Finding]:
    """Names the environment variables that slow a training down or change it."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        yield wrong("environment", f"KERAS_BACKEND={backend}: Trainyard needs tensorflow", "unset KERAS_BACKEND")
    if not uses_onednn():
        yield note(
            "environment",
            "TF_ENABLE_ONEDNN_OPTS=0: other last bits, mostly slower, and determinism=strict is refused",
            "unset TF_ENABLE_ONEDNN_OPTS",
        )
    told = {name: why for name, why in _VARIABLES.items() if os.environ.get(name)}
    for name, why in told.items():
        yield note("environment", f"{name}={os.environ[name]}: {why}", f"unset {name}, unless you mean it")
    if not told and uses_onednn() and backend == "tensorflow":
        yield ok("environment", "no variable is set that slows a training down or changes it")


def check_gpu() -> Iterator[Finding]:
    """Where there is a GPU, asks TensorFlow, in another process, whether it can use it."""
    name = _gpu_name()
    if name is None:
        yield ok("gpu", "there is none; training is on the CPU")
    elif os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        hidden = f"CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']!r}"
        yield note("gpu", f"{name}, hidden from TensorFlow by {hidden}", "unset CUDA_VISIBLE_DEVICES to use it")
    elif count := _count_usable_gpus():
        yield ok("gpu", f"{name}; TensorFlow can use {count}")
    else:
        yield note(
            "gpu",
            f"{name}, which TensorFlow can't use; training is on the CPU",
            "pip install 'tensorflow[and-cuda]', and compare the driver with the CUDA version that it wants",
        )


def core_quota() -> float | None:
    """Returns the cores' worth of time that the control groups of this process leave it, or None without a limit."""
    quotas = []
    for text in _control_values("cpu.max"):
        allowed, _, period = text.partition(" ")
        quotas += [int(allowed) / int(period)] if allowed.isdigit() else []
    for allowed in _control_values("cpu/cpu.cfs_quota_us"):  # of the first version of control groups
        period = next(_control_values("cpu/cpu.cfs_period_us"), "0")
        quotas += [int(allowed) / int(period)] if int(allowed) > 0 and int(period) > 0 else []
    return min(quotas, default=None)


def available_memory() -> int:
    """Returns the bytes that are left, to the machine and to the control group of this process, whichever is less."""
    left = [int(psutil.virtual_memory().available)]
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        pairs = zip(_control_values(limit), _control_values(used), strict=False)
        left += [int(most) - int(taken) for most, taken in pairs if most.isdigit()]
    return max(0, min(left))


def _control_values(name: str) -> Iterator[str]:
    """Yields what a file of the control groups says, of the group of this process and of those around it."""
    try:
        lines = OWN_CGROUP.read_text().splitlines()
    except OSError:
        return
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    for folder in (CGROUPS / own, *(CGROUPS / own).parents):
        if folder.is_relative_to(CGROUPS) and (folder / name).is_file():
            yield (folder / name).read_text().strip()


def _gpu_name() -> str | None:
    """Returns what NVIDIA's tool calls the GPU, another word where only its device is there, or None."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return "an NVIDIA GPU" if GPU_DEVICE.exists() else None
    return ", ".join(done.stdout.splitlines()) or None


def _count_usable_gpus() -> int:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK_TENSORFLOW], capture_output=True, text=True, check=True, timeout=_GPU_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    return int(done.stdout.rpartition("GPUs ")[2])

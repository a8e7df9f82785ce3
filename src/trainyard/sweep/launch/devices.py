"""Slots for trials that run at the same time: one per GPU or, without GPUs, one per CPU core."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from trainyard.errors import ConfigError
from trainyard.system import count_available_cores

RAY_LAUNCHER = "hydra_plugins.trainyard_plugins.RayLauncher"
SLURM_LAUNCHER = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
"""The values of `hydra.launcher._target_` for the cluster launchers."""

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
_NVIDIA_SMI_TIMEOUT_SECONDS = 20


def allocate_slots(n_jobs: int | None, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """Returns the slots for jobs: for each, the environment variables of the jobs that run in it.

    `n_jobs` is the number of slots, with GPUs an upper limit; None uses one per GPU or core. CUDA_VISIBLE_DEVICES in
    the `environment` limits the GPUs. Raises ConfigError if `n_jobs` is less than 1.
    """
    if n_jobs is not None and n_jobs < 1:
        raise ConfigError(f"hydra.launcher.n_jobs: expected an integer of at least 1, or null, got {n_jobs}")
    if gpus := find_gpus(environment):
        return [{VISIBLE_GPUS: gpu} for gpu in gpus[:n_jobs]]
    return [{}] * (n_jobs or count_available_cores())


def find_gpus(environment: Mapping[str, str]) -> list[str]:
    """Returns the available NVIDIA GPUs, as values for CUDA_VISIBLE_DEVICES."""
    if VISIBLE_GPUS in environment:
        names = map(str.strip, environment[VISIBLE_GPUS].split(","))
        return [name for name in names if name not in ("", "-1", "NoDevFiles")]
    if not Path("/dev/nvidiactl").exists():
        return []
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=_NVIDIA_SMI_TIMEOUT_SECONDS
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(index) for index, _ in enumerate(line for line in listing.splitlines() if line.startswith("GPU "))]

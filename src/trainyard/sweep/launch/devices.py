"""Places where jobs run side by side: one per GPU where there are GPUs, else as many as there are cores."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from trainyard.errors import ConfigError
from trainyard.system.tensorflow_setup import available_cores

RAY_LAUNCHER = "hydra_plugins.trainyard_ray_launcher.RayLauncher"
SLURM_LAUNCHER = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
"""Launchers of clusters, by what Hydra makes them of."""

VISIBLE = "CUDA_VISIBLE_DEVICES"
_LISTING_SECONDS = 20


def share_out(n_jobs: int | None, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """Returns the places for jobs, each with the environment variables that a job there needs.

    Args:
        n_jobs: How many at most; None: as many as there are GPUs, or cores where there are none.
        environment: Of this process; CUDA_VISIBLE_DEVICES may leave it only some GPUs.

    Raises:
        ConfigError: If `n_jobs` is no count.
    """
    if n_jobs is not None and n_jobs < 1:
        raise ConfigError(f"hydra.launcher.n_jobs: expected a whole number of at least 1, or null, got {n_jobs}")
    if gpus := find_gpus(environment):
        return [{VISIBLE: gpu} for gpu in gpus[:n_jobs]]
    return [{}] * (n_jobs or available_cores())


def find_gpus(environment: Mapping[str, str]) -> list[str]:
    """Returns the names of the GPUs that jobs may use, as CUDA_VISIBLE_DEVICES takes them."""
    if VISIBLE in environment:
        return [
            name.strip() for name in environment[VISIBLE].split(",") if name.strip() not in ("", "-1", "NoDevFiles")
        ]
    if not Path("/dev/nvidiactl").exists():
        return []
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=_LISTING_SECONDS
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(index) for index, _ in enumerate(line for line in listing.splitlines() if line.startswith("GPU "))]

"""Measures networks with and without XLA, fits the costs of their operations, and checks the choice of ``auto``.

The costs of each mode are the numbers of at least zero with the smallest sum of squared relative errors of the
estimated times. They are written to the table that ``training.xla=auto`` uses, except with ``--quick``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.performance.measure_epochs import BenchmarkSettings
from experiments.performance.training_processes import TrainingProcess
from experiments.performance.xla_child import MODES
from experiments.performance.xla_networks import CHECKED, FITTED
from trainyard.system.files import atomic_write
from trainyard.training.xla_costs import COSTS_FILE, Costs

TRAINING_STEPS = (300, 3_000, 30_000)
"""Numbers of steps of the trainings for which the choice is checked."""

_DIGITS = 4
"""Significant digits of the costs in the table."""


def measure_xla(settings: BenchmarkSettings) -> dict[str, Any]:
    """Measures all networks, fits the costs, and writes the table."""
    import tensorflow as tf

    sets = {"fitted": FITTED[:2], "checked": CHECKED[:1]} if settings.quick else {"fitted": FITTED, "checked": CHECKED}
    networks: list[dict[str, Any]] = []
    total = sum(map(len, sets.values()))
    with TrainingProcess("networks", "", settings.folder, settings.threads, module="xla_child") as process:
        process.wait_until_ready()
        for name, members in sets.items():
            for network in members:
                settings.progress.step(1, 1, len(networks) + 1, total)
                measured = process.request(json.dumps(dataclasses.asdict(network)))
                networks.append({"set": name, "name": network.name, **measured})
    costs = fit_costs([measured for measured in networks if measured["set"] == "fitted"])
    device = "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    if not settings.quick:
        write_costs(device, costs)
    return {"device": device, "costs": costs, "networks": networks}


def fit_costs(networks: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Returns the costs by mode, as in the table: of compiling per operation, of a step also per unit of size."""
    names = sorted({name for network in networks for name in network["work"]})
    counts = [name for name in names if not name.endswith(" size")]
    costs = {}
    for mode in MODES:
        steps = [min(network["step_seconds"][mode]) for network in networks]
        compiling = [network["compile_seconds"][mode] for network in networks]
        costs[mode] = {"compile": _fit(networks, counts, compiling), "step": _fit(networks, names, steps)}
    return costs


def _fit(networks: Sequence[dict[str, Any]], names: list[str], seconds: list[float]) -> dict[str, float]:
    """Returns the costs per unit of the work with these names that approximate the seconds of the networks."""
    from scipy.optimize import nnls

    work = [[network["work"].get(name, 0.0) for name in names] for network in networks]
    relative: NDArray[np.float64] = np.array(work) / np.array(seconds)[:, None]
    scales = relative.max(axis=0)  # costs of a step and of a multiplication differ by a factor of 10**9
    values, _ = nnls(relative / scales, np.ones(len(seconds)), maxiter=100 * len(names))
    return {
        name: float(f"{value:.{_DIGITS}g}") for name, value in zip(names, values / scales, strict=True) if value > 0
    }


def write_costs(device: str, costs: dict[str, Any]) -> None:
    """Replaces the costs on a device in the table of ``training.xla=auto``."""
    devices = json.loads(COSTS_FILE.read_text()) if COSTS_FILE.exists() else {}
    with atomic_write(COSTS_FILE) as partial:
        partial.write_text(json.dumps(devices | {device: costs}, indent=1) + "\n")


def compute_time_ratio(network: dict[str, Any], costs: dict[str, Any], steps: int) -> float:
    """Returns the measured time of a training in the mode that the costs choose, relative to the faster mode."""
    work = network["work"]
    estimates = {mode: Costs(**costs[mode]).estimate_seconds(work, steps) for mode in MODES}
    times = compute_times(network, steps)
    return times[min(estimates, key=lambda mode: estimates[mode])] / min(times.values())


def compute_times(network: dict[str, Any], steps: int) -> dict[str, float]:
    """Returns the measured seconds of a training in each mode, including its compilation."""
    return {mode: network["compile_seconds"][mode] + steps * min(network["step_seconds"][mode]) for mode in MODES}

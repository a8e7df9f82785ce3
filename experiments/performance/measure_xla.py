"""Measures networks with and without XLA, fits the costs of their operations, and checks the choice of ``auto``.

The costs of each mode are the numbers of at least zero with the smallest sum of squared relative errors of the
estimated times. They are written to the table that ``training.xla=auto`` uses, except with ``--quick``.

Other programs can slow down a network for minutes, in both modes alike. Therefore each network is measured in several
sessions, of which the fastest is used, and the costs are fitted twice: for the second fit, the times of a network are
divided by the factor by which those of both modes exceed the first estimates.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.performance.measure_epochs import BenchmarkSettings
from experiments.performance.training_processes import TrainingProcess
from experiments.performance.xla_child import MODES
from experiments.performance.xla_networks import CHECKED, FITTED, Network
from trainyard.system.files import atomic_write
from trainyard.training.xla_costs import COSTS_FILE, Costs

TRAINING_STEPS = (300, 3_000, 30_000)
"""Numbers of steps of the trainings for which the choice is checked."""

_NETWORKS_PER_PROCESS = 20
"""A process that compiled hundreds of programs with XLA ended with SIGSEGV once, in libgcc."""
_FITS = 2
_DIGITS = 4
"""Significant digits of the costs in the table."""


def measure_xla(settings: BenchmarkSettings) -> dict[str, Any]:
    """Measures all networks, fits the costs, and writes the table."""
    import tensorflow as tf

    sets = {"fitted": FITTED[:2], "checked": CHECKED[:1]} if settings.quick else {"fitted": FITTED, "checked": CHECKED}
    networks: list[tuple[Network, dict[str, Any]]] = [
        (network, {"set": name, "name": network.name, "work": {}, "sessions": []})
        for name, members in sets.items()
        for network in members
    ]
    for number in range(1, settings.rounds + 1):
        for first in range(0, len(networks), _NETWORKS_PER_PROCESS):
            with TrainingProcess("networks", "", settings.folder, settings.threads, module="xla_child") as process:
                process.wait_until_ready()
                for position, (network, measured) in enumerate(
                    networks[first : first + _NETWORKS_PER_PROCESS], first + 1
                ):
                    settings.progress.step(number, settings.rounds, position, len(networks))
                    session = process.request(json.dumps(dataclasses.asdict(network)))
                    measured["work"] = session.pop("work")
                    measured["sessions"].append(session)
    results = [measured for _, measured in networks]
    costs = fit_costs([measured for measured in results if measured["set"] == "fitted"])
    device = "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    if not settings.quick:
        write_costs(device, costs)
    return {"device": device, "costs": costs, "networks": results}


def find_step_seconds(network: dict[str, Any]) -> dict[str, float]:
    """Returns the seconds per step by mode: those of the fastest burst, in the fastest session."""
    sessions = [{mode: min(session["step_seconds"][mode]) for mode in MODES} for session in network["sessions"]]
    return min(sessions, key=lambda seconds: math.prod(seconds.values()))


def find_compile_seconds(network: dict[str, Any]) -> dict[str, float]:
    """Returns the seconds of the fastest compilation, by mode."""
    return {mode: min(session["compile_seconds"][mode] for session in network["sessions"]) for mode in MODES}


def fit_costs(networks: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Returns the costs by mode, as in the table: of compiling per operation, of a step also per unit of size."""
    names = sorted({name for network in networks for name in network["work"]})
    counts = [name for name in names if not name.endswith(" size")]
    work, operations = _build_matrix(networks, names), _build_matrix(networks, counts)
    steps, compiling = (
        {mode: np.array([find(network)[mode] for network in networks]) for mode in MODES}
        for find in (find_step_seconds, find_compile_seconds)
    )
    slowdown = np.ones(len(networks))
    for _ in range(_FITS):
        step_costs = {mode: _fit(work, steps[mode] / slowdown) for mode in MODES}
        errors = np.mean([np.log(steps[mode] / (work @ step_costs[mode])) for mode in MODES], axis=0)
        slowdown = np.exp(errors - np.median(errors))
    return {
        mode: {
            "compile": _to_dict(counts, _fit(operations, compiling[mode])),
            "step": _to_dict(names, step_costs[mode]),
        }
        for mode in MODES
    }


def _build_matrix(networks: Sequence[dict[str, Any]], names: list[str]) -> NDArray[np.float64]:
    """Returns the work with these names: float64 (networks, names)."""
    return np.array([[network["work"].get(name, 0.0) for name in names] for network in networks])


def _fit(work: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the costs per unit of work, float64 (names,), that approximate the seconds, float64 (networks,)."""
    from scipy.optimize import nnls

    relative = work / seconds[:, None]
    scales = relative.max(axis=0)  # costs of a step and of a multiplication differ by a factor of 10**9
    values, _ = nnls(relative / scales, np.ones(len(seconds)), maxiter=100 * work.shape[1])
    costs: NDArray[np.float64] = values / scales
    return costs


def _to_dict(names: list[str], costs: NDArray[np.float64]) -> dict[str, float]:
    """Returns the positive costs by name, rounded."""
    return {name: float(f"{cost:.{_DIGITS}g}") for name, cost in zip(names, costs, strict=True) if cost > 0}


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
    compiling, step = find_compile_seconds(network), find_step_seconds(network)
    return {mode: compiling[mode] + steps * step[mode] for mode in MODES}

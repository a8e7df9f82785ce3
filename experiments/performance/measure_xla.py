"""Measures networks with and without XLA, fits the costs of their operations, and checks the choice of ``auto``.

The costs of each mode are the numbers of at least zero with the smallest sum of squared relative errors of the
estimated times. They are written to the table that ``training.xla=auto`` uses, except with ``--quick``.

Other programs can slow down a network for minutes, in both modes alike. Therefore each network is measured in several
sessions, of which the fastest is used, and the costs are fitted twice: for the second fit, the times of a network are
divided by the factor by which those of both modes exceed the first estimates.

With ``--keep-sessions``, the new sessions are added to those of earlier measurements, and the costs are not fitted
again. The new sessions then show how good the choice is on measurements that it was not fitted to.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.performance.measure_epochs import BenchmarkSettings
from experiments.performance.training_processes import TrainingProcess
from experiments.performance.xla_child import MODES
from experiments.performance.xla_networks import CHECKED, FITTED, Network
from trainyard.errors import ConfigError
from trainyard.reporting.provenance import format_current_time
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
    """Measures all networks, and fits the costs and writes the table, unless earlier sessions are kept.

    Raises:
        ConfigError: If the earlier result is of other networks or of another device.
    """
    import tensorflow as tf

    sets = {"fitted": FITTED[:2], "checked": CHECKED[:1]} if settings.quick else {"fitted": FITTED, "checked": CHECKED}
    networks = [(name, network) for name, members in sets.items() for network in members]
    device = "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    kept = settings.kept_xla
    if kept:
        _check_kept(kept, device, networks)
    number = 1 + max((measurement["number"] for measurement in kept["measurements"]), default=0) if kept else 1
    measurement = {"number": number, "date": format_current_time(), "fitted": not kept}
    results = _measure_sessions(networks, number, settings)
    if kept:
        return add_sessions(kept, measurement, results)
    costs = fit_costs([measured for measured in results if measured["set"] == "fitted"])
    if not settings.quick:
        write_costs(device, costs)
    return {"device": device, "costs": costs, "measurements": [measurement], "networks": results}


def _measure_sessions(
    networks: Sequence[tuple[str, Network]], number: int, settings: BenchmarkSettings
) -> list[dict[str, Any]]:
    """Returns the work and the sessions of each network. `number` is that of the measurement."""
    results: list[dict[str, Any]] = [
        {"set": name, "name": network.name, "work": {}, "sessions": []} for name, network in networks
    ]
    for round_number in range(1, settings.rounds + 1):
        for first in range(0, len(networks), _NETWORKS_PER_PROCESS):
            with TrainingProcess("networks", "", settings.folder, settings.threads, module="xla_child") as process:
                process.wait_until_ready()
                for position in range(first, min(first + _NETWORKS_PER_PROCESS, len(networks))):
                    settings.progress.step(round_number, settings.rounds, position + 1, len(networks))
                    session = process.request(json.dumps(dataclasses.asdict(networks[position][1])))
                    results[position]["work"] = session.pop("work")
                    results[position]["sessions"].append({"measurement": number, **session})
    return results


def _check_kept(kept: dict[str, Any], device: str, networks: Sequence[tuple[str, Network]]) -> None:
    """Raises ConfigError if sessions of these networks on this device cannot be added to an earlier result."""
    recorded = [(network["set"], network["name"]) for network in kept["networks"]]
    problem = ""
    if kept["device"] != device:
        problem = f"of the device {device}, got one of {kept['device']}"
    elif recorded != [(name, network.name) for name, network in networks]:
        problem = f"of the {len(networks)} networks that are measured, got one of {len(recorded)} other networks"
    if problem:
        raise ConfigError(
            f"--keep-sessions: expected an earlier result {problem}. Omit the option, which replaces the result"
        )


def add_sessions(
    kept: dict[str, Any], measurement: dict[str, Any], results: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Returns an earlier result with the sessions of another measurement of the same networks. The costs are kept."""
    return {
        "device": kept["device"],
        "costs": kept["costs"],
        "measurements": [*kept["measurements"], measurement],
        "networks": [
            {**measured, "sessions": [*earlier["sessions"], *measured["sessions"]]}
            for earlier, measured in zip(kept["networks"], results, strict=True)
        ],
    }


def select_sessions(part: dict[str, Any], numbers: Collection[int]) -> dict[str, Any]:
    """Returns the result with only the sessions of some measurements, and only the networks that these measured."""
    networks = [
        {**network, "sessions": [s for s in network["sessions"] if s["measurement"] in numbers]}
        for network in part["networks"]
    ]
    return {**part, "networks": [network for network in networks if network["sessions"]]}


def find_largest_change(networks: Sequence[dict[str, Any]]) -> float:
    """Returns the largest factor by which the ratio of the step times of both modes changes between sessions."""
    changes: list[float] = []
    for network in networks:
        bursts = [session["step_seconds"] for session in network["sessions"]]
        ratios = [min(seconds["with_xla"]) / min(seconds["without_xla"]) for seconds in bursts]
        changes.append(max(ratios) / min(ratios))
    return max(changes)


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

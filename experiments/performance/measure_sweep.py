"""The part of the benchmark that measures whole sweeps: from the shell to the exit of the process.

``trainyard sweep`` over learning rates meets what it replaces, a shell loop over ``plain_keras_autolog.py``, and
itself, one trial at a time on one thread. The whole loop would take longer than all else, so only some of its processes
are run, around the sweeps; all of them do the same work.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.performance.measure_epochs import Setting
from experiments.performance.measure_run import console_command, time_command
from experiments.performance.training_job import PUBLISHED_UNITS
from experiments.performance.training_processes import child_environment
from trainyard.errors import ConfigError, TrainingError
from trainyard.system.uris import sqlite_uri
from trainyard.tracking.connection import connect

LOOP, ONE_BY_ONE, SWEEP = "loop over autolog", "one trial at a time", "trainyard sweep"

TURNS = (LOOP, SWEEP, LOOP, ONE_BY_ONE, LOOP)
"""What is run in each round, in this order: the loop around both sweeps, so that a slow minute hits neither alone."""

LEARNING_RATES = (
    "0.0001", "0.000126", "0.000158", "0.0002", "0.000251", "0.000316", "0.000398", "0.000501", "0.000631", "0.000794",
    "0.001", "0.00126", "0.00158", "0.002", "0.00251", "0.00316",
)  # fmt: skip
"""Of the sweep's trials, ten to a decade; as they are typed, and the keys of results."""

LOOP_RATES = LEARNING_RATES[2::5]
"""Those of the loop's processes that are run in each round."""

SWEEP_THREADS = 2
"""The cores that the goals are for."""

SCRIPT = Path(__file__).with_name("plain_keras_autolog.py")


def require_peer() -> None:
    """Makes sure that the script of the loop can run.

    Raises:
        ConfigError: If a package is missing that it needs.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "experiments.performance sweep: expected the package tensorboard, which mlflow.autolog needs with "
            "TensorFlow; it is not installed. Install it (pip install tensorboard, or the extra `bench`), or name "
            "other parts"
        )


def measure_sweep(setting: Setting) -> dict[str, Any]:
    """Measures rounds of both sweeps and of the loop's processes.

    Each sweep has a new folder and an empty cache. The loop keeps its own, which a process that is not counted has
    made: a loop of sixteen would pay for it once. Where nothing is judged, that process is spared.
    """
    epochs = 1 if setting.quick else 10
    turns = TURNS[1:4] if setting.quick else TURNS
    rates = LEARNING_RATES[:2] if setting.quick else LEARNING_RATES
    loop_rates = rates if setting.quick else LOOP_RATES
    rounds: list[dict[str, list[dict[str, Any]]]] = []
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as place:
        loop = Path(place) / "loop"
        loop.mkdir()
        if not setting.quick:
            _run_script(setting, loop, rates[0], epochs=1)
            setting.progress.detail("the loop has its store")
        for number in range(1, setting.rounds + 1):
            measured: dict[str, list[dict[str, Any]]] = {name: [] for name in turns}
            for done, name in enumerate(turns):
                setting.progress.step(number, setting.rounds, done, len(turns))
                if name == LOOP:
                    found = _run_script(setting, loop, loop_rates[len(measured[LOOP])], epochs)
                else:
                    found = _run_sweep(setting, Path(place) / f"sweep_{number}_{done}", name, rates, epochs)
                measured[name].append(found)
                setting.progress.detail(f"round {number}: {name} {found['wall_seconds']:.1f} s")
            rounds.append(measured)
    return {"epochs": epochs, "rounds": rounds}


def throughputs(part: dict[str, Any]) -> dict[str, list[float]]:
    """Returns the trials per minute of each round, by what was run: trials over the seconds of all its commands."""
    return {
        name: [
            60 * sum(len(one["accuracies"]) for one in found[name]) / sum(one["wall_seconds"] for one in found[name])
            for found in part["rounds"]
        ]
        for name in (LOOP, ONE_BY_ONE, SWEEP)
    }


def _run_script(setting: Setting, folder: Path, rate: str, epochs: int) -> dict[str, Any]:
    """Runs one process of the loop."""
    units = ",".join(map(str, PUBLISHED_UNITS))
    command = [sys.executable, "-P", str(SCRIPT), str(setting.folder), units, rate, str(epochs)]
    environment = child_environment(setting.threads_asked, folder / "cache")
    began, ended, output = time_command("the script with mlflow.autolog", command, folder, environment)
    accuracy = json.loads(output.splitlines()[-1])["test_accuracy"]
    return {"wall_seconds": ended - began, "accuracies": {rate: accuracy}}


def _run_sweep(setting: Setting, folder: Path, name: str, rates: Sequence[str], epochs: int) -> dict[str, Any]:
    """Runs ``trainyard sweep`` in a folder that is made for it."""
    places = 1 if name == ONE_BY_ONE else setting.threads_asked
    overrides = [
        "experiment=mnist_baseline",
        *(["dataset=digits"] if setting.quick else ["dataset=mnist", f"dataset.path='{setting.folder}'"]),
        f"training.epochs={epochs}",
        f"optimizer.learning_rate={','.join(rates)}",
        "sweep.objective=off",
        "sweep.name=bench",
        *([f"hydra.launcher.n_jobs={places}", "training.threads=1"] if places else []),
    ]
    folder.mkdir()
    environment = child_environment(setting.threads_asked, folder / "cache")
    command = [*console_command(), "sweep", *overrides]
    began, ended, _ = time_command(f"the sweep ({name})", command, folder, environment)
    return {"wall_seconds": ended - began, "accuracies": _read_accuracies(folder, name, rates)}


def _read_accuracies(folder: Path, name: str, rates: Sequence[str]) -> dict[str, float]:
    """Reads each trial's test accuracy from the store, so that no trial is counted that was not done.

    Raises:
        TrainingError: If a trial is missing.
    """
    client = connect(sqlite_uri(folder / "mlflow.db"))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    done = {
        float(run.data.params["optimizer.learning_rate"]): run.data.metrics["accuracy/test"]
        for run in client.search_runs(experiments)
        if run.info.status == "FINISHED" and "accuracy/test" in run.data.metrics
    }
    if missing := [rate for rate in rates if float(rate) not in done]:
        raise TrainingError(
            f"the sweep ({name}) said that all went well, but {len(missing)} of {len(rates)} trials have no finished "
            f"run in its store, as the learning rate {missing[0]}. Run the sweep by hand to see what it says"
        )
    return {rate: done[float(rate)] for rate in rates}

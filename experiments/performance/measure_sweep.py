"""Measures complete sweeps: from the start of the command to its exit.

``trainyard sweep`` over learning rates is measured alternately with the usual alternative, a shell loop over
``plain_keras_autolog.py``, and with the same sweep, one trial at a time on one thread. The complete shell loop would
take too long, so only some of its processes are measured, before, between and after the sweeps. All of them do the same
amount of work.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.performance.measure_epochs import BenchmarkSettings
from experiments.performance.measure_run import find_trainyard_command, time_command
from experiments.performance.training_job import PUBLISHED_UNITS
from experiments.performance.training_processes import build_child_environment
from trainyard.errors import ConfigError, TrainingError
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking.connection import connect

SHELL_LOOP, ONE_BY_ONE, SWEEP = "loop over autolog", "one trial at a time", "trainyard sweep"

COMMAND_ORDER = (SHELL_LOOP, SWEEP, SHELL_LOOP, ONE_BY_ONE, SHELL_LOOP)
"""The commands of each round, in this order. A slow period therefore never affects a sweep alone."""

LEARNING_RATES = (
    "0.0001", "0.000126", "0.000158", "0.0002", "0.000251", "0.000316", "0.000398", "0.000501", "0.000631", "0.000794",
    "0.001", "0.00126", "0.00158", "0.002", "0.00251", "0.00316",
)  # fmt: skip
"""Learning rates of the sweep's trials, ten per decade. They are text, as on the command line and in the results."""

SHELL_LOOP_RATES = LEARNING_RATES[2::5]
"""Learning rates of the shell loop's processes that are measured in each round."""

SWEEP_THREADS = 2
"""Number of threads that the goals apply to."""

SCRIPT = Path(__file__).with_name("plain_keras_autolog.py")


def check_tensorboard_installed() -> None:
    """Checks that the package is installed that the script of the shell loop requires.

    Raises:
        ConfigError: If it is missing.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "experiments.performance sweep: expected the package tensorboard, which mlflow.autolog requires with "
            "TensorFlow; it is not installed. Install it (pip install tensorboard, or the extra `bench`), or measure "
            "other parts"
        )


def measure_sweep(settings: BenchmarkSettings) -> dict[str, Any]:
    """Measures rounds of both sweeps and of the shell loop's processes.

    Each sweep starts in a new folder with an empty cache. All processes of the shell loop share one folder. A first
    process creates its store and is not counted, because a complete loop would create the store only once. With
    `settings.quick` this process is skipped.
    """
    epochs = 1 if settings.quick else 10
    commands = COMMAND_ORDER[1:4] if settings.quick else COMMAND_ORDER
    rates = LEARNING_RATES[:2] if settings.quick else LEARNING_RATES
    loop_rates = rates if settings.quick else SHELL_LOOP_RATES
    rounds: list[dict[str, list[dict[str, Any]]]] = []
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as temporary_folder:
        loop_folder = Path(temporary_folder) / "loop"
        loop_folder.mkdir()
        if not settings.quick:
            _run_script(settings, loop_folder, rates[0], epochs=1)
            settings.progress.detail("created the store of the shell loop")
        for number in range(1, settings.rounds + 1):
            measured: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
            for position, name in enumerate(commands):
                settings.progress.step(number, settings.rounds, position, len(commands))
                if name == SHELL_LOOP:
                    measurement = _run_script(settings, loop_folder, loop_rates[len(measured[SHELL_LOOP])], epochs)
                else:
                    measurement = _run_sweep(
                        settings, Path(temporary_folder) / f"sweep_{number}_{position}", name, rates, epochs
                    )
                measured[name].append(measurement)
                settings.progress.detail(f"round {number}: {name} {measurement['wall_seconds']:.1f} s")
            rounds.append(measured)
    return {"epochs": epochs, "rounds": rounds}


def compute_throughputs(part: dict[str, Any]) -> dict[str, list[float]]:
    """Returns the trials per minute in each round: the number of trials divided by the total time of the commands."""
    return {
        name: [
            60
            * sum(len(command["accuracies"]) for command in measured[name])
            / sum(command["wall_seconds"] for command in measured[name])
            for measured in part["rounds"]
        ]
        for name in (SHELL_LOOP, ONE_BY_ONE, SWEEP)
    }


def _run_script(settings: BenchmarkSettings, folder: Path, rate: str, epochs: int) -> dict[str, Any]:
    """Runs one process of the shell loop."""
    units = ",".join(map(str, PUBLISHED_UNITS))
    command = [sys.executable, "-P", str(SCRIPT), str(settings.folder), units, rate, str(epochs)]
    environment = build_child_environment(settings.requested_threads, folder / "cache")
    started, ended, output = time_command("the script with mlflow.autolog", command, folder, environment)
    accuracy = json.loads(output.splitlines()[-1])["test_accuracy"]
    return {"wall_seconds": ended - started, "accuracies": {rate: accuracy}}


def _run_sweep(
    settings: BenchmarkSettings, folder: Path, name: str, rates: Sequence[str], epochs: int
) -> dict[str, Any]:
    """Runs ``trainyard sweep`` in a new folder."""
    parallel_trials = 1 if name == ONE_BY_ONE else settings.requested_threads
    overrides = [
        "experiment=mnist_baseline",
        *(["dataset=digits"] if settings.quick else ["dataset=mnist", f"dataset.path='{settings.folder}'"]),
        f"training.epochs={epochs}",
        f"optimizer.learning_rate={','.join(rates)}",
        "sweep.objective=off",
        "sweep.name=bench",
        *([f"hydra.launcher.n_jobs={parallel_trials}", "training.threads=1"] if parallel_trials else []),
    ]
    folder.mkdir()
    environment = build_child_environment(settings.requested_threads, folder / "cache")
    command = [*find_trainyard_command(), "sweep", *overrides]
    started, ended, _ = time_command(f"the sweep ({name})", command, folder, environment)
    return {"wall_seconds": ended - started, "accuracies": _read_accuracies(folder, name, rates)}


def _read_accuracies(folder: Path, name: str, rates: Sequence[str]) -> dict[str, float]:
    """Returns the test accuracy of each trial by learning rate, from the store.

    Raises:
        TrainingError: If a trial has no finished run, so that only completed trials are counted.
    """
    client = connect(build_sqlite_uri(folder / "mlflow.db"))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    accuracies = {
        float(run.data.params["optimizer.learning_rate"]): run.data.metrics["accuracy/test"]
        for run in client.search_runs(experiments)
        if run.info.status == "FINISHED" and "accuracy/test" in run.data.metrics
    }
    if missing := [rate for rate in rates if float(rate) not in accuracies]:
        raise TrainingError(
            f"the sweep ({name}) ended with exit code 0, but {len(missing)} of {len(rates)} trials have no finished "
            f"run in its store, for example the learning rate {missing[0]}. Run the sweep manually to see its output"
        )
    return {rate: accuracies[float(rate)] for rate in rates}

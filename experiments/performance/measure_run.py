"""Measures complete runs: from the start of the command to its exit, and each stage.

``trainyard train`` is measured alternately with ``plain_keras.py``, which trains the same network and tracks nothing.
The stages of a run are read from its metrics. The time before and after them is the difference to the wall-clock time
of the command.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.performance.measure_epochs import BenchmarkSettings
from experiments.performance.training_processes import build_child_environment, child_process_error
from trainyard.system.processes import end_process_group
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking.connection import connect

PLAIN_SCRIPT, FIRST_RUN, NEW_STORE, EXISTING_STORE, UNTRACKED = (
    "plain script", "trainyard, first run ever", "trainyard, new store", "trainyard, store exists", "tracking=off",
)  # fmt: skip
RUNS = (PLAIN_SCRIPT, FIRST_RUN, NEW_STORE, EXISTING_STORE, UNTRACKED)
"""The runs of each round, in this order. The first Trainyard run starts without a store and with an empty cache."""

SCRIPT = Path(__file__).with_name("plain_keras.py")


def measure_run(settings: BenchmarkSettings) -> dict[str, Any]:
    """Measures rounds of a plain script and of Trainyard runs; each round has a new folder and an empty cache."""
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as temporary_folder:
        for number in range(1, settings.rounds + 1):
            folder = Path(temporary_folder) / str(number)
            for subfolder in ("cache", "first", "second"):
                (folder / subfolder).mkdir(parents=True)
            measured: dict[str, Any] = {}
            for name in RUNS:
                settings.progress.step(number, settings.rounds, len(measured), len(RUNS))
                measured[name] = (
                    _run_plain_script(settings, folder)
                    if name == PLAIN_SCRIPT
                    else _run_trainyard(settings, folder, name)
                )
                settings.progress.detail(f"round {number}: {name} {measured[name]['wall_seconds']:.1f} s")
            rounds.append(measured)
    return {"epochs": _epochs(settings), "rounds": rounds}


def _epochs(settings: BenchmarkSettings) -> int:
    return 2 if settings.quick else 10


def _run_plain_script(settings: BenchmarkSettings, folder: Path) -> dict[str, Any]:
    """Runs the plain script, which prints the time of its stages."""
    command = [sys.executable, "-P", str(SCRIPT), str(settings.folder), str(_epochs(settings)), "0"]
    environment = build_child_environment(settings.requested_threads, folder / "cache")
    started, ended, output = time_command("the plain script", command, folder, environment)
    report = json.loads(output.splitlines()[-1])
    stages = {"before": report["started"] - started, **report["stages"], "after": ended - report["ended"]}
    return {"wall_seconds": ended - started, "stages": stages, "test_accuracy": report["test_accuracy"]}


def _run_trainyard(settings: BenchmarkSettings, folder: Path, name: str) -> dict[str, Any]:
    """Runs ``trainyard train experiment=mnist_baseline``: the first run in one folder, all others in a second one."""
    quick_overrides = ["dataset=digits", f"training.epochs={_epochs(settings)}"] if settings.quick else []
    overrides = [
        "experiment=mnist_baseline",
        *(quick_overrides or [f"dataset.path='{settings.folder}'"]),
        *([f"training.threads={settings.requested_threads}"] if settings.requested_threads else []),
        *(["tracking=off"] if name == UNTRACKED else []),
    ]
    command = [*find_trainyard_command(), "train", *overrides]
    working_directory = folder / ("first" if name == FIRST_RUN else "second")
    environment = build_child_environment(settings.requested_threads, folder / "cache")
    started, ended, _ = time_command(f"the run ({name})", command, working_directory, environment)
    measured: dict[str, Any] = {"wall_seconds": ended - started}
    if name != UNTRACKED:
        measured |= _read_stages(working_directory, started, ended)
    return measured


def _read_stages(folder: Path, started: float, ended: float) -> dict[str, Any]:
    """Reads the stages and the test accuracy of the latest run in the folder's store.

    A run logs its total time as soon as it has measured it. The timestamp of that metric minus its value is the time
    when the run started its clock, so the rest of the wall-clock time can be divided into before and after.

    Args:
        folder: Folder with the store.
        started: Start of the command, in seconds since the epoch.
        ended: Exit of the command, in seconds since the epoch.
    """
    client = connect(build_sqlite_uri(folder / "mlflow.db"))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    run = client.search_runs(experiments, order_by=["attributes.start_time DESC"], max_results=1)[0]
    times = {
        name.removeprefix("time/").removesuffix("_seconds"): value
        for name, value in run.data.metrics.items()
        if name.startswith("time/") and name not in ("time/total_seconds", "time/epoch_seconds")
    }
    total = run.data.metrics["time/total_seconds"]
    logged = client.get_metric_history(run.info.run_id, "time/total_seconds")[0].timestamp / 1000
    stages = {
        "before": logged - total - started,
        "open": total - sum(times.values()),
        **times,
        "after": ended - logged,
    }
    return {"stages": stages, "test_accuracy": run.data.metrics["accuracy/test"]}


def find_trainyard_command() -> list[str]:
    """Returns the command that users run: the script `trainyard` next to this Python, or an equivalent command."""
    script = Path(sys.executable).with_name("trainyard")
    return [str(script)] if script.exists() else [sys.executable, "-c", "from trainyard.cli import main; main()"]


def time_command(
    description: str, command: list[str], folder: Path, environment: dict[str, str]
) -> tuple[float, float, str]:
    """Runs a command and waits for its exit.

    Args:
        description: The command, as named in error messages.
        command: The program and its arguments.
        folder: Working directory.
        environment: Environment variables.

    Returns:
        The wall-clock time at the start and at the exit, in seconds since the epoch, and the output on stdout.

    Raises:
        TrainingError: If the command fails. The message contains the end of its stderr.
    """
    started = time.time()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate()
        ended = time.time()
    finally:
        end_process_group(process)
    if process.returncode:
        raise child_process_error(description, process.returncode, errors)
    return started, ended, output

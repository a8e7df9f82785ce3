"""The part of the benchmark that measures whole runs: from the shell to the exit of the process, and stage by stage.

``trainyard train`` takes turns with ``plain_keras.py``, which computes the same and records nothing. A run's own
stages are read from its metrics; what lies before and after them is the difference to what the shell sees.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.performance.measure_epochs import Setting
from experiments.performance.training_processes import child_environment, end_process, failed_child
from trainyard.system.uris import sqlite_uri
from trainyard.tracking.connection import connect

PLAIN, FIRST, FRESH, EXISTING, UNTRACKED = (
    "plain script", "trainyard, first run ever", "trainyard, new store", "trainyard, store exists", "tracking=off",
)  # fmt: skip
RUNS = (PLAIN, FIRST, FRESH, EXISTING, UNTRACKED)
"""What is run in each round, in this order. The first run finds neither a store nor anything in a cache."""

SCRIPT = Path(__file__).with_name("plain_keras.py")


def measure_run(setting: Setting) -> dict[str, Any]:
    """Measures rounds of a plain script and of our runs, each round in a folder and with a cache of its own."""
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as place:
        for number in range(1, setting.rounds + 1):
            folder = Path(place) / str(number)
            for name in ("cache", "first", "second"):
                (folder / name).mkdir(parents=True)
            measured: dict[str, Any] = {}
            for name in RUNS:
                setting.progress.step(number, setting.rounds, len(measured), len(RUNS))
                measured[name] = _run_plain(setting, folder) if name == PLAIN else _run_ours(setting, folder, name)
                setting.progress.detail(f"round {number}: {name} {measured[name]['wall_seconds']:.1f} s")
            rounds.append(measured)
    return {"epochs": _epochs(setting), "rounds": rounds}


def _epochs(setting: Setting) -> int:
    return 2 if setting.quick else 10


def _run_plain(setting: Setting, folder: Path) -> dict[str, Any]:
    """Runs the plain script, which prints its own stages."""
    command = [sys.executable, "-P", str(SCRIPT), str(setting.folder), str(_epochs(setting)), "0"]
    environment = child_environment(setting.threads_asked, folder / "cache")
    began, ended, output = time_command("the plain script", command, folder, environment)
    told = json.loads(output.splitlines()[-1])
    stages = {"before": told["started"] - began, **told["stages"], "after": ended - told["ended"]}
    return {"wall_seconds": ended - began, "stages": stages, "test_accuracy": told["test_accuracy"]}


def _run_ours(setting: Setting, folder: Path, name: str) -> dict[str, Any]:
    """Runs ``trainyard train experiment=mnist_baseline``: the first one in a folder, the others in another."""
    data = ["dataset=digits", f"training.epochs={_epochs(setting)}"] if setting.quick else []
    overrides = [
        "experiment=mnist_baseline",
        *(data or [f"dataset.path='{setting.folder}'"]),
        *([f"training.threads={setting.threads_asked}"] if setting.threads_asked else []),
        *(["tracking=off"] if name == UNTRACKED else []),
    ]
    command = [*console_command(), "train", *overrides]
    place = folder / ("first" if name == FIRST else "second")
    environment = child_environment(setting.threads_asked, folder / "cache")
    began, ended, _ = time_command(f"the run ({name})", command, place, environment)
    measured: dict[str, Any] = {"wall_seconds": ended - began}
    if name != UNTRACKED:
        measured |= _read_stages(place, began, ended)
    return measured


def _read_stages(folder: Path, began: float, ended: float) -> dict[str, Any]:
    """Reads the stages of the run that is the latest in the folder's store, and its accuracy.

    The run logs its total at the moment that it has measured it, so from that metric's time and value it is known when
    its clock started; that is what splits the rest of the wall time into before and after.
    """
    client = connect(sqlite_uri(folder / "mlflow.db"))
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
        "before": logged - total - began,
        "open": total - sum(times.values()),
        **times,
        "after": ended - logged,
    }
    return {"stages": stages, "test_accuracy": run.data.metrics["accuracy/test"]}


def console_command() -> list[str]:
    """Returns what a user types: the console script beside this Python, where it is there."""
    script = Path(sys.executable).with_name("trainyard")
    return [str(script)] if script.exists() else [sys.executable, "-c", "from trainyard.cli import main; main()"]


def time_command(what: str, command: list[str], folder: Path, environment: dict[str, str]) -> tuple[float, float, str]:
    """Runs a command to its end; returns the wall-clock time before and after, and what it printed.

    Raises:
        TrainingError: If it fails; says what it wrote to stderr.
    """
    began = time.time()
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
        end_process(process)
    if process.returncode:
        raise failed_child(what, process.returncode, errors)
    return began, ended, output

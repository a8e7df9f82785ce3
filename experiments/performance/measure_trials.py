"""Measures a sweep of small trials: its total time, CPU time and disk space, and the CPU time of each stage of a trial.

The training of a trial takes a fifth of a second, so almost all of the time is overhead. If the folder of another
checkout of Trainyard is given, both are measured alternately.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from experiments.performance.measure_epochs import BenchmarkSettings
from experiments.performance.measure_sweep import LEARNING_RATES
from experiments.performance.stage_cpu import VARIABLE
from experiments.performance.training_processes import ROOT, build_child_environment, child_process_error
from trainyard.config import PLUGIN_VARIABLE
from trainyard.errors import ConfigError

THIS, BASE = "this version", "base"

_PROGRAM = "from trainyard.cli import main; main()"


def measure_trials(settings: BenchmarkSettings) -> dict[str, Any]:
    """Measures rounds of the sweep, with this version and, if `settings.base` is set, with that checkout."""
    if sys.platform != "linux":
        raise ConfigError("experiments.performance trials: expected Linux, which measures the CPU time of all trials")
    rates = LEARNING_RATES[:2] if settings.quick else LEARNING_RATES
    checkouts = {THIS: ROOT, **({BASE: settings.base.absolute()} if settings.base else {})}
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as temporary_folder:
        for number in range(1, settings.rounds + 1):
            measured: dict[str, Any] = {}
            for name, checkout in checkouts.items():
                settings.progress.step(number, settings.rounds, len(measured), len(checkouts))
                folder = Path(temporary_folder) / f"{number}-{len(measured)}"  # no space: XLA's cache can't be in one
                folder.mkdir()
                measured[name] = _run_sweep(settings, checkout, folder, ",".join(rates))
                settings.progress.detail(f"round {number}: {name} {measured[name]['wall_seconds']:.1f} s")
            rounds.append(measured)
    return {"trials": len(rates), "rounds": rounds}


def _run_sweep(settings: BenchmarkSettings, checkout: Path, folder: Path, rates: str) -> dict[str, Any]:
    """Runs the sweep with the code of a checkout, in a new folder with an empty cache."""
    overrides = [
        "experiment=quickstart",
        "dataset.validation_fraction=0.2",
        "training.epochs=5",
        "model.hidden_units=[16]",
        f"optimizer.learning_rate={rates}",
        "sweep.name=bench",
    ]
    stages_file = folder / "stages"
    environment = build_child_environment(settings.requested_threads, folder / "cache") | {
        "PYTHONPATH": os.pathsep.join([str(checkout / "src"), str(ROOT)]),
        PLUGIN_VARIABLE: "experiments.performance.stage_cpu",
        VARIABLE: str(stages_file),
    }
    times = folder / "times.json"
    done = subprocess.run(
        [sys.executable, "-m", "experiments.performance.process_tree", str(times),
         sys.executable, "-c", _PROGRAM, "sweep", *overrides],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise child_process_error(f"the sweep in {checkout.name}", done.returncode, done.stderr)
    return {
        **json.loads(times.read_text()),
        "sweep_bytes": _measure_size(folder / "sweeps"),
        "store_bytes": _measure_size(folder / "mlartifacts") + _measure_size(folder / "mlflow.db"),
        "stages": _read_stages(stages_file),
    }


def _measure_size(path: Path) -> int:
    """Returns the size of a file, or of all files in a folder. A file with several hard links counts once."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum({(stat := file.stat()).st_ino: stat.st_size for file in files}.values())


def _read_stages(file: Path) -> dict[str, list[float]]:
    """Reads the CPU seconds of each stage, one number per trial."""
    stages: dict[str, list[float]] = defaultdict(list)
    for line in file.read_text().splitlines():
        name, seconds = line.split()
        stages[name].append(float(seconds))
    return dict(stages)

"""Measures whether the compiled engine trains as accurately as `fit`: test accuracies of both over several seeds.

The engines add the same numbers in a different order, so their models and accuracies differ slightly for each seed.
The comparison is therefore an equivalence test: the engines are equivalent if the 90 % confidence interval of the
difference of their mean accuracies lies entirely within a margin (two one-sided t-tests at 5 %; Schuirmann, 1987).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.performance.measure_epochs import BenchmarkSettings
from experiments.performance.training_processes import build_child_environment
from trainyard.errors import TrainingError

SEEDS = range(100, 112)
ENGINES = ("compiled", "fit")


def measure_seeds(settings: BenchmarkSettings) -> dict[str, Any]:
    """Trains the published recipe with each engine and twelve seeds; both engines shuffle the images every epoch."""
    seeds, epochs = (SEEDS[:2], 1) if settings.quick else (SEEDS, 10)
    trials: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
    for seed in seeds:  # alternately, so that an interrupted measurement has printed complete pairs
        for engine in ENGINES:
            trials[engine] += _train(settings, engine, epochs, [seed])
        accuracies = ", ".join(f"{engine} {trials[engine][-1]['accuracy']:.4f}" for engine in ENGINES)
        settings.progress.detail(f"seed {seed}: {accuracies}")
    return {"epochs": epochs, "trials": trials}


def _train(settings: BenchmarkSettings, engine: str, epochs: int, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Trains with one engine and some seeds in a child process; returns its results.

    Raises:
        TrainingError: If the child process fails. The message contains the end of its stderr.
    """
    command = [
        sys.executable,
        "-m",
        "experiments.performance.accuracy_child",
        str(settings.folder),
        str(settings.threads),
        engine,
    ]
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as cache:
        process = subprocess.run(
            [*command, str(epochs), *map(str, seeds)],
            capture_output=True,
            text=True,
            check=False,
            env=build_child_environment(settings.threads, Path(cache)),
        )
    if process.returncode:
        raise TrainingError(
            f"the training with the {engine} engine and the seeds {list(seeds)} failed. The end of its stderr:\n"
            f"{process.stderr[-2000:]}"
        )
    return [json.loads(line) for line in process.stdout.splitlines()]

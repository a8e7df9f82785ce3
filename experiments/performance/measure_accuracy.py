"""Whether the compiled engine trains as well as `fit`: the test accuracies of many seeds, and what they prove.

Two engines that compute the same thing in another order of additions give other models, and no two of them the same
accuracy. What can be shown is that their means do not differ by more than a margin: an equivalence test, passed where
the whole 90 % confidence interval of the difference lies within it (two one-sided t-tests at 5 %; Schuirmann, 1987).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.performance.measure_epochs import Setting
from experiments.performance.training_processes import child_environment
from trainyard.errors import TrainingError

SEEDS = range(100, 112)
ENGINES = ("compiled", "fit")


def measure_seeds(setting: Setting) -> dict[str, Any]:
    """Trains the published recipe with twelve seeds through each engine; `fit` sees a fresh order each epoch too."""
    seeds, epochs = (SEEDS[:2], 1) if setting.quick else (SEEDS, 10)
    trials: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
    for seed in seeds:  # in turns, so that what is left of a measurement that was broken off is whole
        for engine in ENGINES:
            trials[engine] += _train(setting, engine, epochs, [seed])
        found = ", ".join(f"{engine} {trials[engine][-1]['accuracy']:.4f}" for engine in ENGINES)
        setting.progress.detail(f"seed {seed}: {found}")
    return {"epochs": epochs, "trials": trials}


def _train(setting: Setting, engine: str, epochs: int, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Trains seeds through an engine in a process of its own, which shows its last words if it fails."""
    command = [
        sys.executable,
        "-m",
        "experiments.performance.accuracy_child",
        str(setting.folder),
        str(setting.threads),
        engine,
    ]
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as cache:
        done = subprocess.run(
            [*command, str(epochs), *map(str, seeds)],
            capture_output=True,
            text=True,
            check=False,
            env=child_environment(setting.threads, Path(cache)),
        )
    if done.returncode:
        raise TrainingError(f"the {engine} engine failed on the seeds {list(seeds)}:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]

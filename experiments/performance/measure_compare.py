"""The part of the benchmark that compares many runs: ``trainyard compare`` on stores of a thousand and ten thousand.

The store is filled with runs that differ in width, learning rate and seed, and are otherwise as a real run left them:
all its params, tags, data sets and metrics, whose values are drawn a little below its own. The command takes turns with
``plain_search.py``, a script that has MLflow search the same runs and groups nothing.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments.performance.measure_epochs import Setting
from experiments.performance.measure_run import console_command, time_command
from experiments.performance.training_processes import child_environment
from trainyard.system.uris import sqlite_uri
from trainyard.tracking import RunRecord, load_run_record, operations
from trainyard.tracking.connection import open_store
from trainyard.tracking.journal import JOURNAL
from trainyard.tracking.operations import OpenRun

OURS, PLAIN = "trainyard compare", "mlflow.search_runs"
SIZES = (1_000, 10_000)
SEEDS = 5
"""Runs of each config."""

EXPERIMENT = "compared"
SCRIPT = Path(__file__).with_name("plain_search.py")
_QUICK_SIZES = (5, 10)
_FIRST_WIDTH = 8
_RATES = (0.0003, 0.001, 0.003)
_WORST = 0.95
"""What a value of a made-up run is at least, of that of the real run."""


def measure_compare(setting: Setting) -> dict[str, Any]:
    """Measures both at each size of one store, which grows."""
    sizes = _QUICK_SIZES if setting.quick else SIZES
    measured: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as place:
        folder = Path(place)
        environment = child_environment(setting.threads_asked, folder / "cache")
        account = _train_one(folder, environment)
        uri = sqlite_uri(folder / "mlflow.db")
        commands = {
            OURS: [*console_command(), "compare", "--experiment", EXPERIMENT, "--best", "3", "--by", "accuracy/test"],
            PLAIN: [sys.executable, "-P", str(SCRIPT), uri, EXPERIMENT],
        }
        filled = 0
        for size in sizes:
            _fill(setting, uri, account, range(filled, size))
            filled = size
            rounds: list[dict[str, float]] = []
            for number in range(setting.rounds):
                took: dict[str, float] = {}
                for name, command in commands.items():
                    setting.progress.step(number + 1, setting.rounds, len(took), len(commands))
                    began, ended, _ = time_command(name, command, folder, environment)
                    took[name] = ended - began
                    setting.progress.detail(f"{size:,} runs: {name} {took[name]:.1f} s")
                rounds.append(took)
            measured.append({"runs": size, "rounds": rounds})
    values = sum(len(metrics) for metrics, _, _ in account.metrics)
    return {"params": len(account.params), "metric_values": values, "seeds": SEEDS, "sizes": measured}


def _train_one(folder: Path, environment: dict[str, str]) -> RunRecord:
    """Trains the run that all others are made from, and returns what it told its store."""
    time_command("the run", [*console_command(), "train", "experiment=quickstart"], folder, environment)
    (journal,) = (folder / "outputs").rglob(JOURNAL)
    return load_run_record(journal.parent)


def _fill(setting: Setting, uri: str, account: RunRecord, numbers: range) -> None:
    """Adds runs to the store."""
    client, experiment = open_store(uri, EXPERIMENT, "")
    for done, number in enumerate(numbers):
        if done % 100 == 0:
            setting.progress.step(1, 1, done, len(numbers))
        point, seed = divmod(number, SEEDS)
        width, rate = _FIRST_WIDTH + point, _RATES[point % len(_RATES)]
        params = {**account.params, "model.hidden_units": [width], "optimizer.learning_rate": rate, "seed": seed}
        tags = {**account.tags, "config_hash": f"{point:064x}", "seed": str(seed)}
        begun = client.create_run(experiment, account.started, operations.truncate_tags(tags), f"{width} lr{rate}")
        run = OpenRun(client, uri, experiment, begun.info.run_id)
        operations.log_params(run, params)
        drawn = random.Random(number)  # noqa: S311 - nothing depends on it
        history = [
            ({name: value * drawn.uniform(_WORST, 1) for name, value in values.items()}, step, at)
            for values, step, at in account.metrics
        ]
        operations.log_history(run, history)
        operations.log_inputs(run, account.inputs)
        operations.end(run, "FINISHED", account.updated)

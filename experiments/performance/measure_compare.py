"""Measures ``trainyard compare`` on tracking stores with 1,000 and 10,000 runs.

The store contains copies of one real run. The copies have different widths, learning rates and seeds, and metric values
that are randomly reduced by up to 5 %; all other params, tags and data sets are those of the real run. The command is
measured alternately with ``plain_search.py``, which fetches the same runs with MLflow's search and does not group them.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments.performance.measure_epochs import BenchmarkSettings
from experiments.performance.measure_run import find_trainyard_command, time_command
from experiments.performance.training_processes import build_child_environment
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import OPERATION_LOG_FILE, LoggedOperations, TrackingStore, load_operations, operations
from trainyard.tracking.operations import OpenRun

TRAINYARD_COMPARE, MLFLOW_SEARCH = "trainyard compare", "mlflow.search_runs"
SIZES = (1_000, 10_000)
SEEDS = 5
"""Runs per config."""

EXPERIMENT = "compared"
SCRIPT = Path(__file__).with_name("plain_search.py")
_QUICK_SIZES = (5, 10)
_FIRST_WIDTH = 8
_LEARNING_RATES = (0.0003, 0.001, 0.003)
_MIN_FACTOR = 0.95
"""Smallest factor by which a metric value of the real run is multiplied; the largest is 1."""


def measure_compare(settings: BenchmarkSettings) -> dict[str, Any]:
    """Measures both commands on one store, after it is filled to each size."""
    sizes = _QUICK_SIZES if settings.quick else SIZES
    measured: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as temporary_folder:
        folder = Path(temporary_folder)
        environment = build_child_environment(settings.requested_threads, folder / "cache")
        record = _train_run(folder, environment)
        uri = build_sqlite_uri(folder / "mlflow.db")
        commands = {
            TRAINYARD_COMPARE: [
                *find_trainyard_command(),
                "compare",
                "--experiment",
                EXPERIMENT,
                "--best",
                "3",
                "--by",
                "accuracy/test",
            ],
            MLFLOW_SEARCH: [sys.executable, "-P", str(SCRIPT), uri, EXPERIMENT],
        }
        filled = 0
        for size in sizes:
            _add_runs(settings, uri, record, range(filled, size))
            filled = size
            rounds: list[dict[str, float]] = []
            for number in range(settings.rounds):
                seconds: dict[str, float] = {}
                for name, command in commands.items():
                    settings.progress.step(number + 1, settings.rounds, len(seconds), len(commands))
                    started, ended, _ = time_command(name, command, folder, environment)
                    seconds[name] = ended - started
                    settings.progress.detail(f"{size:,} runs: {name} {seconds[name]:.1f} s")
                rounds.append(seconds)
            measured.append({"runs": size, "rounds": rounds})
    metric_values = sum(len(metrics) for metrics, _, _ in record.metrics)
    return {"params": len(record.params), "metric_values": metric_values, "seeds": SEEDS, "sizes": measured}


def _train_run(folder: Path, environment: dict[str, str]) -> LoggedOperations:
    """Trains the run that is copied, and returns what it logged."""
    time_command("the training run", [*find_trainyard_command(), "train", "experiment=quickstart"], folder, environment)
    (journal,) = (folder / "outputs").rglob(OPERATION_LOG_FILE)
    return load_operations(journal.parent)


def _add_runs(settings: BenchmarkSettings, uri: str, record: LoggedOperations, numbers: range) -> None:
    """Adds copies of the run to the store, one per number."""
    store = TrackingStore(uri)
    experiment = store.open_experiment(EXPERIMENT, "")
    for position, number in enumerate(numbers):
        if position % 100 == 0:
            settings.progress.step(1, 1, position, len(numbers))
        point, seed = divmod(number, SEEDS)
        width, learning_rate = _FIRST_WIDTH + point, _LEARNING_RATES[point % len(_LEARNING_RATES)]
        params = {
            **record.params, "model.hidden_units": [width], "optimizer.learning_rate": learning_rate, "seed": seed,
        }  # fmt: skip
        tags = {**record.tags, "config_hash": f"{point:064x}", "seed": str(seed)}
        created = store.client.create_run(
            experiment, record.started, operations.truncate_tags(tags), f"{width} lr{learning_rate}"
        )
        run = OpenRun(store, experiment, created.info.run_id, created.info.run_name)
        operations.log_params(run, params)
        generator = random.Random(number)  # noqa: S311 - not used for security
        history = [
            ({name: value * generator.uniform(_MIN_FACTOR, 1) for name, value in values.items()}, step, timestamp)
            for values, step, timestamp in record.metrics
        ]
        operations.log_history(run, history)
        operations.log_inputs(run, record.inputs)
        operations.end(run, "FINISHED", record.updated)

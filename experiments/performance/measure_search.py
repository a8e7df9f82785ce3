"""Measures whether TPE with pruning finds better hyperparameters than random search in the same compute time.

Both search the space of ``conf/sweep/mnist_mlp.yaml`` with ``trainyard sweep``, alternately, with several seeds. TPE
uses the median pruner; random search does not prune. The compute time of a search is the total duration of its trials
in the sweep's ledger, including pruned trials. The result of a search is the trial with the best accuracy on the
validation images. Its accuracy on the test images is reported, but it does not influence the selection.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.performance.measure_epochs import BenchmarkSettings
from experiments.performance.measure_run import find_trainyard_command, time_command
from experiments.performance.training_processes import build_child_environment
from trainyard.sweep.folder import SWEEPS, SweepFolder
from trainyard.sweep.ledger import Ended

RANDOM, TPE = "random search", "TPE with pruning"

POINTS = {RANDOM: 40, TPE: 80}
"""Number of points of each search.

TPE prunes many trials, so it requires more points for the same compute time. Trials beyond the compute time of the
cheapest search are ignored. TPE draws its first ten points at random, so it requires far more than ten points to differ
from random search.
"""

_QUICK_POINTS = {RANDOM: 2, TPE: 3}
_OVERRIDES = {
    RANDOM: ("sweep.sampler=random", "sweep.pruner=off"),
    TPE: ("sweep.sampler=tpe", "sweep.pruner=median", "sweep.min_epochs=2"),
}
_SWEEP_NAME = "bench"
_ROUNDING_ERROR = 1e-6
"""Largest difference in seconds between two sums of the same durations, caused by rounding."""


class BestSoFar(NamedTuple):
    """The best trial of a search up to some time.

    Attributes:
        spent: Total duration in seconds of all trials that have ended.
        validation: Best accuracy on the validation images.
        test: Accuracy of the same trial on the test images.
    """

    spent: float
    validation: float
    test: float


def measure_search(settings: BenchmarkSettings) -> dict[str, Any]:
    """Measures both searches alternately, one seed per round. The seed sets the points, split, weights and batches."""
    epochs = 3 if settings.quick else 6
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as temporary_folder:
        for seed in range(1, settings.rounds + 1):
            measured: dict[str, Any] = {}
            for name in POINTS:
                settings.progress.step(seed, settings.rounds, len(measured), len(POINTS))
                measured[name] = _run_search(
                    settings, Path(temporary_folder) / f"{seed}_{len(measured)}", name, seed, epochs
                )
                best = compute_best_so_far(measured[name]["trials"])[-1]
                settings.progress.detail(
                    f"seed {seed}: {name} validation accuracy {best.validation:.4f}, "
                    f"{measured[name]['wall_seconds']:.0f} s"
                )
            rounds.append(measured)
    return {"epochs": epochs, "rounds": rounds}


def compute_best_so_far(trials: Sequence[dict[str, Any]], budget: float | None = None) -> list[BestSoFar]:
    """Returns the best trial so far after each trial that was not pruned, in the order in which the trials ended.

    Args:
        trials: The trials in the order in which they ended. Pruned trials have no accuracies.
        budget: Compute time in seconds at which the search stops; None for no limit.
    """
    history: list[BestSoFar] = []
    spent = 0.0
    for trial in trials:
        spent += trial["seconds"]
        if budget is not None and spent > budget + _ROUNDING_ERROR:
            break
        if trial["validation"] is not None:
            best = max(
                [BestSoFar(spent, trial["validation"], trial["test"]), *history[-1:]],
                key=lambda candidate: candidate.validation,
            )
            history.append(best._replace(spent=spent))
    return history


def compute_equal_budget(part: dict[str, Any]) -> float:
    """Returns the compute time of the cheapest search, in seconds."""
    spent = [
        sum(trial["seconds"] for trial in search["trials"])
        for searches in part["rounds"]
        for search in searches.values()
    ]
    return float(min(spent))


def _run_search(settings: BenchmarkSettings, folder: Path, name: str, seed: int, epochs: int) -> dict[str, Any]:
    """Runs a search in a new folder."""
    points = (_QUICK_POINTS if settings.quick else POINTS)[name]
    overrides = [
        "sweep=mnist_mlp",
        *(["dataset=digits"] if settings.quick else ["dataset=mnist", f"dataset.path='{settings.folder}'"]),
        f"training.epochs={epochs}",
        *_OVERRIDES[name],
        f"sweep.points={points}",
        f"sweep.sampler_seed={seed}",
        f"seed={seed}",
        f"sweep.name={_SWEEP_NAME}",
    ]
    folder.mkdir()
    environment = build_child_environment(settings.requested_threads, folder / "cache")
    started, ended, _ = time_command(
        f"the search ({name})", [*find_trainyard_command(), "sweep", *overrides], folder, environment
    )
    return {"wall_seconds": ended - started, "trials": _read_trials(SweepFolder(folder / SWEEPS / _SWEEP_NAME))}


def _read_trials(folder: SweepFolder) -> list[dict[str, Any]]:
    """Returns the trials of a search in the order in which they ended: duration, epochs and accuracies."""
    ledger = folder.ledger
    trials = []
    for number in (event.trial for event in ledger.events if isinstance(event, Ended)):
        record = ledger.get_trial_record(number)
        result, last_epoch = record.result, record.last_epoch
        trials.append(
            {
                "seconds": round(record.seconds, 2),
                "epochs": result.epochs if result else last_epoch.epoch if last_epoch else 0,
                "validation": result.objective if result else None,
                "test": result.metrics["accuracy/test"] if result else None,
            }
        )
    return trials

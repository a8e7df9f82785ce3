"""The part of the benchmark that asks whether a clever search finds more than a blind one in the same time.

TPE with the median pruner meets random search without pruning, over the space of ``conf/sweep/mnist_mlp.yaml``, each
as a user would start it, in turns, with several seeds. What a search has spent is the time of its trials, from the
ledger: those that were pruned count as well. What it has found is the trial that is best on the validation images; how
that does on the test images is looked at, and decides nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.performance.measure_epochs import Setting
from experiments.performance.measure_run import console_command, time_command
from experiments.performance.training_processes import child_environment
from trainyard.sweep.folder import SWEEPS, SweepFolder
from trainyard.sweep.ledger import Ended, Ledger

RANDOM, CLEVER = "random search", "TPE with pruning"

POINTS = {RANDOM: 40, CLEVER: 80}
"""The second prunes many of its trials, so that it takes more to spend as much; what is spent beyond does not count.

TPE draws its first ten points at random: far more have to follow for anything to be seen of it.
"""

_QUICK_POINTS = {RANDOM: 2, CLEVER: 3}
_CHOICES = {
    RANDOM: ("sweep.sampler=random", "sweep.pruner=off"),
    CLEVER: ("sweep.sampler=tpe", "sweep.pruner=median", "sweep.min_epochs=2"),
}
_NAME = "bench"
_ROUNDING = 1e-6
"""Seconds by which the same sum may differ when it is added up another way."""


class Found(NamedTuple):
    """What a search had found when it had spent so much.

    Attributes:
        spent: Seconds of all trials that had ended.
        validation: The best accuracy on the validation images up to then.
        test: That of the same trial on the test images.
    """

    spent: float
    validation: float
    test: float


def measure_search(setting: Setting) -> dict[str, Any]:
    """Measures searches of both kinds, in turns, a seed per round; it draws points, split, weights and batches."""
    epochs = 3 if setting.quick else 6
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as place:
        for seed in range(1, setting.rounds + 1):
            measured: dict[str, Any] = {}
            for name in POINTS:
                setting.progress.step(seed, setting.rounds, len(measured), len(POINTS))
                measured[name] = _search(setting, Path(place) / f"{seed}_{len(measured)}", name, seed, epochs)
                best = course(measured[name]["trials"])[-1]
                setting.progress.detail(
                    f"seed {seed}: {name} {best.validation:.4f} on validation, {measured[name]['wall_seconds']:.0f} s"
                )
            rounds.append(measured)
    return {"epochs": epochs, "rounds": rounds}


def course(trials: Sequence[dict[str, Any]], budget: float | None = None) -> list[Found]:
    """Returns what a search had found after each trial that came to its end, in their order.

    Args:
        trials: In the order that they ended; those that were pruned have no accuracies.
        budget: What it may spend, in seconds; None: as much as it did.
    """
    found: list[Found] = []
    spent = 0.0
    for trial in trials:
        spent += trial["seconds"]
        if budget is not None and spent > budget + _ROUNDING:
            break
        if trial["validation"] is not None:
            best = max([Found(spent, trial["validation"], trial["test"]), *found[-1:]], key=lambda one: one.validation)
            found.append(best._replace(spent=spent))
    return found


def equal_budget(part: dict[str, Any]) -> float:
    """Returns what every search spent at least, in seconds."""
    spent = [sum(trial["seconds"] for trial in one["trials"]) for found in part["rounds"] for one in found.values()]
    return float(min(spent))


def _search(setting: Setting, folder: Path, name: str, seed: int, epochs: int) -> dict[str, Any]:
    """Runs a search in a folder that is made for it."""
    points = (_QUICK_POINTS if setting.quick else POINTS)[name]
    overrides = [
        "sweep=mnist_mlp",
        *(["dataset=digits"] if setting.quick else ["dataset=mnist", f"dataset.path='{setting.folder}'"]),
        f"training.epochs={epochs}",
        *_CHOICES[name],
        f"sweep.points={points}",
        f"sweep.sampler_seed={seed}",
        f"seed={seed}",
        f"sweep.name={_NAME}",
    ]
    folder.mkdir()
    environment = child_environment(setting.threads_asked, folder / "cache")
    began, ended, _ = time_command(
        f"the search ({name})", [*console_command(), "sweep", *overrides], folder, environment
    )
    return {"wall_seconds": ended - began, "trials": _read_trials(SweepFolder(folder / SWEEPS / _NAME))}


def _read_trials(folder: SweepFolder) -> list[dict[str, Any]]:
    """Returns the trials of a search in the order that they ended, with what each took and came to."""
    ledger = Ledger(folder.ledger)
    trials = []
    for number in (event.trial for event in ledger.events if isinstance(event, Ended)):
        account, last = ledger.trial_record(number), ledger.last_epoch(number)
        result = account.result
        trials.append(
            {
                "seconds": round(account.seconds, 2),
                "epochs": result.epochs if result else last.epoch if last else 0,
                "validation": result.objective if result else None,
                "test": result.metrics["accuracy/test"] if result else None,
            }
        )
    return trials

"""What the runs of an experiment gave: ``results.json``, from which its page and pictures are made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainyard.analysis.claims.spec import SCORED, Claim, Scores, Target
from trainyard.errors import ConfigError
from trainyard.runs.artifacts import PER_CLASS_TABLE
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.ledger import Ledger
from trainyard.system.files import whole_file

FILE = "results.json"
FORMAT = 1
"""Raised when the file's shape changes; an older file is refused rather than misread."""

ACCURACY, LOSS = "accuracy/test", "loss/test"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """What one run came to.

    Attributes:
        seed: Of the run.
        accuracy: On the test images, 0 to 1.
        loss: On the test images.
        seconds: From the run's beginning to its end.
        run_id: MLflow's, or None where nothing is tracked.
        report: Precision, recall, f1 and support of each class, and their means, by row of the classification report;
            empty where nothing is claimed of them.
    """

    seed: int
    accuracy: float
    loss: float
    seconds: float
    run_id: str | None
    report: dict[str, Scores]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What was trained alike, with several seeds.

    Attributes:
        name: In tables and pictures.
        overrides: What it was trained with.
        parameters: The size of its model.
        epochs: How many were trained, at most.
        validation_fraction: Of the training images that were kept back; 0: none.
        runs: By seed, rising.
    """

    name: str
    overrides: tuple[str, ...]
    parameters: int
    epochs: int
    validation_fraction: float
    runs: tuple[SeedResult, ...]

    @property
    def accuracies(self) -> list[float]:
        """One per run."""
        return [run.accuracy for run in self.runs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All that the page of a record is made of.

    Attributes:
        aim: What the runs are held against.
        arms: The first is the one that the goal is for.
        about: Where it was measured; see `origin`.
        search: How the first arm's recipe was chosen, as `chosen.describe_search` tells; None: by no sweep.
    """

    aim: Target | Claim
    arms: tuple[Arm, ...]
    about: dict[str, Any]
    search: dict[str, Any] | None = None

    @property
    def ours(self) -> Arm:
        """The arm that the goal is for."""
        return self.arms[0]


def read_arm(name: str, overrides: tuple[str, ...], folder: SweepFolder, *, with_report: bool = False) -> Arm:
    """Returns what the trials of a finished sweep over seeds came to.

    Args:
        name: Of the arm.
        overrides: What it was trained with.
        folder: Of its sweep, in which all trials differ by their seed alone and are done.
        with_report: Whether each run's classification report is read from its folder.
    """
    ledger = Ledger(folder.ledger)
    trials = sorted(folder.read_trials(), key=lambda trial: trial.seed)
    results = [ledger.account(trial.number).result for trial in trials]
    runs = [
        SeedResult(
            seed=trial.seed,
            accuracy=result.metrics[ACCURACY],
            loss=result.metrics[LOSS],
            seconds=round(result.seconds, 2),
            run_id=result.run_id,
            report=_read_report(Path(result.folder)) if with_report else {},
        )
        for trial, result in zip(trials, results, strict=True)
        if result
    ]
    first = next(result for result in results if result)
    return Arm(
        name=name,
        overrides=overrides,
        parameters=first.parameters,
        epochs=max(result.epochs for result in results if result),
        validation_fraction=trials[0].config["dataset"]["validation_fraction"],
        runs=tuple(runs),
    )


def _read_report(folder: Path) -> dict[str, Scores]:
    """Returns the classification report of a run, unrounded, from its folder: its classes, and the means over them."""
    table = json.loads((folder / PER_CLASS_TABLE).read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    report = {row["class"]: Scores(*(row[name] for name in (*SCORED, "support"))) for row in rows}
    scores = np.array([[row[name] for name in SCORED] for row in rows])
    support = np.array([row["support"] for row in rows])
    for name, weights in (("macro avg", None), ("weighted avg", support)):
        precision, recall, f1 = (float(mean) for mean in np.average(scores, axis=0, weights=weights))
        report[name] = Scores(precision, recall, f1, int(support.sum()))
    return report


def save_results(folder: Path, results: Results) -> None:
    """Writes the results into a folder that is there, whole or not at all."""
    content = {
        "format": FORMAT,
        "claim" if isinstance(results.aim, Claim) else "target": results.aim.model_dump(mode="json", exclude_none=True),
        "about": results.about,
        "search": results.search,
        "arms": [asdict(arm) for arm in results.arms],
    }
    with whole_file(folder / FILE) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def load_results(folder: Path) -> Results:
    """Reads the results of an experiment.

    Raises:
        ConfigError: If they are not there, or are something else's.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise ConfigError(f"{path}: expected format {FORMAT}, found {content['format']}. Make the record again")
        is_claim = "claim" in content
        return Results(
            aim=Claim.model_validate(content["claim"]) if is_claim else Target.model_validate(content["target"]),
            arms=tuple(_to_arm(arm) for arm in content["arms"]),
            about=content["about"],
            search=content["search"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: expected the results of a record; it can't be read: {error!r}") from error


def _to_arm(content: dict[str, Any]) -> Arm:
    runs = tuple(
        SeedResult(**{**run, "report": {row: Scores(*scores) for row, scores in run["report"].items()}})
        for run in content["runs"]
    )
    return Arm(**{**content, "overrides": tuple(content["overrides"]), "runs": runs})

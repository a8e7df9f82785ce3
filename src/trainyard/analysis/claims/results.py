"""The results of an experiment: ``results.json``, from which the page and the plots of a record are generated."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from trainyard.analysis.claims.spec import SCORE_NAMES, Claim, Scores, Target, changes_recipe
from trainyard.errors import ConfigError
from trainyard.evaluation import Trial, TrialResult
from trainyard.reporting import format_count
from trainyard.sweep import SweepFolder
from trainyard.system import atomic_write
from trainyard.tracking import load_run_record, names

RESULTS_FILE = "results.json"
FORMAT_VERSION = 2
"""Increase this number when the structure of the file changes; files of another version are rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """The result of one run. The run ID is None if tracking is off.

    `report` has the scores by row of the classification report: each class, and the averages over the classes. It is
    empty for targets.
    """

    seed: int
    accuracy: float
    loss: float
    seconds: float
    run_id: str | None
    report: dict[str, Scores]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """The results of one recipe, trained with several seeds.

    Attributes:
        images: Number of test images.
        epochs: Number of epochs of the longest run.
        validation_fraction: Fraction of the training images held out for validation; 0 if none were held out.
        runs: One result per seed, by ascending seed.
        dataset: Name of the data set; empty in results without it.
        train_images: Number of images on which the model is trained; None in results without it.
    """

    name: str
    overrides: tuple[str, ...]
    parameters: int
    images: int
    epochs: int
    validation_fraction: float
    runs: tuple[SeedResult, ...]
    dataset: str = ""
    train_images: int | None = None

    @property
    def accuracies(self) -> list[float]:
        """The test accuracies, one per run."""
        return [run.accuracy for run in self.runs]

    def describe_data(self) -> str:
        """Returns on which images the model is trained: ``trained on 60,000 images of mnist``."""
        if self.train_images is not None:
            held_out = f" ({100 * self.validation_fraction:g} % are held out)" if self.validation_fraction else ""
            return f"trained on {format_count(self.train_images, 'image')} of {self.dataset}{held_out}"
        if self.validation_fraction:
            return f"{100 * self.validation_fraction:g} % of the training images held out"
        return "trained on all training images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that the page of a record is generated from.

    Attributes:
        arms: The results of each arm. The target or the claim applies to the first one.
        about: Provenance of the runs, as returned by `collect_runs_provenance`.
        search: The sweep that chose the first arm's recipe, as returned by `describe_search`; None without a sweep.
    """

    spec: Target | Claim
    arms: tuple[Arm, ...]
    about: dict[str, Any]
    search: dict[str, Any] | None = None

    @property
    def main_arm(self) -> Arm:
        """The arm that the target or the claim applies to."""
        return self.arms[0]

    @property
    def changes(self) -> list[str]:
        """The overrides that change the recipe of the experiment."""
        recipe = self.spec.arms[self.main_arm.name]
        return [override for override in self.main_arm.overrides if override not in recipe and changes_recipe(override)]


def to_percent(fraction: float) -> str:
    """Returns a fraction, or a difference of two, in percent with three decimals, without a percent sign."""
    return f"{100 * fraction:.3f}"


def load_arm(name: str, overrides: tuple[str, ...], folder: SweepFolder, *, with_report: bool = False) -> Arm:
    """Loads the results of an arm from a finished sweep, whose trials differ only in their seed.

    With `with_report`, the classification report of each run is loaded from its folder.
    """
    trials, results = zip(*list_results(folder), strict=True)
    runs = [
        SeedResult(
            seed=trial.seed,
            accuracy=result.metrics["accuracy/test"],
            loss=result.metrics["loss/test"],
            seconds=round(result.seconds, 2),
            run_id=result.run_id,
            report=_load_report(Path(result.folder)) if with_report else {},
        )
        for trial, result in zip(trials, results, strict=True)
    ]
    train = next(split for split in load_run_record(Path(results[0].folder)).inputs if split.context == "train")
    return Arm(
        name=name,
        overrides=overrides,
        parameters=results[0].parameters,
        images=sum(row["support"] for row in _load_class_rows(Path(results[0].folder))),
        epochs=max(result.epochs for result in results),
        validation_fraction=trials[0].config["dataset"]["validation_fraction"],
        runs=tuple(runs),
        dataset=train.name,
        train_images=train.images,
    )


def list_results(folder: SweepFolder) -> list[tuple[Trial, TrialResult]]:
    """Returns the trials of a finished sweep with their results, by seed."""
    trials = sorted(folder.read_trials(), key=lambda trial: trial.seed)
    return [(trial, result) for trial in trials if (result := folder.ledger.get_trial_record(trial.number).result)]


def _load_report(folder: Path) -> dict[str, Scores]:
    """Returns the unrounded classification report of a run: one row per class, and the macro and weighted averages."""
    rows = _load_class_rows(folder)
    report = {row["class"]: Scores(*(row[name] for name in (*SCORE_NAMES, "support"))) for row in rows}
    scores = np.array([[row[name] for name in SCORE_NAMES] for row in rows])
    support = np.array([row["support"] for row in rows])
    for name, weights in (("macro avg", None), ("weighted avg", support)):
        precision, recall, f1 = (float(mean) for mean in np.average(scores, axis=0, weights=weights))
        report[name] = Scores(precision, recall, f1, int(support.sum()))
    return report


def _load_class_rows(folder: Path) -> list[dict[str, Any]]:
    """Returns the scores and the number of test images of each class of a run, by column."""
    table = json.loads((folder / names.PER_CLASS_TABLE).read_text())
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def write_results(folder: Path, results: Results) -> None:
    """Writes the results atomically into an existing folder."""
    kind = "claim" if isinstance(results.spec, Claim) else "target"
    content = {
        "format": FORMAT_VERSION,
        kind: results.spec.model_dump(mode="json", exclude_none=True),
        "about": results.about,
        "search": results.search,
        "arms": [asdict(arm) for arm in results.arms],
    }
    with atomic_write(folder / RESULTS_FILE) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def load_results(folder: Path) -> Results:
    """Loads the results of an experiment from its folder.

    Raises:
        ConfigError: If the file does not exist, or is not a results file of this format version.
    """
    path = folder / RESULTS_FILE
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT_VERSION:
            raise ConfigError(
                f"{path}: expected format version {FORMAT_VERSION}, got {content['format']}. Create the record again: "
                "trainyard reproduce NAME --record"
            )
        is_claim = "claim" in content
        return Results(
            spec=Claim.model_validate(content["claim"]) if is_claim else Target.model_validate(content["target"]),
            arms=TypeAdapter(tuple[Arm, ...]).validate_python(content["arms"]),
            about=content["about"],
            search=content["search"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: expected the results of an experiment; cannot read the file: {error!r}") from error

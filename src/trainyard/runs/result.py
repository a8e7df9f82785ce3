"""What a run comes to."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from trainyard.config.schema import RunConfig
from trainyard.data.dataset import Dataset
from trainyard.evaluation.scoring import EvalResult
from trainyard.training.best_model import BestModel
from trainyard.training.trainer import TrainResult

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was run and what came out.

    Attributes:
        config: What was run.
        dataset: The images as they were used.
        model: The trained Keras model; takes images scaled to 0..1.
        training: The history.
        evaluation: Predictions and scores on the test images.
        machine: What it ran on, from `provenance.describe_machine`.
        best_model: Which epoch's model was kept beside the last one's; None: none was.
    """

    config: RunConfig = field(repr=False)
    dataset: Dataset = field(repr=False)
    model: keras.Model = field(repr=False)
    training: TrainResult = field(repr=False)
    evaluation: EvalResult = field(repr=False)
    machine: dict[str, Any] = field(repr=False)
    best_model: BestModel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult(Outcome):
    """An outcome, and where it was put.

    Attributes:
        name: The run's name.
        folder: Where all its files are.
        run_id: MLflow's id of the run, or None where it was not tracked.
        experiment_id: MLflow's id of the experiment, or None.
        tracking_uri: The store that the run was logged to, or None.
        timings: Seconds by stage, and in all (``total``).
        findings: What ``debug`` has to tell, in lines; empty where it has nothing.
    """

    name: str
    folder: Path
    run_id: str | None
    experiment_id: str | None
    tracking_uri: str | None
    timings: dict[str, float]
    findings: str

    @classmethod
    def of(cls, outcome: Outcome, **place: Any) -> Self:  # noqa: ANN401 - its own fields
        """Returns an outcome with where it was put."""
        return cls(**{spec.name: getattr(outcome, spec.name) for spec in fields(outcome)}, **place)

"""The result of a run: the trained model, its metrics, and where its files are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.config import RunConfig
from trainyard.data import Dataset
from trainyard.evaluation import EvalResult
from trainyard.reporting import format_metric, render_html_table
from trainyard.training import BestModel, TrainResult

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The result of a run: the trained model, its metrics, and where they were written and logged.

    Attributes:
        dataset: The images that were used, after `dataset.limit`, the validation split and `debug`.
        model: The trained Keras model. Its input is what `dataset.spec.scale` returns, in 0..1 unless standardised.
        training: The history, the engine and the timings of the training.
        evaluation: The predictions and metrics on the test images.
        machine: Processor, memory and versions.
        best_model: Which epoch's model was saved in addition to the last. None if `training.keep_best` is null.
        folder: The folder with all files of the run.
        tracking_uri: The tracking URI to which the run was logged. None if tracking is off, as are MLflow's ids.
        timings: Seconds per stage, and the seconds of the whole run as ``total``.
        findings: The conclusion of the ``debug`` mode, as lines of text. Empty if there is none.
    """

    config: RunConfig = field(repr=False)
    dataset: Dataset = field(repr=False)
    model: keras.Model = field(repr=False)
    training: TrainResult = field(repr=False)
    evaluation: EvalResult = field(repr=False)
    machine: dict[str, Any] = field(repr=False)
    best_model: BestModel | None
    name: str
    folder: Path
    tracking_uri: str | None
    run_id: str | None = None
    experiment_id: str | None = None
    timings: dict[str, float] = field(default_factory=dict)
    findings: str = ""

    @property
    def history(self) -> list[dict[str, float]]:
        """The metrics of each epoch: one mapping per epoch from logged names to values."""
        return self.training.history

    def _repr_html_(self) -> str:
        """Returns the main results as a table for a notebook."""
        rows = {
            "test accuracy": f"{self.evaluation.accuracy:.4f} ({len(self.evaluation.actual):,} images)",
            "test loss": f"{self.evaluation.loss:.4f}",
            **{name: format_metric(name, value) for name, value in self.evaluation.extra_metrics.items()},
            "epochs": str(len(self.history)),
            "parameters": f"{self.model.count_params():,}",
            "seconds": f"{self.timings['total']:.1f}",
            "run": f"{self.name}, {self.run_id or 'not tracked'}",
            "folder": str(self.folder),
        }
        return render_html_table([self.config.name, self.config.model.label], list(rows.items()))

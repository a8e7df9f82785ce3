"""Trials and their results: what rankings compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One point of a sweep with one seed. A trial becomes one run.

    Attributes:
        number: Number of the trial, counted from 1 in plan order.
        point: Number of the point, counted from 1. Trials that differ only in the seed share it.
        label: Short name that distinguishes the trial from all other trials: ``lr0.003 512x256``.
        varied: Values of the swept settings: ``{"optimizer.learning_rate": 0.003, "model": "mlp"}``.
        config: Resolved config, as plain dicts, lists and scalars.
        parameters: Number of model parameters, or None if it cannot be computed before the model is built.
    """

    number: int
    point: int
    label: str
    varied: Mapping[str, Any]
    seed: int
    overrides: tuple[str, ...]
    config: Mapping[str, Any] = field(repr=False)
    parameters: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """The result of a finished trial.

    Attributes:
        objective: Value of the objective for the trial's final model, or None if the sweep compares nothing.
        metrics: Metrics by logged name: those of the epoch whose weights the model has, and the test metrics.
        history: Metrics of each epoch, in order. Empty if no learning curve is drawn.
        run_id: MLflow run ID, or None if tracking is off.
    """

    objective: float | None
    metrics: Mapping[str, float]
    epochs: int
    history: tuple[Mapping[str, float], ...]
    seconds: float
    run_id: str | None
    folder: str
    parameters: int

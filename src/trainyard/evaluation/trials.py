"""The words of a sweep: a trial, what it came to, and who is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One point of a sweep, with one seed: what will be one run.

    Attributes:
        number: From 1, in the order of the plan.
        point: From 1; trials that differ by their seed alone share it.
        label: What distinguishes it from the others, in a few characters: ``lr0.003 512x256``.
        varied: The swept settings with its values: ``{"optimizer.learning_rate": 0.003, "model": "mlp"}``.
        seed: Of its run.
        overrides: What it was composed with, as on the command line.
        config: Its resolved config, as plain dicts, lists and scalars.
        parameters: The size of its model, where arithmetic gives it; else None.
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
    """What a trial that came to its end came to.

    Attributes:
        objective: What the sweep compares, of the model that the trial ended with; None where it compares nothing.
        metrics: Under the names they are logged by: those of the last epoch, and those of the test images.
        epochs: How many were trained.
        history: The metrics of each epoch, first to last; empty where nobody draws them.
        seconds: From its beginning to its end.
        run_id: MLflow's id of its run, or None where nothing is tracked.
        folder: Where its files are.
        parameters: The size of its model.
    """

    objective: float | None
    metrics: Mapping[str, float]
    epochs: int
    history: tuple[Mapping[str, float], ...]
    seconds: float
    run_id: str | None
    folder: str
    parameters: int


class SweepListener:
    """Listens to a sweep and keeps silent. A display derives from it and overrides what it shows."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def began(self, trial: Trial, attempt: int) -> None:
        """A trial begins, for the first time or again; attempts are counted from 1."""

    def epoch(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """A trial has done an epoch, counted from 1. The metrics carry their logged names."""

    def done(self, trial: Trial, result: TrialResult) -> None:
        """A trial came to its end."""

    def pruned(self, trial: Trial, reason: str) -> None:
        """A trial was ended before its time, as it was not worth going on with, for a reason in one line."""

    def failed(self, trial: Trial, reason: str, *, again: bool) -> None:
        """A trial failed, for a reason in one line; `again`: it will be tried again."""

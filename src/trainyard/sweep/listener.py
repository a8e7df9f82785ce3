"""The events of a sweep, and the interface of displays and trackers that follow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainyard.evaluation import Trial, TrialResult


@dataclass(frozen=True, slots=True)
class SweepCounts:
    """The numbers of trials that have ended, in all sessions of the sweep; failed ones only of this session.

    Attributes:
        best: The best value of the objective; None without an objective, or if no trial is done.
    """

    done: int
    failed: int
    pruned: int
    best: float | None


class SweepListener:
    """Receives the events of a sweep and ignores them. Subclasses override the methods they need."""

    def on_message(self, text: str) -> None:
        """Called with a message for the user, one line."""

    def on_trial_begin(self, trial: Trial, attempt: int) -> None:
        """Called when a trial starts. Attempts are counted from 1; a retry has a higher number."""

    def on_epoch_end(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Called after each epoch of a trial, counted from 1. The metrics have their logged names."""

    def on_trial_done(self, trial: Trial, result: TrialResult, counts: SweepCounts) -> None:
        """Called when a trial has finished successfully. The counts include it, here and in the following events."""

    def on_trial_pruned(self, trial: Trial, reason: str, counts: SweepCounts) -> None:
        """Called when a trial was pruned. The reason is one line."""

    def on_trial_failed(self, trial: Trial, reason: str, counts: SweepCounts, *, will_retry: bool) -> None:
        """Called when a trial has failed. The reason is one line; `will_retry` is True if the trial will be retried."""

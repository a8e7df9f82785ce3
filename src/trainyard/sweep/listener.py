"""The interface of displays and trackers that follow a sweep."""

from __future__ import annotations

from collections.abc import Mapping

from trainyard.evaluation import Trial, TrialResult


class SweepListener:
    """Receives the events of a sweep and ignores them. Subclasses override the methods they need."""

    def on_message(self, text: str) -> None:
        """Called with a message for the user, one line."""

    def on_trial_begin(self, trial: Trial, attempt: int) -> None:
        """Called when a trial starts. Attempts are counted from 1; a retry has a higher number."""

    def on_epoch_end(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Called after each epoch of a trial, counted from 1. The metrics have their logged names."""

    def on_trial_done(self, trial: Trial, result: TrialResult) -> None:
        """Called when a trial has finished successfully."""

    def on_trial_pruned(self, trial: Trial, reason: str) -> None:
        """Called when a trial was pruned. The reason is one line."""

    def on_trial_failed(self, trial: Trial, reason: str, *, will_retry: bool) -> None:
        """Called when a trial has failed. The reason is one line; `will_retry` is True if the trial will be retried."""

"""The events of a sweep, the interface of displays and trackers that follow it, and the display in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from trainyard.evaluation import Trial, TrialResult
from trainyard.system import is_notebook, open_progress_bar

if TYPE_CHECKING:
    from trainyard.sweep.recorder import TrialOutcomes


@dataclass(frozen=True, slots=True)
class SweepCounts:
    """The numbers of trials that have ended, in all sessions of the sweep; failed ones only of this session.

    `best` is the best mean of the objective over the seeds of a point; None without an objective, or if no point is
    done.
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


class SweepBar(SweepListener):
    """Shows the ended trials of a sweep as a progress bar in a notebook, and nothing elsewhere."""

    def __init__(
        self,
        trials: Sequence[Trial],
        objective: str | None,
        *,
        slots: int,  # noqa: ARG002 - the interface `run.OpenDisplay`
        outcomes: TrialOutcomes,
    ) -> None:
        """Prepares the bar of all trials, of which `slots` run in parallel, with the outcomes of earlier sessions."""
        self._objective = objective
        self._total = len(trials)
        self._best_title = "best complete point" if self._total > len({trial.point for trial in trials}) else "best"
        self._ended = len(outcomes.done) + len(outcomes.pruned)
        self._bar: Any = None

    def __enter__(self) -> Self:
        if is_notebook():
            self._bar = open_progress_bar(self._total, "trials")
            self._bar.update(self._ended)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def on_trial_done(self, *event: Any, **_: object) -> None:  # noqa: ANN401 - the arguments of three events
        """Shows the number of ended trials and the best value of the objective."""
        if self._bar is None:
            return
        counts: SweepCounts = event[2]
        title = f"{self._best_title} {self._objective}"
        best = {} if counts.best is None else {title: f"{counts.best:.4f}"}
        failed = {"failed": counts.failed} if counts.failed else {}
        self._bar.set_postfix({**best, **failed}, refresh=False)
        self._bar.update(counts.done + counts.failed + counts.pruned - self._bar.n)

    on_trial_pruned = on_trial_failed = on_trial_done

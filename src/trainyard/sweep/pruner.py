"""Pruning: stops weak trials early, with Optuna's pruners.

A pruner's decisions depend only on the sequence of reports that it receives. A resumed sweep therefore replays the
ledger and continues exactly where it stopped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trainyard.config import SweepConfig
from trainyard.evaluation import higher_is_better
from trainyard.sweep.ledger import Ended, EpochReport, Ledger
from trainyard.sweep.optuna_adapter import build_pruner, build_sampler, create_study, end_trial

if TYPE_CHECKING:
    import optuna

OFF = "off"


class TrialPruner:
    """Decides after each epoch whether a trial is pruned, with an in-memory Optuna study."""

    def __init__(self, policy: SweepConfig, epochs: int, ledger: Ledger) -> None:
        """Creates the pruner of a sweep and replays its ledger. A trial has at most `epochs` epochs."""
        self.objective = policy.objective
        self._name = policy.pruner
        self._study = create_study(
            maximize=higher_is_better(policy.objective),
            sampler=build_sampler("random", 0),
            pruner=build_pruner(policy.pruner, policy.min_epochs, epochs),
        )
        self._trials: dict[int, optuna.Trial] = {}
        self._last_decisions: dict[int, tuple[int, str]] = {}
        for event in ledger.events:
            if isinstance(event, EpochReport):
                self.report_epoch(event)
            elif isinstance(event, Ended):
                self.report_end(event.trial, ledger.get_objective_value(event.trial))

    def report_epoch(self, report: EpochReport) -> str:
        """Records the objective after an epoch. Returns the reason to prune the trial, or an empty string.

        NaN is not recorded, nor is an epoch that the trial reported before it was restarted. A trial is never pruned
        after its last epoch.
        """
        number, epoch, value = report.trial, report.epoch, report.value
        last_epoch, reason = self._last_decisions.get(number, (0, ""))
        if epoch <= last_epoch:  # the trial was restarted
            return reason if epoch == last_epoch else ""
        if math.isnan(value):
            return ""
        if number not in self._trials:
            self._trials[number] = self._study.ask()
        trial = self._trials[number]
        trial.report(value, epoch)
        message = f"after epoch {epoch}, with {self.objective} {value:.4f}, by sweep.pruner={self._name}"
        prune = trial.should_prune()  # called at the last epoch too, because pruners record that they were called
        reason = message if prune and epoch < report.epochs else ""
        self._last_decisions[number] = epoch, reason
        return reason

    def report_end(self, number: int, value: float | None) -> None:
        """Ends a trial in the study, so that a later start of the same trial is a new one.

        A value of None or NaN, of a pruned or failed trial, ends it as pruned. A trial that has reported no epoch since
        its start is not in the study, and is ignored.
        """
        self._last_decisions.pop(number, None)
        if trial := self._trials.pop(number, None):
            end_trial(self._study, trial, value, pruned=True)

"""Pruning: stops weak trials early, with Optuna's pruners.

A pruner's decisions depend only on the sequence of reports that it receives. A resumed sweep therefore replays the
ledger and continues exactly where it stopped.
"""

from __future__ import annotations

import math
from typing import Any

from trainyard.evaluation import higher_is_better
from trainyard.sweep.ledger import Ended, EpochReport, Ledger

OFF = "off"
PRUNERS = (OFF, "median", "halving", "hyperband")
"""Allowed values of `sweep.pruner`."""

_REDUCTION_FACTOR = 3
"""Halving and Hyperband keep one of this number of trials at each rung."""
_STARTUP_TRIALS = 4
"""The median pruner starts after this number of trials have finished."""


class TrialPruner:
    """Decides after each epoch whether a trial is pruned, with an in-memory Optuna study."""

    def __init__(self, name: str, objective: str, epochs: int, ledger: Ledger, min_epochs: int = 1) -> None:
        """Creates a pruner and replays the ledger of the sweep.

        Args:
            name: One of `PRUNERS`, except off.
            objective: Metric that is compared.
            epochs: Maximum number of epochs of a trial.
            ledger: Ledger of the sweep.
            min_epochs: Minimum number of epochs before a trial may be pruned.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.objective = objective
        self._name = name
        self._study = optuna.create_study(
            study_name="sweep",  # Hyperband assigns trials to its brackets by this name
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=_build_optuna_pruner(name, min_epochs, epochs),
            direction="maximize" if higher_is_better(objective) else "minimize",
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

        A trial that has reported no epoch since its start is not in the study, and is ignored.

        Args:
            number: Number of the trial.
            value: Final objective. None or NaN, if the trial was pruned or failed, ends it as pruned.
        """
        from optuna.trial import TrialState

        self._last_decisions.pop(number, None)
        if trial := self._trials.pop(number, None):
            if value is None or math.isnan(value):
                self._study.tell(trial, state=TrialState.PRUNED)
            else:
                self._study.tell(trial, value)


def _build_optuna_pruner(name: str, min_epochs: int, max_epochs: int) -> Any:  # noqa: ANN401 - an Optuna type
    """Returns the Optuna pruner for a name in `PRUNERS`, except off."""
    from optuna import pruners

    match name:
        case "median":
            return pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=min_epochs)
        case "halving":
            return pruners.SuccessiveHalvingPruner(min_resource=min_epochs, reduction_factor=_REDUCTION_FACTOR)
        case "hyperband":
            return pruners.HyperbandPruner(
                min_resource=min_epochs, max_resource=max_epochs, reduction_factor=_REDUCTION_FACTOR
            )
        case _:
            raise ValueError(f"expected one of {PRUNERS[1:]}, got {name!r}")

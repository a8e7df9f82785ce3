"""Which trials are not worth going on with: Optuna's pruners, told of each epoch.

What a pruner knows is a function of what it was told, in that order; one that is told again what stands in a ledger
goes on as if nothing had been.
"""

from __future__ import annotations

import math
from typing import Any

from trainyard.evaluation.ranking import higher_is_better
from trainyard.sweep.ledger import Epoch, Ledger

OFF = "off"
PRUNERS = (OFF, "median", "halving", "hyperband")
"""What `sweep.pruner` may be."""

_REDUCTION = 3
"""Halving and Hyperband leave one of so many trials at each rung."""
_STARTUP_TRIALS = 4
"""So many trials come to their end before the median of them is held against others."""


class Pruning:
    """An Optuna study in memory, of the trials of a sweep as they go on."""

    def __init__(self, name: str, objective: str, epochs: int, ledger: Ledger, min_epochs: int = 1) -> None:
        """Takes in what is known of an earlier start.

        Args:
            name: One of `PRUNERS`, but not off.
            objective: What is compared.
            epochs: The most that a trial trains.
            ledger: Of the sweep.
            min_epochs: What each trial is given.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.objective = objective
        self._name = name
        self._study = optuna.create_study(
            study_name="sweep",  # by which Hyperband shares trials out among its brackets
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=_make(name, min_epochs, epochs),
            direction="maximize" if higher_is_better(objective) else "minimize",
        )
        self._trials: dict[int, optuna.Trial] = {}
        self._reached: dict[int, tuple[int, str]] = {}
        for event in ledger.sequence:
            if isinstance(event, Epoch):
                self.reached(event)
            elif isinstance(event, int):
                self.ended(event, ledger.objective_of(event))

    def reached(self, came: Epoch) -> str:
        """Takes in what a trial came to after an epoch; returns why it is to be ended, or nothing."""
        number, epoch, value = came.trial, came.epoch, came.value
        last, reason = self._reached.get(number, (0, ""))
        if epoch <= last:  # it had to begin again
            return reason if epoch == last else ""
        if math.isnan(value):
            return ""
        if number not in self._trials:
            self._trials[number] = self._study.ask()
        trial = self._trials[number]
        trial.report(value, epoch)
        told = f"after epoch {epoch}, with {self.objective} {value:.4f}, by sweep.pruner={self._name}"
        behind = trial.should_prune()  # asked for at the last epoch too, as pruners remember that they were
        reason = told if behind and epoch < came.epochs else ""
        self._reached[number] = epoch, reason
        return reason

    def ended(self, number: int, value: float | None) -> None:
        """Takes in that a trial came to its end: with a value; pruned or failed, without one. It may begin anew."""
        from optuna.trial import TrialState

        self._reached.pop(number, None)
        if trial := self._trials.pop(number, None):
            if value is None or math.isnan(value):
                self._study.tell(trial, state=TrialState.PRUNED)
            else:
                self._study.tell(trial, value)


def _make(name: str, least: int, most: int) -> Any:  # noqa: ANN401 - of Optuna's
    from optuna import pruners

    match name:
        case "median":
            return pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=least)
        case "halving":
            return pruners.SuccessiveHalvingPruner(min_resource=least, reduction_factor=_REDUCTION)
        case "hyperband":
            return pruners.HyperbandPruner(min_resource=least, max_resource=most, reduction_factor=_REDUCTION)
        case _:
            raise ValueError(f"expected one of {PRUNERS[1:]}, got {name!r}")

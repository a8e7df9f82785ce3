"""Tests of pruning: which trials are pruned, the reason, and the same decisions after a resume."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainyard.config import SweepConfig
from trainyard.errors import ConfigError
from trainyard.evaluation.trials import TrialResult
from trainyard.sweep.ledger import EpochReport, Ledger
from trainyard.sweep.plan import make_plan
from trainyard.sweep.pruner import TrialPruner

EPOCHS = 9


def curve(number):
    """Returns the objective of a trial after each epoch. Later trials are worse, except every fourth."""
    best = 0.9 - 0.01 * number if number % 4 else 0.95
    return [best * (1 - 0.5**epoch) for epoch in range(1, EPOCHS + 1)]


def run_trials(ledger, name, numbers, min_epochs=1):
    """Runs trials one after the other. Returns the last epoch of each pruned trial."""
    pruning = TrialPruner(SweepConfig(pruner=name, min_epochs=min_epochs), EPOCHS, ledger)
    pruned = {}
    for number in numbers:
        ledger.record_start(number, f"trials/{number}")
        for epoch, value in enumerate(curve(number), start=1):
            report = EpochReport(number, epoch, EPOCHS, value)
            ledger.record_epoch(report)
            if reason := pruning.report_epoch(report):
                ledger.record_pruned(number, reason)
                pruning.report_end(number, None)
                pruned[number] = epoch
                break
        else:
            ledger.record_result(number, result(value))
            pruning.report_end(number, value)
    return pruned


def result(value):
    return TrialResult(
        objective=value, metrics={}, epochs=EPOCHS, history=(), seconds=1.0, run_id=None, folder="", parameters=1
    )


@pytest.fixture(scope="module", params=("median", "halving", "hyperband"))
def uninterrupted(request, tmp_path_factory):
    """A pruner, and the last epoch of each trial that it pruned of 20 trials."""
    ledger = Ledger(tmp_path_factory.mktemp("uninterrupted") / "ledger.jsonl")
    return request.param, run_trials(ledger, request.param, range(1, 21))


def test_weak_trials_are_pruned_and_the_best_are_not(uninterrupted):
    _, pruned = uninterrupted
    assert len(pruned) >= 5
    assert not {4, 8, 12, 16, 20} & pruned.keys()
    assert all(1 <= epoch < EPOCHS for epoch in pruned.values())


def test_pruner_makes_the_same_decisions_after_a_resume(uninterrupted):
    """The same trials are run in four sessions."""
    name, expected = uninterrupted
    pruned = {}
    for numbers in (range(1, 2), range(2, 7), range(7, 14), range(14, 21)):
        pruned |= run_trials(Ledger(Path("ledger.jsonl")), name, numbers)
    assert pruned == expected


def test_reason_names_the_epoch_and_the_pruner():
    ledger = Ledger(Path("ledger.jsonl"))
    run_trials(ledger, "median", range(1, 12))
    reasons = [
        ledger.get_trial_record(number).reason
        for number in range(1, 12)
        if ledger.get_trial_record(number).state == "pruned"
    ]
    assert reasons
    assert all(" by sweep.pruner=median" in reason and "with accuracy/val 0." in reason for reason in reasons)


def test_curves_of_pruned_trials_are_kept_in_the_ledger():
    ledger = Ledger(Path("ledger.jsonl"))
    pruned = run_trials(ledger, "median", range(1, 12))
    curves = Ledger(Path("ledger.jsonl")).get_epoch_values()
    assert {number: curves[number] for number in pruned} == {n: curve(n)[:epoch] for n, epoch in pruned.items()}


def warmed_up(objective="loss/val"):
    """Returns a pruner with five trials that had the value 0.1 after each epoch."""
    pruning = TrialPruner(SweepConfig(pruner="median", objective=objective), EPOCHS, Ledger(Path("ledger.jsonl")))
    for number in range(1, 6):
        for epoch in range(1, EPOCHS + 1):
            assert pruning.report_epoch(EpochReport(number, epoch, EPOCHS, 0.1)) == ""
        pruning.report_end(number, 0.1)
    return pruning


def test_restarted_trial_gets_the_same_decisions():
    pruning = warmed_up()
    assert pruning.report_epoch(EpochReport(6, 1, EPOCHS, 9.0)).startswith("after epoch 1, with loss/val")
    assert pruning.report_epoch(EpochReport(6, 1, EPOCHS, 9.0)).startswith("after epoch 1, with loss/val")
    assert pruning.report_epoch(EpochReport(6, 2, EPOCHS, 9.0)).startswith("after epoch 2, with loss/val")
    assert pruning.report_epoch(EpochReport(7, 1, EPOCHS, float("nan"))) == ""


def test_retried_trial_gets_new_decisions():
    pruning = warmed_up()
    assert pruning.report_epoch(EpochReport(6, 2, EPOCHS, 9.0))
    pruning.report_end(6, None)
    assert pruning.report_epoch(EpochReport(6, 1, EPOCHS, 9.0)).startswith("after epoch 1")


def test_trial_is_not_pruned_at_its_last_epoch():
    pruning = warmed_up()
    assert pruning.report_epoch(EpochReport(6, 3, 3, 9.0)) == ""
    assert pruning.report_epoch(EpochReport(7, 3, 4, 9.0))


def test_plan_uses_the_maximum_of_drawn_epochs():
    plan = make_plan(
        ["dataset.validation_fraction=0.2", "sweep.sampler=random", "training.epochs=int(interval(2, 50))"]
    )
    assert plan.epochs == 50


def test_pruning_requires_an_objective():
    with pytest.raises(ConfigError, match="sweep.pruner: median requires an objective, but sweep.objective is off"):
        make_plan(["sweep.pruner=median", "sweep.objective=off", "seed=1,2"])


def test_no_trial_is_pruned_before_min_epochs(uninterrupted):
    name, without_minimum = uninterrupted
    pruned = run_trials(Ledger(Path("ledger.jsonl")), name, range(1, 21), min_epochs=4)
    assert pruned
    assert min(pruned.values()) >= 4
    assert min(without_minimum.values()) < 4

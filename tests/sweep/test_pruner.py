"""Trials that are ended before their time: which, why, and that the same are after a stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainyard.errors import ConfigError
from trainyard.evaluation.trials import TrialResult
from trainyard.sweep.ledger import Epoch, Ledger
from trainyard.sweep.plan import make_plan
from trainyard.sweep.pruner import PRUNERS, Pruning

EPOCHS = 9


def curve(number):
    """What a trial comes to after each epoch: later trials are worse, but for every fourth."""
    best = 0.9 - 0.01 * number if number % 4 else 0.95
    return [best * (1 - 0.5**epoch) for epoch in range(1, EPOCHS + 1)]


def go(ledger, name, numbers, min_epochs=1):
    """Has trials run one after the other; returns the epochs after which those were pruned that were."""
    pruning = Pruning(name, "accuracy/val", EPOCHS, ledger, min_epochs)
    pruned = {}
    for number in numbers:
        ledger.began(number, f"trials/{number}")
        for epoch, value in enumerate(curve(number), start=1):
            came = Epoch(number, epoch, EPOCHS, value)
            ledger.reached(came)
            if reason := pruning.reached(came):
                ledger.pruned(number, reason)
                pruning.ended(number, None)
                pruned[number] = epoch
                break
        else:
            ledger.done(number, result(value))
            pruning.ended(number, value)
    return pruned


def result(value):
    return TrialResult(
        objective=value, metrics={}, epochs=EPOCHS, history=(), seconds=1.0, run_id=None, folder="", parameters=1
    )


@pytest.mark.parametrize("name", PRUNERS[1:])
def test_what_falls_behind_is_pruned_and_the_best_is_not(name):
    pruned = go(Ledger(Path("ledger.jsonl")), name, range(1, 21))
    assert len(pruned) >= 5
    assert not {4, 8, 12, 16, 20} & pruned.keys()
    assert all(1 <= epoch < EPOCHS for epoch in pruned.values())


@pytest.mark.parametrize("name", PRUNERS[1:])
@pytest.mark.parametrize("stop", [1, 6, 13])
def test_a_pruner_that_is_told_again_what_it_was_told_goes_on_as_before(name, stop):
    whole = go(Ledger(Path("whole.jsonl")), name, range(1, 21))
    before = go(Ledger(Path("ledger.jsonl")), name, range(1, stop + 1))
    after = go(Ledger(Path("ledger.jsonl")), name, range(stop + 1, 21))
    assert {**before, **after} == whole


def test_the_reason_says_when_and_by_what():
    ledger = Ledger(Path("ledger.jsonl"))
    go(ledger, "median", range(1, 12))
    reasons = [ledger.account(number).reason for number in range(1, 12) if ledger.account(number).state == "pruned"]
    assert reasons
    assert all(" by sweep.pruner=median" in reason and "with accuracy/val 0." in reason for reason in reasons)


def test_the_curves_of_those_that_were_pruned_are_kept():
    ledger = Ledger(Path("ledger.jsonl"))
    pruned = go(ledger, "median", range(1, 12))
    curves = Ledger(Path("ledger.jsonl")).reported()
    assert {number: curves[number] for number in pruned} == {n: curve(n)[:epoch] for n, epoch in pruned.items()}


def warmed_up(objective="loss/val"):
    """A pruner that knows five trials which came to 0.1 after each epoch."""
    pruning = Pruning("median", objective, EPOCHS, Ledger(Path("ledger.jsonl")))
    for number in range(1, 6):
        for epoch in range(1, EPOCHS + 1):
            assert pruning.reached(Epoch(number, epoch, EPOCHS, 0.1)) == ""
        pruning.ended(number, 0.1)
    return pruning


def test_a_trial_that_begins_again_is_judged_as_it_was():
    pruning = warmed_up()
    assert pruning.reached(Epoch(6, 1, EPOCHS, 9.0)).startswith("after epoch 1, with loss/val")
    assert pruning.reached(Epoch(6, 1, EPOCHS, 9.0)).startswith("after epoch 1, with loss/val")
    assert pruning.reached(Epoch(6, 2, EPOCHS, 9.0)).startswith("after epoch 2, with loss/val")
    assert pruning.reached(Epoch(7, 1, EPOCHS, float("nan"))) == ""


def test_a_trial_that_failed_is_judged_anew_when_it_is_tried_again():
    pruning = warmed_up()
    assert pruning.reached(Epoch(6, 2, EPOCHS, 9.0))
    pruning.ended(6, None)
    assert pruning.reached(Epoch(6, 1, EPOCHS, 9.0)).startswith("after epoch 1")


def test_a_trial_is_not_ended_at_its_own_last_epoch_whatever_others_have():
    pruning = warmed_up()
    assert pruning.reached(Epoch(6, 3, 3, 9.0)) == ""
    assert pruning.reached(Epoch(7, 3, 4, 9.0))


def test_of_epochs_that_are_drawn_the_most_is_what_a_trial_may_have():
    plan = make_plan(
        ["dataset.validation_fraction=0.2", "sweep.sampler=random", "training.epochs=int(interval(2, 50))"]
    )
    assert plan.epochs == 50


def test_pruning_goes_by_an_objective():
    with pytest.raises(ConfigError, match="sweep.pruner: median goes by sweep.objective, which is off"):
        make_plan(["sweep.pruner=median", "sweep.objective=off", "seed=1,2"])


@pytest.mark.parametrize("name", PRUNERS[1:])
def test_each_trial_is_given_the_epochs_that_are_asked_for(name):
    pruned = go(Ledger(Path("ledger.jsonl")), name, range(1, 21), min_epochs=4)
    assert pruned
    assert min(pruned.values()) >= 4
    assert min(go(Ledger(Path("other.jsonl")), name, range(1, 21)).values()) < 4

"""Tests of pruning: which trials and points are pruned, the reason, and the same decisions after a resume."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from trainyard.config import SweepConfig
from trainyard.errors import ConfigError
from trainyard.evaluation.trials import Trial, TrialResult
from trainyard.sweep.ledger import Ended, EpochReport, Ledger, TrialState
from trainyard.sweep.plan import make_plan
from trainyard.sweep.pruner import TrialPruner

EPOCHS = 9


def build_trials(points, seeds=1):
    """Returns the trials of a sweep. The seeds of a point are consecutive."""
    return [
        Trial(number=number + 1, point=number // seeds + 1, label="", varied={}, seed=number % seeds, overrides=(), config={})
        for number in range(points * seeds)
    ]  # fmt: skip


def build_pruner(name, ledger, trials, epochs=EPOCHS, **policy):
    return TrialPruner(SweepConfig(pruner=name, **policy), epochs, ledger, trials)


def ended(number, value=None, *, pruned=False):
    state = TrialState.PRUNED if pruned else TrialState.FAILED if value is None else TrialState.DONE
    return Ended(number, state, value)


def curve(number):
    """Returns the objective of a trial after each epoch. Later trials are worse, except every fourth."""
    best = 0.9 - 0.01 * number if number % 4 else 0.95
    return [best * (1 - 0.5**epoch) for epoch in range(1, EPOCHS + 1)]


def run_trials(ledger, name, numbers, min_epochs=1):
    """Runs trials one after the other. Returns the last epoch of each pruned trial."""
    pruning = build_pruner(name, ledger, build_trials(20), min_epochs=min_epochs)
    pruned = {}
    for number in numbers:
        ledger.record_start(number, f"trials/{number}")
        for epoch, value in enumerate(curve(number), start=1):
            report = EpochReport(number, epoch, EPOCHS, value)
            ledger.record_epoch(report)
            if reason := pruning.report_epoch(report):
                ledger.record_pruned(number, reason)
                pruning.report_end(ended(number, pruned=True))
                pruned[number] = epoch
                break
        else:
            ledger.record_result(number, result(value))
            pruning.report_end(ended(number, value))
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


@pytest.mark.parametrize(
    ("name", "points", "seeds", "min_epochs", "setting"),
    [
        ("median", 4, 1, 1, "sweep.pruner: median prunes a point only after 4 others are finished"),
        ("median", 5, 1, 1, ""),
        ("median", 8, 1, EPOCHS, f"sweep.min_epochs: with {EPOCHS}, no trial is pruned"),
        ("median", 8, 1, EPOCHS - 1, ""),
        ("median", 8, 2, EPOCHS, f"sweep.min_epochs: with {EPOCHS}, no trial is pruned"),
        ("median", 8, 3, EPOCHS, ""),  # the third seeds of weak points do not start
        ("median", 8, 3, EPOCHS + 1, f"sweep.min_epochs: with {EPOCHS + 1}, no trial is pruned"),
        ("halving", 4, 1, 1, ""),
        ("halving", 8, 1, EPOCHS, f"sweep.min_epochs: with {EPOCHS}, no trial is pruned"),
        ("hyperband", 8, 1, EPOCHS + 1, f"sweep.min_epochs: with {EPOCHS + 1}, no trial is pruned"),
    ],
)
def test_a_pruner_that_cannot_prune_causes_a_warning(name, points, seeds, min_epochs, setting):
    """Each point is worse than the one before."""
    trials = build_trials(points, seeds)
    pruning = build_pruner(name, Ledger(Path("ledger.jsonl")), trials, min_epochs=min_epochs)
    warning = pruning.find_ineffective_setting()
    assert warning.startswith(setting)
    assert bool(warning) == bool(setting)
    pruned = False
    for trial in trials:
        if pruning.find_skip_reason(trial.number):
            pruned = True
            continue
        value = 1 - trial.point / 100
        if any(pruning.report_epoch(EpochReport(trial.number, n, EPOCHS, value)) for n in range(1, EPOCHS + 1)):
            pruned = True
            pruning.report_end(ended(trial.number, pruned=True))
        else:
            pruning.report_end(ended(trial.number, value))
    assert pruned == (not setting)


def test_curves_of_pruned_trials_are_kept_in_the_ledger():
    ledger = Ledger(Path("ledger.jsonl"))
    pruned = run_trials(ledger, "median", range(1, 12))
    curves = Ledger(Path("ledger.jsonl")).get_epoch_values()
    assert {number: curves[number] for number in pruned} == {n: curve(n)[:epoch] for n, epoch in pruned.items()}


def warmed_up(objective="loss/val"):
    """Returns a pruner with five trials that had the value 0.1 after each epoch."""
    pruning = build_pruner("median", Ledger(Path("ledger.jsonl")), build_trials(7), objective=objective)
    for number in range(1, 6):
        for epoch in range(1, EPOCHS + 1):
            assert pruning.report_epoch(EpochReport(number, epoch, EPOCHS, 0.1)) == ""
        pruning.report_end(ended(number, 0.1))
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
    pruning.report_end(ended(6))
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


# ---------------------------------------------------------------------------------------------------------------
# Points with several seeds

NOISE = 0.005
"""Standard deviation of the objective over the seeds of a point."""


class SimulatedSweep:
    """A sweep of points that are `gap` standard deviations of a seed apart, of which `slots` trials run in parallel."""

    EPOCHS = 6

    def __init__(self, name, seeds, gap, random_seed, *, slots=1, points=8, ledger=None):
        rng = np.random.default_rng(random_seed)
        self.name, self.ledger, self.slots, self.rng = name, ledger, slots, rng
        self.trials = build_trials(points, seeds)
        quality = 0.9 - gap * NOISE * rng.permutation(points)
        self.best = int(np.argmax(quality)) + 1
        rises = -0.2 / np.arange(1, self.EPOCHS + 1)
        noise = rng.standard_normal((len(self.trials), 1)) + 0.2 * rng.standard_normal((len(self.trials), self.EPOCHS))
        self.values = np.repeat(quality, seeds)[:, None] + rises + NOISE * noise
        self.done, self.pruned, self.skipped, self.running, self.epochs = {}, {}, set(), {}, 0
        self.waiting = list(self.trials)
        self.start_session()

    def start_session(self):
        """Creates the pruner from the ledger, as a resumed sweep does."""
        ledger = self.ledger or Ledger(Path("no ledger"))
        self.pruner = build_pruner(self.name, ledger, self.trials, self.EPOCHS)

    def run(self, sessions=1):
        """Runs all trials. With several sessions, the pruner is replaced by a new one after each few events."""
        while self.waiting or self.running:
            while self.waiting and len(self.running) < self.slots:
                self.start(self.waiting.pop(0).number)
            if self.running:
                self.train_epoch(int(self.rng.choice(list(self.running))))
            if sessions > 1 and self.epochs % 7 == 0:
                self.ledger = Ledger(self.ledger._file)
                self.start_session()
        return self

    def start(self, number):
        if reason := self.pruner.find_skip_reason(number):
            self.skipped.add(number)
            self.prune(number, reason)
        else:
            self.running[number] = 0

    def train_epoch(self, number):
        self.epochs += 1
        self.running[number] += 1
        value = float(self.values[number - 1, self.running[number] - 1])
        report = EpochReport(number, self.running[number], self.EPOCHS, value)
        if self.ledger:
            self.ledger.record_epoch(report)
        if reason := self.pruner.report_epoch(report):
            del self.running[number]
            self.prune(number, reason)
        elif report.epoch == self.EPOCHS:
            del self.running[number]
            self.done[number] = value
            if self.ledger:
                self.ledger.record_result(number, result(value))
            self.pruner.report_end(ended(number, value))

    def prune(self, number, reason):
        self.pruned[number] = reason
        if self.ledger:
            self.ledger.record_pruned(number, reason)
        self.pruner.report_end(ended(number, pruned=True))

    def list_points(self, numbers):
        return {trial.point for trial in self.trials if trial.number in numbers}


@functools.cache
def simulate(name, seeds, gap, slots=1):
    """Returns the fraction of sweeps in which the best point is ranked, and the mean fraction of epochs saved."""
    sweeps = [SimulatedSweep(name, seeds, gap, number, slots=slots).run() for number in range(12)]
    assert all(sweep.done for sweep in sweeps)
    ranked = [sweep.best in sweep.list_points(sweep.done) for sweep in sweeps]
    saved = [1 - sweep.epochs / (len(sweep.trials) * sweep.EPOCHS) for sweep in sweeps]
    return float(np.mean(ranked)), float(np.mean(saved))


@pytest.mark.parametrize("gap", [0, 1, 4, 10])
@pytest.mark.parametrize("name", ["median", "halving", "hyperband"])
def test_seeds_of_a_point_are_judged_together(name, gap):
    """The best point stays in the ranking, and the pruner saves at least half of what it saves with one seed."""
    _, saved_with_one_seed = simulate(name, 1, gap)
    assert saved_with_one_seed > 0
    for seeds in (3, 5):
        ranked, saved = simulate(name, seeds, gap)
        assert ranked == 1, seeds
        assert saved > saved_with_one_seed / 2, seeds


def test_pruned_point_keeps_its_first_seed_and_does_not_start_the_others():
    """The second point is much worse than the first. It is judged by the mean of three of its five seeds."""
    sweep = SimulatedSweep("halving", 5, 100, 0, points=2)
    sweep.values = np.sort(sweep.values, axis=0)[::-1]
    sweep.run()
    assert sorted(sweep.done) == [1, 2, 3, 4, 5, 6, 7]
    assert set(sweep.pruned) == {8, 9, 10}
    assert sweep.skipped == {9, 10}
    assert "mean of 3 seeds after epoch 1" in sweep.pruned[8]
    assert all(reason.endswith("by sweep.pruner=halving") for reason in sweep.pruned.values())


@pytest.mark.parametrize("slots", [2, 5, 16])
def test_each_point_has_a_result_if_its_seeds_run_in_parallel(slots):
    for number in range(5):
        sweep = SimulatedSweep("halving", 5, 4, number, slots=slots).run()
        assert sweep.pruned
        assert sweep.list_points(sweep.done) == set(range(1, 9))


@pytest.mark.parametrize("name", ["median", "halving", "hyperband"])
def test_points_are_judged_the_same_after_resumes(name):
    uninterrupted = SimulatedSweep(name, 3, 1, 1, slots=3).run()
    resumed = SimulatedSweep(name, 3, 1, 1, slots=3, ledger=Ledger(Path("ledger.jsonl"))).run(sessions=99)
    assert uninterrupted.pruned
    assert resumed.pruned == uninterrupted.pruned
    assert resumed.done == uninterrupted.done


def test_seed_of_a_pruned_point_is_trained_if_its_first_seed_fails():
    pruner = build_pruner("halving", Ledger(Path("ledger.jsonl")), build_trials(2, seeds=2), epochs=2)
    for number, value in ((1, 0.9), (2, 0.9)):
        pruner.report_epoch(EpochReport(number, 1, 2, value))
        pruner.report_end(ended(number, value))
    assert pruner.report_epoch(EpochReport(3, 1, 2, 0.1)) == ""
    assert pruner.report_epoch(EpochReport(4, 1, 2, 0.1)).startswith(
        "after epoch 1, with accuracy/val 0.1000 (mean of 2"
    )
    pruner.report_end(ended(4, pruned=True))
    assert pruner.report_epoch(EpochReport(3, 2, 2, 0.1)) == ""
    pruner.report_end(ended(3))
    assert pruner.find_skip_reason(3) == ""
    assert pruner.report_epoch(EpochReport(3, 1, 2, 0.1)) == ""

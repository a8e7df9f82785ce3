from __future__ import annotations

import numpy as np
import pytest

from trainyard.config.compose import compose_config
from trainyard.errors import ConfigError
from trainyard.system import Progress, compute_last_learning_rate
from trainyard.training.schedules import Constant, Cosine, Exponential, Piecewise


def _values(schedule, *steps):
    return [float(schedule(step)) for step in steps]


def test_a_constant_schedule_returns_the_learning_rate():
    assert Constant().build(0.1, epochs=10, steps_per_epoch=10) == 0.1


def test_cosine_decays_to_its_final_fraction(keras):
    schedule = Cosine(final_fraction=0.1).build(0.2, epochs=10, steps_per_epoch=10)
    assert _values(schedule, 0, 50, 100, 150) == pytest.approx([0.2, 0.11, 0.02, 0.02])
    assert isinstance(schedule, keras.optimizers.schedules.CosineDecay)


def test_cosine_warmup_is_counted_in_epochs(keras):
    schedule = Cosine(warmup_epochs=2).build(0.2, epochs=10, steps_per_epoch=10)
    assert _values(schedule, 0, 10, 20, 60, 100) == pytest.approx([0, 0.1, 0.2, 0.1, 0], abs=1e-7)


def test_exponential_decay_is_counted_in_epochs(keras):
    smooth, stairs = (
        Exponential(decay_rate=0.5, decay_epochs=2, staircase=staircase).build(0.2, epochs=10, steps_per_epoch=10)
        for staircase in (False, True)
    )
    assert _values(smooth, 0, 10, 20, 40) == pytest.approx([0.2, 0.2 * 0.5**0.5, 0.1, 0.05])
    assert _values(stairs, 19, 20, 39, 40) == pytest.approx([0.2, 0.1, 0.1, 0.05])


def test_piecewise_changes_at_the_first_step_of_an_epoch(keras):
    schedule = Piecewise(at_epochs=[3.0, 5.0], factors=[0.1, 0.01]).build(0.2, epochs=10, steps_per_epoch=10)
    assert _values(schedule, 0, 29, 30, 49, 50) == pytest.approx([0.2, 0.2, 0.02, 0.02, 0.002])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["schedule=piecewise", "schedule.factors=[0.1]"], r"schedule\.factors: expected 2 values, one for each of at_epochs"),
        (["schedule=piecewise", "schedule.at_epochs=[8,6]"], r"schedule\.at_epochs: expected increasing numbers"),
        (["schedule=cosine", "schedule.warmup_epochs=10"], r"schedule\.warmup_epochs: expected less than training.epochs=10"),
        (
            ["schedule=cosine", "training.plateau.patience=2", "training.plateau.monitor=loss/train"],
            r"training\.plateau\.patience: not possible with schedule=cosine",
        ),
    ],
)  # fmt: skip
def test_contradicting_schedule_settings_are_rejected(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose_config(overrides)


def test_warmup_can_last_until_the_last_step(keras):
    schedule = Cosine(warmup_epochs=9.9).build(0.2, epochs=10, steps_per_epoch=1)
    assert _values(schedule, 9) == pytest.approx([0.2])


@pytest.mark.parametrize(
    ("schedule", "parts"),
    [
        (Piecewise(at_epochs=[0.5, 0.55, 1.0], factors=[0.5, 0.1, 0.01]), ("at_epochs", "[4, 4, 8]", "factors [0.5]")),
        (Piecewise(at_epochs=[0.01, 0.02], factors=[0.5, 0.1]), ("at_epochs", "[0, 0]", "factors [1.0, 0.5]")),
        (Piecewise(at_epochs=[0.1, 0.25, 1.0], factors=[0.5, 0.1, 0.01]), None),
        (Cosine(warmup_epochs=0.06), ("warmup_epochs", "0.06", "no warmup")),
        (Cosine(warmup_epochs=0.125), None),
        (Cosine(), None),
        (Exponential(decay_epochs=0.1, decay_rate=0.5), ("decay_epochs", "0.1", "multiplied by 0.5 at each step")),
        (Exponential(decay_epochs=0.125), None),
        (Constant(), None),
    ],
)
def test_rounding_to_steps_that_changes_a_schedule_is_reported(schedule, parts):
    warnings = list(schedule.find_ineffective_settings(epochs=10, steps_per_epoch=8))
    assert len(warnings) == (parts is not None)
    assert all(part in warning for warning in warnings for part in (*parts, "8 steps per epoch"))


def test_the_rates_that_are_reported_as_unused_are_not_used(keras):
    schedule = Piecewise(at_epochs=[0.5, 0.55, 1.0], factors=[0.5, 0.1, 0.01]).build(1.0, epochs=2, steps_per_epoch=8)
    assert _values(schedule, *range(16)) == pytest.approx([1.0] * 4 + [0.1] * 4 + [0.01] * 8)


def test_a_training_reports_learning_rates_that_are_never_used(tiny, train_model):
    details = []

    class Listener(Progress):
        def detail(self, text):
            details.append(text)

    train_model(tiny("schedule=piecewise", "schedule.at_epochs=[1,1.01]", "training.epochs=2"), Listener())
    assert details[0] == (
        "warning: schedule.at_epochs: [1.0, 1.01] are the steps [10, 10], with 10 steps per epoch. "
        "The learning rates with the factors [0.1] are never used. Set epochs that are at least a step apart"
    )


LOGGED = {
    "constant": ([], lambda step: 0.1),
    "exponential": (["schedule.decay_rate=0.9", "schedule.staircase=true"], lambda step: 0.1 * 0.9 ** (step // 10)),
    "cosine": ([], lambda step: 0.1 * (1 + np.cos(np.pi * step / 30)) / 2),
    "piecewise": (["schedule.at_epochs=[1,1.9]", "schedule.factors=[0.5,0.1]"],
                  lambda step: 0.1 if step < 10 else 0.05 if step < 19 else 0.01),
}  # fmt: skip
"""Overrides of each schedule, and the rate of each step, counted from 0, of three epochs of ten steps."""


@pytest.mark.parametrize("engine", ["compiled", "fit"])
@pytest.mark.parametrize("name", LOGGED)
def test_the_logged_rate_is_that_of_the_last_step_of_the_epoch(tiny, train_model, name, engine):
    """Keras counts every batch, also if its gradients are only accumulated."""
    overrides, rate = LOGGED[name]
    config = tiny(f"schedule={name}", *overrides, f"training.engine={engine}", "training.epochs=3", "optimizer=sgd",
                  "optimizer.learning_rate=0.1", "optimizer.gradient_accumulation_steps=4")  # fmt: skip
    *_, result = train_model(config)
    rates = [epoch["learning_rate/value"] for epoch in result.history]
    assert rates == pytest.approx([rate(9), rate(19), rate(29)], rel=1e-5)


def test_the_last_rate_of_an_optimizer_does_not_count_batches_that_it_skipped(keras):
    """An optimizer that scales the loss skips batches whose gradients overflow."""
    weight = keras.Variable(np.ones(2, np.float32))
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5))
    )
    optimizer.build([weight])
    rates = []
    for value in (np.inf, 1.0, np.inf, 1.0):
        optimizer.apply([keras.ops.full((2,), value)])
        rates.append(compute_last_learning_rate(optimizer))
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.05])

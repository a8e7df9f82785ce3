from __future__ import annotations

import numpy as np
import pytest

from trainyard.optimizers import Adam, AdamW, Constant, Cosine, CrossEntropy, RmsProp, Sgd


@pytest.mark.parametrize(
    ("config", "keras_name"), [(Adam(), "Adam"), (AdamW(), "AdamW"), (Sgd(), "SGD"), (RmsProp(), "RMSprop")]
)
def test_defaults_are_those_of_keras(keras, config, keras_name):
    ours = config.build(config.learning_rate).get_config()
    theirs = getattr(keras.optimizers, keras_name)().get_config()
    numbers = {name for name, value in theirs.items() if isinstance(value, float)}
    assert {name: ours[name] for name in numbers} == pytest.approx({name: theirs[name] for name in numbers})
    others = numbers | {"name"}  # Keras numbers the names
    assert {name: ours[name] for name in ours.keys() - others} == {
        name: theirs[name] for name in theirs.keys() - others
    }


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        (Adam(beta_1=0.8, beta_2=0.9, epsilon=1e-3, amsgrad=True), ["beta_1", "beta_2", "epsilon", "amsgrad"]),
        (AdamW(beta_1=0.8, weight_decay=0.1), ["beta_1", "weight_decay"]),
        (Sgd(momentum=0.5, nesterov=True), ["momentum", "nesterov"]),
        (RmsProp(rho=0.5, momentum=0.1, epsilon=1e-3, centered=True), ["rho", "momentum", "epsilon", "centered"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_field_reaches_keras(keras, config, fields):
    built = config.build(0.5).get_config()
    assert built["learning_rate"] == 0.5
    assert {name: built[name] for name in fields} == {name: getattr(config, name) for name in fields}


def test_a_constant_schedule_is_the_learning_rate():
    assert Constant().build(0.1, steps=100) == 0.1


def test_a_cosine_schedule_falls_to_its_final_fraction(keras):
    schedule = Cosine(final_fraction=0.1).build(0.2, steps=100)
    values = [float(schedule(step)) for step in (0, 50, 100, 150)]
    assert values == pytest.approx([0.2, 0.11, 0.02, 0.02])
    assert isinstance(schedule, keras.optimizers.schedules.CosineDecay)


def test_cross_entropy_is_that_of_probabilities(keras):
    loss = CrossEntropy().build()
    assert float(loss(np.array([1]), np.array([[0.25, 0.75]], np.float32))) == pytest.approx(-np.log(0.75))

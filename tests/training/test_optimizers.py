from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

from trainyard.config.compose import compose_config
from trainyard.config.registry import get_registered_components
from trainyard.config.validation import validate_config
from trainyard.errors import ConfigError
from trainyard.training.optimizers import SGD, KerasOptimizer

OPTIMIZERS = get_registered_components("optimizer")
OWN_LEARNING_RATES = {"adagrad": 0.01, "adadelta": 1.0, "ftrl": 0.05, "lion": 0.0001}
"""Default learning rates that differ from those of Keras, 0.001 (0.01 for sgd)."""

SPECIFIC = {
    "adadelta": {"rho": 0.5, "epsilon": 1e-3},
    "adagrad": {"initial_accumulator_value": 0.3, "epsilon": 1e-3},
    "adam": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "amsgrad": True},
    "adamax": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
    "adamw": {"beta_1": 0.8, "weight_decay": 0.1},
    "ftrl": {"learning_rate_power": -0.4, "initial_accumulator_value": 0.3, "l1_regularization_strength": 0.1},
    "lamb": {"beta_1": 0.8, "epsilon": 1e-3},
    "lion": {"beta_1": 0.8, "beta_2": 0.9},
    "muon": {"momentum": 0.9, "nesterov": False, "ns_steps": 3, "adam_lr_ratio": 0.5, "adam_beta_1": 0.8},
    "nadam": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
    "rmsprop": {"rho": 0.5, "momentum": 0.1, "epsilon": 1e-3, "centered": True},
    "sgd": {"momentum": 0.5, "nesterov": True},
}
COMMON = {
    "clipnorm": 0.5,
    "weight_decay": 0.01,
    "use_ema": True,
    "ema_momentum": 0.9,
    "gradient_accumulation_steps": 4,
}


def test_every_optimizer_is_tested():
    assert SPECIFIC.keys() == OPTIMIZERS.keys()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_defaults_equal_those_of_keras_except_some_learning_rates(keras, name):
    config = OPTIMIZERS[name]()
    arguments = config.build(config.learning_rate).get_config()
    keras_defaults = config.keras_class().get_config()
    keras_defaults["learning_rate"] = OWN_LEARNING_RATES.get(name, keras_defaults["learning_rate"])
    assert arguments.keys() == keras_defaults.keys()
    for field in arguments.keys() - {"name"}:  # Keras adds a number to each name
        assert arguments[field] == pytest.approx(keras_defaults[field]), field


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_field_reaches_keras(keras, name):
    fields = COMMON | SPECIFIC[name]
    config = dataclasses.replace(OPTIMIZERS[name](), **fields)
    built = config.build(0.5).get_config()
    assert built["learning_rate"] == 0.5
    assert {field: built[field] for field in fields} == fields


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns_the_digits(train_model, name):
    overrides = ["dataset.validation_fraction=0.1", "training.epochs=8", "model.hidden_units=[64]", "training.xla=off"]
    rates = {"ftrl": 0.3, "lion": 0.001, "sgd": 0.1}  # eight epochs of this small data set are few steps
    rate = [f"optimizer.learning_rate={rates[name]}"] if name in rates else []
    model, dataset, _ = train_model(compose_config([f"optimizer={name}", *overrides, *rate]))
    _, accuracy = model.evaluate(dataset.spec.scale(dataset.test.images), dataset.test.labels, verbose=0)
    assert accuracy > 0.8


@dataclasses.dataclass(kw_only=True, slots=True)
class _Unknown(KerasOptimizer):
    """Neither the class nor a base class has the name of a class of Keras."""


@dataclasses.dataclass(kw_only=True, slots=True)
class _Text(KerasOptimizer):
    """The class is given as text."""

    keras_class: ClassVar[str] = "SGD"


@pytest.mark.parametrize(("cls", "received"), [(_Unknown, "None"), (_Text, "'SGD'")])
def test_an_optimizer_without_a_keras_class_is_an_error(cls, received):
    with pytest.raises(ConfigError, match=rf"{cls.__name__}\.keras_class: expected a class of Keras, got {received}"):
        cls(name="mine").build(0.1)


def test_only_one_kind_of_gradient_clipping_is_allowed():
    config = compose_config()
    config.optimizer = SGD(clipnorm=1.0, global_clipnorm=2.0)
    with pytest.raises(ConfigError, match=r"optimizer\.global_clipnorm: can't be combined with clipnorm"):
        validate_config(config)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_the_moving_average_of_the_weights_counts_updates(keras, mode):
    """With accumulation over three batches, ten batches are three updates. The last batch is accumulated only."""
    import tensorflow as tf

    gradients = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    config = SGD(use_ema=True, ema_momentum=0.8, gradient_accumulation_steps=3)
    weight, optimizer = keras.Variable(np.ones(4, np.float32)), config.build(0.5)
    optimizer.build([weight])
    step = {
        "eager": lambda gradient: optimizer.apply([gradient]),
        "graph": tf.function(lambda gradient: optimizer.apply([gradient]), autograph=False),
        "xla": tf.function(lambda gradient: optimizer.apply([gradient]), autograph=False, jit_compile=True),
    }[mode]
    for gradient in gradients:
        step(tf.constant(gradient))
    expected, average = np.ones(4), None
    for batches in gradients[:9].reshape(3, 3, 4).astype(np.float64):
        expected = expected - 0.5 * batches.mean(axis=0)
        average = expected if average is None else 0.8 * average + 0.2 * expected
    np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-5)
    optimizer.finalize_variable_values([weight])
    np.testing.assert_allclose(weight.numpy(), average, rtol=1e-5)


def test_the_moving_average_equals_the_weights_before_the_first_update(keras):
    weight = keras.Variable(np.ones(2, np.float32))
    optimizer = SGD(use_ema=True, gradient_accumulation_steps=5).build(0.5)
    optimizer.build([weight])
    optimizer.apply([keras.ops.ones(2)])
    optimizer.finalize_variable_values([weight])
    np.testing.assert_array_equal(weight.numpy(), [1, 1])

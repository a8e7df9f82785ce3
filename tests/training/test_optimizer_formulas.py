"""Each optimizer against its published formula, in NumPy with double precision.

The problem is linear regression with a weight matrix and a bias. A formula is a function that yields updates: it
receives the gradient of a weight and the weight itself, and yields what is subtracted from the weight.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from trainyard.config.fields import get_rule
from trainyard.config.registry import get_registered_components

STEPS, RATE = 30, 0.02
GENERATOR = np.random.default_rng(0)
KERNEL, BIAS = GENERATOR.normal(size=(6, 4)), GENERATOR.normal(size=4)
INPUTS, TARGETS = GENERATOR.normal(size=(40, 6)), GENERATOR.normal(size=(40, 4))


def compute_gradients(kernel, bias):
    residuals = INPUTS @ kernel + bias - TARGETS
    return [INPUTS.T @ residuals / len(INPUTS), residuals.mean(axis=0)]


def sgd(momentum=0.0, *, nesterov=False):
    velocity = 0.0
    gradient, _ = yield
    while True:
        velocity = momentum * velocity + RATE * gradient
        gradient, _ = yield (momentum * velocity + RATE * gradient if nesterov else velocity)


def rmsprop(rho=0.9, momentum=0.0, epsilon=1e-7, *, centered=False):
    square = mean = velocity = 0.0
    gradient, _ = yield
    while True:
        square = rho * square + (1 - rho) * gradient**2
        mean = rho * mean + (1 - rho) * gradient
        variance = square - mean**2 if centered else square
        velocity = momentum * velocity + RATE * gradient / np.sqrt(variance + epsilon)
        gradient, _ = yield velocity


def adam(beta_1=0.9, beta_2=0.999, epsilon=1e-7, *, amsgrad=False, ratio=1.0):
    """The efficient form of section 2 of the paper, in which epsilon is added to the uncorrected second moment."""
    first = second = maximum = 0.0
    step = 0
    gradient, _ = yield
    while True:
        step += 1
        first = beta_1 * first + (1 - beta_1) * gradient
        second = beta_2 * second + (1 - beta_2) * gradient**2
        maximum = np.maximum(maximum, second)
        rate = ratio * RATE * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        gradient, _ = yield rate * first / (np.sqrt(maximum if amsgrad else second) + epsilon)


def adamax(beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    first = norm = 0.0
    step = 0
    gradient, _ = yield
    while True:
        step += 1
        first = beta_1 * first + (1 - beta_1) * gradient
        norm = np.maximum(beta_2 * norm, np.abs(gradient))
        gradient, _ = yield RATE / (1 - beta_1**step) * first / (norm + epsilon)


def nadam(beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    def momentum(step):
        return beta_1 * (1 - 0.5 * 0.96**step)

    first = second = 0.0
    product, step = 1.0, 0
    gradient, _ = yield
    while True:
        step += 1
        product *= momentum(step)
        first = beta_1 * first + (1 - beta_1) * gradient
        second = beta_2 * second + (1 - beta_2) * gradient**2
        corrected = momentum(step + 1) * first / (1 - product * momentum(step + 1))
        corrected += (1 - momentum(step)) * gradient / (1 - product)
        gradient, _ = yield RATE * corrected / (np.sqrt(second / (1 - beta_2**step)) + epsilon)


def lamb(beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    first = second = 0.0
    step = 0
    gradient, weight = yield
    while True:
        step += 1
        first = beta_1 * first + (1 - beta_1) * gradient
        second = beta_2 * second + (1 - beta_2) * gradient**2
        ratio = first / (1 - beta_1**step) / (np.sqrt(second / (1 - beta_2**step)) + epsilon)
        gradient, weight = yield RATE * np.linalg.norm(weight) / np.linalg.norm(ratio) * ratio


def adagrad(initial_accumulator_value=0.1, epsilon=1e-7):
    total = initial_accumulator_value
    gradient, _ = yield
    while True:
        total = total + gradient**2
        gradient, _ = yield RATE * gradient / np.sqrt(total + epsilon)


def adadelta(rho=0.95, epsilon=1e-7):
    squares = changes = 0.0
    gradient, _ = yield
    while True:
        squares = rho * squares + (1 - rho) * gradient**2
        change = np.sqrt((changes + epsilon) / (squares + epsilon)) * gradient
        changes = rho * changes + (1 - rho) * change**2
        gradient, _ = yield RATE * change


def ftrl(power=-0.5, initial_accumulator_value=0.1, l1=0.0, l2=0.0):
    """FTRL-Proximal, algorithm 1 of the paper with beta = 0 and a penalty of l2 times the squared weights."""
    linear, total = 0.0, initial_accumulator_value
    gradient, weight = yield
    while True:
        previous, total = total, total + gradient**2
        linear = linear + gradient - (total**-power - previous**-power) / RATE * weight
        shrunk = np.sign(linear) * np.maximum(np.abs(linear) - l1, 0)
        gradient, weight = yield weight + shrunk / (total**-power / RATE + 2 * l2)


def lion(beta_1=0.9, beta_2=0.99):
    momentum = 0.0
    gradient, _ = yield
    while True:
        update = np.sign(beta_1 * momentum + (1 - beta_1) * gradient)
        momentum = beta_2 * momentum + (1 - beta_2) * gradient
        gradient, _ = yield RATE * update


def orthogonalize(matrix, steps):
    """Newton-Schulz iterations on the singular values of the normalised matrix, with Jordan's coefficients."""
    left, values, right = np.linalg.svd(matrix / (np.linalg.norm(matrix) + 1e-7), full_matrices=False)
    for _ in range(steps):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return (left * values) @ right


def muon(momentum=0.95, *, nesterov=True, ns_steps=5, scale=0.2):
    velocity = 0.0
    gradient, _ = yield
    while True:
        velocity = momentum * velocity + gradient
        direction = gradient + momentum * velocity if nesterov else velocity
        size = scale * np.sqrt(max(gradient.shape))
        gradient, _ = yield RATE * size * orthogonalize(direction, ns_steps)


CASES = [
    ("sgd", {}, sgd),
    ("sgd", {"momentum": 0.9}, lambda: sgd(0.9)),
    ("sgd", {"momentum": 0.9, "nesterov": True}, lambda: sgd(0.9, nesterov=True)),
    ("sgd", {"weight_decay": 0.5}, sgd),
    ("rmsprop", {}, rmsprop),
    ("rmsprop", {"rho": 0.8, "momentum": 0.7, "epsilon": 1e-3}, lambda: rmsprop(0.8, 0.7, 1e-3)),
    ("rmsprop", {"centered": True, "epsilon": 1e-3}, lambda: rmsprop(epsilon=1e-3, centered=True)),
    ("adam", {}, adam),
    ("adam", {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}, lambda: adam(0.8, 0.9, 1e-3)),
    ("adam", {"beta_2": 0.5, "amsgrad": True}, lambda: adam(beta_2=0.5, amsgrad=True)),
    ("adam", {"beta_1": 0.0, "epsilon": 0.01}, lambda: adam(0.0, epsilon=0.01)),
    ("adamw", {}, adam),
    ("adamw", {"weight_decay": 0.5, "beta_2": 0.9}, lambda: adam(beta_2=0.9)),
    ("adamax", {}, adamax),
    ("adamax", {"beta_1": 0.8, "beta_2": 0.7, "epsilon": 1e-3}, lambda: adamax(0.8, 0.7, 1e-3)),
    ("nadam", {}, nadam),
    ("nadam", {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}, lambda: nadam(0.8, 0.9, 1e-3)),
    ("lamb", {}, lamb),
    ("lamb", {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "weight_decay": 0.5}, lambda: lamb(0.8, 0.9, 1e-3)),
    ("adagrad", {}, adagrad),
    ("adagrad", {"initial_accumulator_value": 0.0, "epsilon": 1e-3}, lambda: adagrad(0.0, 1e-3)),
    ("adadelta", {}, adadelta),
    ("adadelta", {"rho": 0.8, "epsilon": 1e-3}, lambda: adadelta(0.8, 1e-3)),
    ("ftrl", {}, ftrl),
    ("ftrl", {"learning_rate_power": -0.3, "initial_accumulator_value": 0.5}, lambda: ftrl(-0.3, 0.5)),
    ("ftrl", {"l1_regularization_strength": 0.4, "l2_regularization_strength": 3.0}, lambda: ftrl(l1=0.4, l2=3.0)),
    ("lion", {}, lion),
    ("lion", {"beta_1": 0.5, "beta_2": 0.7, "weight_decay": 0.5}, lambda: lion(0.5, 0.7)),
    ("muon", {}, (muon, adam)),
    (
        "muon",
        {"momentum": 0.5, "nesterov": False, "ns_steps": 3, "adam_lr_ratio": 0.5, "adam_beta_1": 0.8},
        (lambda: muon(0.5, nesterov=False, ns_steps=3), lambda: adam(0.8, ratio=0.5)),
    ),
    ("muon", {"weight_decay": 0.5, "adam_weight_decay": 0.25}, (muon, adam)),
]
"""Name and settings of an optimizer, and the formula of the matrix and the bias."""


def minimise(formulas, decays):
    """Returns the weights after some steps of a formula. Weight decay is applied before each update."""
    weights, rules = [KERNEL, BIAS], [formula() for formula in formulas]
    for rule in rules:
        next(rule)
    for _ in range(STEPS):
        gradients = compute_gradients(*weights)
        weights = [weight * (1 - decay * RATE) for weight, decay in zip(weights, decays, strict=True)]
        steps = zip(weights, rules, gradients, strict=True)
        weights = [weight - rule.send((gradient, weight)) for weight, rule, gradient in steps]
    return weights


def minimise_with_keras(keras, optimizer):
    """Returns the weights after the same number of steps of a Keras optimizer."""
    import tensorflow as tf

    weights = [keras.Variable(values.astype(np.float32)) for values in (KERNEL, BIAS)]
    optimizer.build(weights)
    inputs, targets = tf.constant(INPUTS, tf.float32), tf.constant(TARGETS, tf.float32)

    @tf.function(autograph=False)
    def step():
        kernel, bias = (weight.value for weight in weights)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((inputs @ kernel + bias - targets) ** 2) / (2 * len(INPUTS))
        optimizer.apply(tape.gradient(loss, [kernel, bias]), weights)

    for _ in range(STEPS):
        step()
    return [weight.numpy() for weight in weights]


@pytest.mark.parametrize(
    ("name", "settings", "formula"), CASES, ids=[f"{name}-{settings}" for name, settings, _ in CASES]
)
def test_an_optimizer_follows_its_formula(keras, name, settings, formula):
    component = dataclasses.replace(get_registered_components("optimizer")[name](), **settings)
    decay = component.weight_decay or 0.0
    decays = (decay, getattr(component, "adam_weight_decay", decay))
    expected = minimise(formula if isinstance(formula, tuple) else (formula, formula), decays)
    weights = minimise_with_keras(keras, component.build(RATE))
    for weight, values, start in zip(weights, expected, (KERNEL, BIAS), strict=True):
        change = np.abs(values - start).max()
        assert change > 1e-4
        np.testing.assert_allclose(weight, values, rtol=0, atol=1e-3 * change + 1e-6)


@pytest.mark.parametrize("clipping", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_gradients_are_clipped(keras, clipping):
    limit, gradients = 0.5, compute_gradients(KERNEL, BIAS)
    norms = [np.linalg.norm(gradient) for gradient in gradients]
    clipped = {
        "clipnorm": [gradient * min(1, limit / norm) for gradient, norm in zip(gradients, norms, strict=True)],
        "clipvalue": [np.clip(gradient, -limit, limit) for gradient in gradients],
        "global_clipnorm": [gradient * min(1, limit / np.hypot(*norms)) for gradient in gradients],
    }[clipping]
    weights = [keras.Variable(values.astype(np.float32)) for values in (KERNEL, BIAS)]
    optimizer = dataclasses.replace(get_registered_components("optimizer")["sgd"](), **{clipping: limit}).build(1.0)
    optimizer.build(weights)
    optimizer.apply([gradient.astype(np.float32) for gradient in gradients])
    for weight, start, change in zip(weights, (KERNEL, BIAS), clipped, strict=True):
        np.testing.assert_allclose(weight.numpy(), start - change, atol=1e-6)


def test_every_optimizer_has_a_formula():
    assert {name for name, *_ in CASES} == get_registered_components("optimizer").keys()


EXTREMES = [
    (name, spec.name, float(value))
    for name, component in get_registered_components("optimizer").items()
    for spec in dataclasses.fields(component)
    for value in [get_rule(spec).ge]
    if value is not None and spec.name not in {"gradient_accumulation_steps", "ns_steps"}
]


@pytest.mark.parametrize(("name", "field", "value"), EXTREMES)
def test_the_smallest_value_of_a_setting_keeps_weights_finite(keras, name, field, value):
    """Also those of a weight whose gradient is always zero, such as that of a pixel which is always black."""
    component = dataclasses.replace(get_registered_components("optimizer")[name](), **{field: value})
    weights = [keras.Variable(np.ones((3, 2), np.float32)), keras.Variable(np.ones(3, np.float32))]
    optimizer = component.build(RATE)
    optimizer.build(weights)
    for gradient in ([0.0, 1.0, -1.0], [0.0, 0.0, 0.0], [0.0, 0.5, 2.0]):
        row = np.float32(gradient)
        optimizer.apply([np.stack([row, row], axis=1), row])
    assert all(np.isfinite(weight.numpy()).all() for weight in weights)

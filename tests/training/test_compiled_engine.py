"""The compiled engine trains like `model.fit`: with the same Keras objects, losses and weights are the same."""

from __future__ import annotations

import functools
import math
import os
import signal
import threading

import numpy as np
import pytest

from trainyard.config.compose import compose_config
from trainyard.data import load_dataset
from trainyard.data.batches import BatchMaker, build_batch_maker
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.errors import TrainingError
from trainyard.system import tensorflow_setup
from trainyard.system.progress import Progress
from trainyard.training import compiled_engine as engine_module
from trainyard.training import trainer
from trainyard.training.compiled_engine import CompiledEngine
from trainyard.training.engine import EpochPlan
from trainyard.training.fit_engine import FitEngine
from trainyard.training.trainer import choose_engine, compile_model, train
from trainyard.training.xla import XlaChoice

BATCH = 32
IMAGES = 300
STEPS = math.ceil(IMAGES / BATCH)


@pytest.fixture
def digits(tiny) -> Dataset:
    """300 digits: nine batches of 32 and one of 12."""
    config = tiny()
    return load_dataset(config.dataset, 0)


def _silent(epoch: int, done: int, steps: int) -> None:
    """Ignores the progress."""


def _loss_trace(keras):
    """Returns a Keras metric that records the loss of every step of an epoch, to compare the two engines."""

    class LossTrace(keras.metrics.Metric):
        def __init__(self):
            super().__init__(name="trace", dtype="float32")
            self.losses = self.add_weight(shape=(STEPS,), initializer="zeros", name="losses")
            self.step = self.add_weight(shape=(), initializer="zeros", name="step", dtype="int32")

        def update_state(self, y_true, y_pred, sample_weight=None):
            loss = keras.ops.mean(
                keras.losses.sparse_categorical_crossentropy(y_true, keras.ops.cast(y_pred, "float32"))
            )
            at_step = keras.ops.cast(keras.ops.equal(keras.ops.arange(STEPS), self.step), "float32")
            self.losses.assign(self.losses + at_step * loss)
            self.step.assign_add(1)

        def result(self):
            return keras.ops.mean(self.losses)

    return LossTrace()


def _network(keras, *, norm=False, dropout=0.0, l2=0.0, policy="float32"):
    keras.utils.set_random_seed(7)
    layers = [keras.layers.Input((8, 8)), keras.layers.Flatten()]
    for units in (32, 16):
        penalty = keras.regularizers.L2(l2) if l2 else None
        layers.append(keras.layers.Dense(units, kernel_regularizer=penalty, dtype=policy))
        if norm:
            layers.append(keras.layers.BatchNormalization(dtype=policy))
        layers.append(keras.layers.Activation("relu", dtype=policy))
        if dropout:
            layers.append(keras.layers.Dropout(dropout, dtype=policy, seed=3))
    layers.append(keras.layers.Dense(10, activation="softmax", dtype="float32"))
    return keras.Sequential(layers)


def _run(keras, make, dataset, optimizer, *, xla=None, epochs=1, callbacks=()):
    """Trains one network; `xla` None uses the fit engine. Returns the model and the losses of the last epoch's steps."""
    model, trace = make(keras), _loss_trace(keras)
    model.compile(
        optimizer=optimizer(keras), loss="sparse_categorical_crossentropy", metrics=[trace], jit_compile=False
    )
    model.optimizer.build(model.trainable_variables)
    batches = BatchMaker(dataset.spec)
    engine = (
        FitEngine(model, dataset, batches) if xla is None else CompiledEngine(model, dataset, batches, BATCH, xla=xla)
    )
    engine.run(EpochPlan(epochs=epochs, batch_size=BATCH, seed=1), list(callbacks), _silent)
    return model, trace.losses.numpy()


def _decaying_and_clipped(keras):
    return keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.5, decay_steps=STEPS), clipvalue=0.01)


def _loss_scaled(keras):
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01), initial_scale=2.0**12)


CASES = {
    "momentum, batch norm, l2, global_clipnorm": (
        {"norm": True, "l2": 0.01},
        lambda keras: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, global_clipnorm=0.2),
    ),
    "schedule, clipvalue": ({}, _decaying_and_clipped),
    "adamw": ({}, lambda keras: keras.optimizers.AdamW(0.01, weight_decay=0.01)),
    "rmsprop, accumulation": (
        {},
        lambda keras: keras.optimizers.RMSprop(0.01, momentum=0.5, centered=True, gradient_accumulation_steps=2),
    ),
    "ema": ({}, lambda keras: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9)),
    "dropout, clipnorm": ({"dropout": 0.3}, lambda keras: keras.optimizers.SGD(0.5, clipnorm=0.1)),
    "mixed_float16": ({"policy": "mixed_float16"}, _loss_scaled),
    "mixed_bfloat16": ({"policy": "mixed_bfloat16"}, lambda keras: keras.optimizers.Adam(0.01)),
}
"""Each case combines features of networks and optimizers that do not hide each other's errors."""

HALF = ("mixed_float16", "mixed_bfloat16")
INEXACT = ("dropout, clipnorm", *HALF)
STEP_TOLERANCE = 2e-5
XLA_STEPS, XLA_TOLERANCE = 5, 2e-4
"""XLA sums in a different order. The losses of the first steps agree within this tolerance."""


@pytest.fixture(scope="module")
def fit_once(keras):
    """Returns a function that trains a case with the fit engine, and keeps the weights and losses for other tests."""

    @functools.cache
    def fit(case, epochs):
        network, optimizer = CASES[case]
        dataset = load_dataset(compose_config(["dataset.limit=300"]).dataset, 0)
        make = functools.partial(_network, **network)
        model, losses = _run(keras, make, dataset, optimizer, xla=None, epochs=epochs)
        return model.get_weights(), losses

    return fit


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_without_xla_every_step_equals_that_of_fit(keras, digits, fit_once, case):
    network, optimizer = CASES[case]
    compiled, losses = _run(keras, functools.partial(_network, **network), digits, optimizer, xla=False)
    expected_weights, expected = fit_once(case, epochs=1)
    assert (expected > 0).all()
    assert expected.std() > 0
    assert np.abs(losses - expected).max() < (5e-3 if case in HALF else STEP_TOLERANCE)
    for weight, expected_weight in zip(compiled.get_weights(), expected_weights, strict=True):
        assert np.allclose(weight, expected_weight, atol=2e-2 if case in HALF else 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case not in INEXACT])
def test_with_xla_the_first_steps_equal_those_of_fit(keras, digits, fit_once, case):
    """Dropout draws different numbers with XLA, and half precision is too inexact for a comparison."""
    network, optimizer = CASES[case]
    _, losses = _run(keras, functools.partial(_network, **network), digits, optimizer, xla=True)
    _, expected = fit_once(case, epochs=1)
    assert np.abs(losses - expected)[:XLA_STEPS].max() < XLA_TOLERANCE
    assert losses[-1] == pytest.approx(expected[-1], rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("case", INEXACT)
def test_with_xla_dropout_and_half_precision_learn_equally_well(keras, digits, fit_once, case):
    network, optimizer = CASES[case]
    _, losses = _run(keras, functools.partial(_network, **network), digits, optimizer, xla=True, epochs=5)
    _, expected = fit_once(case, epochs=5)
    assert losses.mean() == pytest.approx(expected.mean(), rel=0.25)


def test_the_last_smaller_batch_is_trained_on(keras, digits):
    """The last step of an epoch trains on the remaining 12 images, and the optimizer counts it."""
    model, losses = _run(keras, _network, digits, lambda keras: keras.optimizers.SGD(0.1), xla=False, epochs=2)
    assert losses[-1] > 0
    assert int(model.optimizer.iterations.numpy()) == 2 * STEPS == 20


def test_averaged_weights_replace_the_weights_at_the_end(keras, digits):
    """Keras copies the moving average to the weights when fit ends. The compiled engine does the same."""
    before = []
    keep_weights = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: before.extend(model.get_weights()))
    model = _network(keras)
    model, _ = _run(keras, lambda keras: model, digits, CASES["ema"][1], xla=False, callbacks=[keep_weights])
    averages = [average.numpy() for average in model.optimizer._model_variables_moving_average]
    for weight, average, weight_before in zip(model.get_weights(), averages, before, strict=True):
        assert np.array_equal(weight, average)
        assert not np.allclose(weight, weight_before, atol=1e-3)


# ---------------------------------------------------------------------------------------------------------------
# Callbacks


@pytest.mark.parametrize("xla", [False, None], ids=["compiled", "fit"])
def test_keras_callbacks_are_called_as_in_fit(keras, tiny, tmp_path, xla):
    """Early stopping, plateau, checkpoint and a user's callback are called in the order of fit, with Keras's keys."""
    dataset = load_dataset(tiny("dataset.validation_fraction=0.2").dataset, 0)
    calls = []

    class UserCallback(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            calls.append(("train begins", self.params["epochs"], self.params["steps"]))

        def on_epoch_begin(self, epoch, logs=None):
            calls.append(("epoch begins", epoch))

        def on_test_end(self, logs=None):
            calls.append(("test ends", *sorted(logs)))

        def on_epoch_end(self, epoch, logs=None):
            calls.append(("epoch ends", epoch, *sorted(logs)))
            if epoch == 3:
                self.model.stop_training = True

        def on_train_end(self, logs=None):
            calls.append(("train ends", *sorted(logs)))

    best = tmp_path / "best.keras"
    model, _ = _run(
        keras,
        _network,
        dataset,
        lambda keras: keras.optimizers.SGD(0.1),
        xla=xla,
        epochs=9,
        callbacks=[
            keras.callbacks.EarlyStopping(patience=8, restore_best_weights=True),
            keras.callbacks.ReduceLROnPlateau(monitor="val_loss", min_delta=100, patience=1, factor=0.5),
            keras.callbacks.ModelCheckpoint(best, save_best_only=True),
            UserCallback(),
        ],
    )
    keys = ("learning_rate", "loss", "trace", "val_loss", "val_trace")  # ReduceLROnPlateau adds the learning rate
    assert calls[0] == ("train begins", 9, 8)
    assert calls[1:4] == [("epoch begins", 0), ("test ends", "loss", "trace"), ("epoch ends", 0, *keys)]
    assert calls[-2:] == [("epoch ends", 3, *keys), ("train ends", *keys[1:])]
    assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(0.1 * 0.5**3)
    assert best.stat().st_size > 0
    assert model.history.history["val_loss"] == sorted(model.history.history["val_loss"], reverse=True)


@pytest.fixture(scope="module")
def dense_training(keras):
    """A trained dense network with batch norm and a penalty, its validation images, and the result of the training."""
    overrides = ["dataset.limit=300", "dataset.validation_fraction=0.5", "training.epochs=2", "model.hidden_units=[16]"]
    config = compose_config([*overrides, "model.batch_norm=true", "model.l2=0.1"])
    tensorflow_setup.configure_tensorflow(0, None)
    dataset = load_dataset(config.dataset, 0)
    model = config.model.build(dataset.spec)
    return model, dataset, train(model, dataset, config, Progress(), lambda epoch, metrics: None)


def test_validation_is_what_keras_evaluates(dense_training):
    model, dataset, result = dense_training
    scaled = dataset.validation.images / np.float32(dataset.spec.pixel_max)
    loss, accuracy = model.evaluate(scaled, dataset.validation.labels, verbose=0)
    assert result.history[-1]["loss/val"] == pytest.approx(loss, rel=1e-5)
    assert result.history[-1]["accuracy/val"] == pytest.approx(accuracy)


# ---------------------------------------------------------------------------------------------------------------
# Spans


def test_the_length_of_spans_does_not_change_the_result(keras, digits, monkeypatch):
    progress = []
    weights = []
    model = _network(keras)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    initial = [variable.numpy() for variable in variables]
    compiled = CompiledEngine(model, digits, BatchMaker(digits.spec), BATCH, xla=True)
    for first, seconds in ((1, 0.0), (4, 60.0)):
        monkeypatch.setattr(engine_module, "_FIRST_SPAN_STEPS", first)
        monkeypatch.setattr(engine_module, "SPAN_SECONDS", seconds)
        for variable, value in zip(variables, initial, strict=True):
            variable.assign(value)
        progress.append([])
        compiled.run(EpochPlan(1, BATCH, 1), [], lambda *steps: progress[-1].append(steps))
        weights.append(model.get_weights())
    assert progress[0] == [(1, step, 10) for step in range(1, 11)]
    assert progress[1][-1] == (1, 10, 10)
    assert len(progress[1]) < 6
    for first_weight, second_weight in zip(*weights, strict=True):
        assert np.array_equal(first_weight, second_weight)


def test_a_batch_can_be_larger_than_the_data(keras, tiny):
    """The epoch is then a single batch, which is trained on without XLA."""
    config = tiny("training.batch_size=512", "training.xla=on")
    dataset = load_dataset(config.dataset, 0)
    model = config.model.build(dataset.spec)
    result = train(model, dataset, config, Progress(), lambda epoch, metrics: None)
    assert (result.engine, len(result.history)) == ("compiled", 2)
    assert int(model.optimizer.iterations.numpy()) == 2


def test_a_signal_is_handled_between_two_spans_long_before_the_epoch_ends(keras, tiny, monkeypatch):
    """The signal arrives while the program runs. The program returns after each span, here a twentieth of a second."""
    monkeypatch.setattr(engine_module, "SPAN_SECONDS", 0.05)
    images = 1_600_000
    generator = np.random.default_rng(0)
    split = Split(generator.integers(0, 17, (images, 2, 2), dtype=np.uint8), np.zeros(images, np.uint8))
    dataset = Dataset("noise", DataSpec((2, 2), tuple("0123456789"), 16), split, split, "here")
    config = tiny("training.batch_size=16", "training.epochs=1")
    model = config.model.build(dataset.spec)
    steps_done = []
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))

    class Starter(Progress):
        def step(self, epoch, epochs, step, steps):
            if not steps_done:
                timer.start()
            steps_done.append(step)

    with pytest.raises(KeyboardInterrupt):
        train(model, dataset, config, Starter(), lambda epoch, metrics: None)
    assert steps_done[-1] < images / 16 / 2


# ---------------------------------------------------------------------------------------------------------------
# Divergence


@pytest.mark.parametrize("xla", ["on", "off"])
def test_a_nan_weight_stops_the_training_at_the_end_of_the_span(keras, tiny, xla):
    """A NaN in a weight is detected at the end of the span, even if the loss is finite (relu and oneDNN)."""
    config = tiny("training.epochs=3", "model.activation=relu", f"training.xla={xla}")
    tensorflow_setup.configure_tensorflow(0, None)
    dataset = load_dataset(config.dataset, 0)
    model = config.model.build(dataset.spec)

    details = []

    class Poison(Progress):
        def detail(self, text):
            details.append(text)

        def step(self, epoch, epochs, step, steps):
            if (epoch, step) == (2, 9):
                weights = model.get_weights()
                weights[1][0] = np.nan
                model.set_weights(weights)

    with pytest.raises(TrainingError, match=r"diverged in epoch 2: .*(is nan|hidden_1/bias.* contains NaN).* step 10"):
        train(model, dataset, config, Poison(), lambda epoch, metrics: None)
    assert f"XLA {xla}: set by training.xla" in details


# ---------------------------------------------------------------------------------------------------------------
# The choice of the engine and of XLA


def _choice(keras, config, model=None, callbacks=()):
    dataset = load_dataset(config.dataset, 0)
    model = model or config.model.build(dataset.spec)
    compile_model(model, config, batches_per_epoch=10)
    return choose_engine(model, dataset, build_batch_maker(config, dataset, 0), config, callbacks)


def test_auto_chooses_the_compiled_engine_for_a_dense_network(dense_training):
    _, _, result = dense_training
    assert (result.engine, result.engine_reason) == ("compiled", "the fastest engine for this model")
    assert result.compile_seconds > 0


@pytest.mark.parametrize(
    ("overrides", "engine", "xla"),
    [
        (["training.engine=fit"], "fit", "off: the default of the fit engine"),
        (["training.engine=fit", "training.xla=on"], "fit", "on: set by training.xla"),
        (
            ["training.determinism=strict"],
            "compiled",
            "off: training.determinism is strict, and XLA rounds differently from TensorFlow",
        ),
    ],
    ids=str,
)
def test_engine_and_xla_settings_are_respected(keras, tiny, overrides, engine, xla):
    choice = _choice(keras, tiny("training.xla=auto", *overrides))
    assert (choice.engine.name, str(choice.xla)) == (engine, xla)


def test_xla_is_not_used_if_it_cannot_compile_the_model(keras, tiny, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(trainer, "choose_xla", lambda *_: XlaChoice(on=True, reason="it is faster"))

    class Unsupported(keras.layers.Layer):
        def call(self, images):
            return images + tf.strings.to_number(tf.strings.as_string(0.0 * images))

    def model():
        return keras.Sequential(
            [keras.layers.Input((8, 8)), Unsupported(), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
        )

    choice = _choice(keras, tiny("training.xla=auto"), model())
    assert (choice.engine.name, choice.xla.on) == ("compiled", False)
    assert choice.xla.reason.startswith("XLA can't compile the model: ")
    with pytest.raises(TrainingError, match=r"training\.xla: XLA can't compile the model: .*Set training\.xla=auto"):
        _choice(keras, tiny("training.xla=on"), model())


def test_callbacks_with_batch_hooks_use_the_fit_engine_and_report_it(keras, tiny):
    class EveryBatch(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1

    details, callback = [], EveryBatch()

    class Listener(Progress):
        def detail(self, text):
            details.append(text)

    config = tiny("training.epochs=2")
    dataset = load_dataset(config.dataset, 0)
    model = config.model.build(dataset.spec)
    result = train(model, dataset, config, Listener(), lambda epoch, metrics: None, callbacks=[callback])
    assert result.engine == "fit"
    assert details[0] == "engine fit: not compiled, because EveryBatch must be called for each batch"
    assert callback.batches == 2 * STEPS
    with pytest.raises(TrainingError, match=r"training\.engine: expected a training that can be compiled, but EveryBa"):
        _choice(keras, tiny("training.engine=compiled"), callbacks=[EveryBatch()])


def test_a_model_that_cannot_be_traced_uses_the_fit_engine_and_reports_it(keras, tiny):
    class Eager(keras.Sequential):
        def train_step(self, data):
            float(data[1][0])  # fails while the model is traced
            return super().train_step(data)

    model = Eager([keras.layers.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")])
    choice = _choice(keras, tiny(), model)
    assert choice.engine.name == "fit"
    assert choice.reason.startswith("not compiled, because the model can't be compiled into one program: ")

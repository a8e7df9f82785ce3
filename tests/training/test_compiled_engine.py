"""The compiled epoch is the same training as `model.fit`: plain Keras objects in, the same losses and weights out."""

from __future__ import annotations

import math
import os
import signal
import threading
import time

import numpy as np
import pytest

from trainyard.data import load_dataset
from trainyard.data.batches import BatchMaker, plan_batches
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.errors import TrainingError
from trainyard.system import tensorflow_setup
from trainyard.system.progress import Progress
from trainyard.training import compiled_engine as engine_module
from trainyard.training.compiled_engine import CompiledEngine
from trainyard.training.engine import EpochPlan
from trainyard.training.fit_engine import FitEngine
from trainyard.training.trainer import choose_engine, compile_model, train
from trainyard.training.xla import choose_xla

BATCH = 32
IMAGES = 300
STEPS = math.ceil(IMAGES / BATCH)


@pytest.fixture
def digits(tiny) -> Dataset:
    """300 digits: nine batches of 32 and one of 12."""
    config = tiny()
    return load_dataset(config.dataset, 0)


def _silent(epoch: int, done: int, steps: int) -> None:
    """Takes no notice."""


def _loss_trace(keras):
    """A Keras metric that keeps the loss of every step of an epoch: what the two engines are compared by."""

    class LossTrace(keras.metrics.Metric):
        def __init__(self):
            super().__init__(name="trace", dtype="float32")
            self.losses = self.add_weight(shape=(STEPS,), initializer="zeros", name="losses")
            self.step = self.add_weight(shape=(), initializer="zeros", name="step", dtype="int32")

        def update_state(self, y_true, y_pred, sample_weight=None):
            loss = keras.ops.mean(
                keras.losses.sparse_categorical_crossentropy(y_true, keras.ops.cast(y_pred, "float32"))
            )
            here = keras.ops.cast(keras.ops.equal(keras.ops.arange(STEPS), self.step), "float32")
            self.losses.assign(self.losses + here * loss)
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
    """Trains one network; `xla` None stands for fit. Returns its weights and the losses of the last epoch's steps."""
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


def _cosine(keras):
    return keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, decay_steps=STEPS))


def _loss_scaled(keras):
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01), initial_scale=2.0**12)


CASES = {
    "sgd": ({}, lambda keras: keras.optimizers.SGD(0.1)),
    "momentum": ({}, lambda keras: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)),
    "adam": ({}, lambda keras: keras.optimizers.Adam(0.01)),
    "adamw": ({}, lambda keras: keras.optimizers.AdamW(0.01, weight_decay=0.01)),
    "rmsprop": ({}, lambda keras: keras.optimizers.RMSprop(0.01, momentum=0.5, centered=True)),
    "batch norm": ({"norm": True}, lambda keras: keras.optimizers.SGD(0.1)),
    "l2": ({"l2": 0.01}, lambda keras: keras.optimizers.SGD(0.1)),
    "schedule": ({}, _cosine),
    "clipvalue": ({}, lambda keras: keras.optimizers.SGD(0.5, clipvalue=0.01)),
    "clipnorm": ({}, lambda keras: keras.optimizers.SGD(0.5, clipnorm=0.1)),
    "global_clipnorm": ({}, lambda keras: keras.optimizers.SGD(0.5, global_clipnorm=0.2)),
    "ema": ({}, lambda keras: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9)),
    "accumulation": ({}, lambda keras: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)),
    "dropout": ({"dropout": 0.3}, lambda keras: keras.optimizers.SGD(0.1)),
    "mixed_float16": ({"policy": "mixed_float16"}, _loss_scaled),
    "mixed_bfloat16": ({"policy": "mixed_bfloat16"}, lambda keras: keras.optimizers.Adam(0.01)),
}
HALF = ("mixed_float16", "mixed_bfloat16")
STEP_TOLERANCE = 2e-5
XLA_STEPS, XLA_TOLERANCE = 5, 2e-4
"""Under XLA sums run in another order; the losses of the first steps still agree to this."""


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_without_xla_every_step_is_that_of_fit(keras, digits, case):
    network, optimizer = CASES[case]
    (ours, losses), (theirs, expected) = (
        _run(keras, lambda keras: _network(keras, **network), digits, optimizer, xla=xla) for xla in (False, None)
    )
    assert (expected > 0).all()
    assert expected.std() > 0
    assert np.abs(losses - expected).max() < (5e-3 if case in HALF else STEP_TOLERANCE)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert np.allclose(mine, other, atol=2e-2 if case in HALF else 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case not in ("dropout", *HALF)])
def test_with_xla_the_first_steps_are_those_of_fit(keras, digits, case):
    """Dropout draws other numbers under XLA, and half precision rounds too coarsely to compare."""
    network, optimizer = CASES[case]
    (_, losses), (_, expected) = (
        _run(keras, lambda keras: _network(keras, **network), digits, optimizer, xla=xla) for xla in (True, None)
    )
    assert np.abs(losses - expected)[:XLA_STEPS].max() < XLA_TOLERANCE
    assert losses[-1] == pytest.approx(expected[-1], rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["dropout", *HALF])
def test_with_xla_dropout_and_half_precision_learn_as_well(keras, digits, case):
    network, optimizer = CASES[case]
    (_, losses), (_, expected) = (
        _run(keras, lambda keras: _network(keras, **network), digits, optimizer, xla=xla, epochs=5)
        for xla in (True, None)
    )
    assert losses.mean() == pytest.approx(expected.mean(), rel=0.25)


def test_the_short_batch_is_trained_on(keras, digits):
    """The last step of an epoch sees the 12 images that are left, and the optimizer counts it."""
    model, losses = _run(keras, _network, digits, lambda keras: keras.optimizers.SGD(0.1), xla=True, epochs=2)
    assert losses[-1] > 0
    assert int(model.optimizer.iterations.numpy()) == 2 * STEPS == 20


def test_the_average_of_the_weights_is_put_in_place_at_the_end(keras, digits):
    """Keras finalizes an EMA when fit ends; the engine does too."""
    _, optimizer = CASES["ema"]
    (ours, _), (theirs, _), (plain, _) = (
        _run(keras, _network, digits, chosen, xla=xla)
        for chosen, xla in ((optimizer, False), (optimizer, None), (CASES["adam"][1], False))
    )
    assert np.allclose(ours.get_weights()[0], theirs.get_weights()[0], atol=1e-5)
    assert not np.allclose(ours.get_weights()[0], plain.get_weights()[0], atol=1e-3)


# ---------------------------------------------------------------------------------------------------------------
# Callbacks


@pytest.mark.parametrize("xla", [True, None])
def test_keras_callbacks_at_epoch_ends_work(keras, tiny, tmp_path, xla):
    """Early stopping, plateau, checkpoint and a user's own, in the order of fit, with Keras's keys."""
    dataset = load_dataset(tiny("dataset.validation_fraction=0.2").dataset, 0)
    seen = []

    class Own(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(("train begins", self.params["epochs"], self.params["steps"]))

        def on_epoch_begin(self, epoch, logs=None):
            seen.append(("epoch begins", epoch))

        def on_test_end(self, logs=None):
            seen.append(("test ends", *sorted(logs)))

        def on_epoch_end(self, epoch, logs=None):
            seen.append(("epoch ends", epoch, *sorted(logs)))
            if epoch == 3:
                self.model.stop_training = True

        def on_train_end(self, logs=None):
            seen.append(("train ends", *sorted(logs)))

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
            Own(),
        ],
    )
    keys = ("learning_rate", "loss", "trace", "val_loss", "val_trace")  # the rate is added by ReduceLROnPlateau
    assert seen[0] == ("train begins", 9, 8)
    assert seen[1:4] == [("epoch begins", 0), ("test ends", "loss", "trace"), ("epoch ends", 0, *keys)]
    assert seen[-2:] == [("epoch ends", 3, *keys), ("train ends", *keys[1:])]
    assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(0.1 * 0.5**3)
    assert best.stat().st_size > 0
    assert model.history.history["val_loss"] == sorted(model.history.history["val_loss"], reverse=True)


def test_validation_is_what_keras_evaluates(keras, tiny):
    config = tiny("dataset.validation_fraction=0.5", "model.batch_norm=true", "model.l2=0.1")
    tensorflow_setup.configure_tensorflow(0, None)
    dataset = load_dataset(config.dataset, 0)
    model = config.model.build(dataset.spec)
    result = train(model, dataset, config, Progress(), lambda epoch, metrics: None)
    scaled = dataset.validation.images / np.float32(dataset.spec.pixel_max)
    loss, accuracy = model.evaluate(scaled, dataset.validation.labels, verbose=0)
    assert result.history[-1]["loss/val"] == pytest.approx(loss, rel=1e-5)
    assert result.history[-1]["accuracy/val"] == pytest.approx(accuracy)


# ---------------------------------------------------------------------------------------------------------------
# Spans


def test_an_epoch_is_cut_into_spans_that_change_nothing(keras, digits, monkeypatch):
    told = []
    weights = []
    for first, seconds in ((1, 0.0), (4, 1.0)):
        monkeypatch.setattr(engine_module, "_FIRST_SPAN_STEPS", first)
        monkeypatch.setattr(engine_module, "SPAN_SECONDS", seconds)
        model = _network(keras)
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", jit_compile=False)
        model.optimizer.build(model.trainable_variables)
        compiled = CompiledEngine(model, digits, BatchMaker(digits.spec), BATCH, xla=True)
        told.append([])
        compiled.run(EpochPlan(1, BATCH, 1), [], lambda *steps: told[-1].append(steps))
        weights.append(model.get_weights())
    assert told[0] == [(1, step, 10) for step in range(1, 11)]
    assert told[1][-1] == (1, 10, 10)
    assert len(told[1]) < 6
    for mine, other in zip(*weights, strict=True):
        assert np.array_equal(mine, other)


def test_a_batch_may_be_larger_than_the_data(keras, tiny):
    """Then the one short batch is all there is, and nothing is there for XLA to compile."""
    config = tiny("training.batch_size=512", "training.xla=on")
    dataset = load_dataset(config.dataset, 0)
    model = config.model.build(dataset.spec)
    result = train(model, dataset, config, Progress(), lambda epoch, metrics: None)
    assert (result.engine, len(result.history)) == ("compiled", 2)
    assert int(model.optimizer.iterations.numpy()) == 2


def test_a_signal_is_heard_within_two_seconds(keras, tiny):
    """An epoch of a minute is left soon after the signal, because the program comes back about every second."""
    generator = np.random.default_rng(0)
    split = Split(generator.integers(0, 17, (400_000, 8, 8), dtype=np.uint8), np.zeros(400_000, np.uint8))
    dataset = Dataset("noise", DataSpec((8, 8), tuple("0123456789"), 16), split, split, "here")
    config = tiny("model.hidden_units=[512,512]", "training.batch_size=16", "training.epochs=1")
    model = config.model.build(dataset.spec)
    sent = []

    def kill() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    class Starter(Progress):
        def step(self, epoch, epochs, step, steps):
            if not sent and step > 200:
                sent.append(0.0)
                threading.Timer(0.3, kill).start()

    with pytest.raises(KeyboardInterrupt):
        train(model, dataset, config, Starter(), lambda epoch, metrics: None)
    assert time.monotonic() - sent[-1] < 2


# ---------------------------------------------------------------------------------------------------------------
# Breaking down


@pytest.mark.parametrize("xla", ["on", "off"])
def test_a_nan_stops_the_run_in_its_span(keras, tiny, xla):
    """A NaN that gets into a weight is found at the end of the span, under a finite loss too (relu and oneDNN)."""
    config = tiny("training.epochs=3", "model.activation=relu", f"training.xla={xla}")
    tensorflow_setup.configure_tensorflow(0, None)
    dataset = load_dataset(config.dataset, 0)
    model = config.model.build(dataset.spec)

    class Poison(Progress):
        def step(self, epoch, epochs, step, steps):
            if (epoch, step) == (2, 9):
                weights = model.get_weights()
                weights[1][0] = np.nan
                model.set_weights(weights)

    with pytest.raises(TrainingError, match=r"broke down in epoch 2: .*(is nan|hidden_1/bias.* holds a NaN).* step 10"):
        train(model, dataset, config, Poison(), lambda epoch, metrics: None)


# ---------------------------------------------------------------------------------------------------------------
# Which engine, and XLA or not


def _choice(keras, config, model=None, callbacks=()):
    dataset = load_dataset(config.dataset, 0)
    model = model or config.model.build(dataset.spec)
    compile_model(model, config, batches_per_epoch=10)
    return choose_engine(model, dataset, plan_batches(config, dataset, 0), config, callbacks)


def _convolutional(keras):
    return keras.Sequential(
        [
            keras.layers.Input((8, 8)),
            keras.layers.Reshape((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def test_auto_takes_the_program_and_xla_for_a_dense_network(keras, tiny):
    choice = _choice(keras, tiny("model.batch_norm=true", "model.l2=0.1"))
    assert (choice.engine.name, choice.reason) == ("compiled", "the fastest that can do the job")
    assert str(choice.xla) == "on: a network without convolution, pooling or dropout, on a CPU"
    assert choice.engine.compile_seconds > 0


def test_auto_leaves_xla_out_for_dropout(keras, tiny):
    """Drawing the numbers takes XLA several times as long as the whole rest of the step."""
    assert str(_choice(keras, tiny("model.dropout=0.2")).xla).startswith("off: on a CPU XLA is slow at StatelessRandom")


def test_auto_leaves_xla_out_for_convolutions_wherever_they_hide(keras, tiny):
    choice = _choice(keras, tiny(), _convolutional(keras))
    assert (choice.engine.name, choice.xla.on) == ("compiled", False)
    assert choice.xla.reason == "on a CPU XLA is slow at Conv2D, MaxPool"

    class Hidden(keras.layers.Layer):
        def call(self, images):
            import tensorflow as tf

            return tf.nn.conv2d(images[..., None], tf.ones((3, 3, 1, 2)), 1, "SAME")

    own = keras.Sequential([keras.layers.Input((8, 8)), keras.Sequential([Hidden()]), keras.layers.Flatten()])
    assert str(choose_xla(own, "auto", "seeded", (8, 8))) == "off: on a CPU XLA is slow at Conv2D"


@pytest.mark.parametrize(
    ("overrides", "engine", "xla"),
    [
        (["training.xla=off"], "compiled", "off: asked for by training.xla"),
        (["training.xla=on"], "compiled", "on: asked for by training.xla"),
        (["training.engine=fit"], "fit", "off: Keras's own loop runs without it"),
        (["training.engine=fit", "training.xla=on"], "fit", "on: asked for by training.xla"),
        (
            ["training.determinism=strict"],
            "compiled",
            "off: determinism is strict, and XLA rounds otherwise than TensorFlow does",
        ),
    ],
    ids=str,
)
def test_what_the_config_asks_for_is_done(keras, tiny, overrides, engine, xla):
    choice = _choice(keras, tiny(*overrides))
    assert (choice.engine.name, str(choice.xla)) == (engine, xla)


def test_what_xla_cannot_compile_is_done_without_it(keras, tiny):
    import tensorflow as tf

    class Unsupported(keras.layers.Layer):
        def call(self, images):
            return images + tf.strings.to_number(tf.strings.as_string(0.0 * images))

    def model():
        return keras.Sequential(
            [keras.layers.Input((8, 8)), Unsupported(), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
        )

    choice = _choice(keras, tiny(), model())
    assert (choice.engine.name, choice.xla.on) == ("compiled", False)
    assert choice.xla.reason.startswith("XLA can't compile the model: ")
    with pytest.raises(TrainingError, match=r"training\.xla: XLA can't compile the model: .*Leave it at auto"):
        _choice(keras, tiny("training.xla=on"), model())


def test_what_the_program_cannot_do_goes_through_fit_aloud(keras, tiny):
    class EveryBatch(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1

    told, callback = [], EveryBatch()

    class Listener(Progress):
        def detail(self, text):
            told.append(text)

    config = tiny("training.epochs=2")
    dataset = load_dataset(config.dataset, 0)
    model = config.model.build(dataset.spec)
    result = train(model, dataset, config, Listener(), lambda epoch, metrics: None, callbacks=[callback])
    assert result.engine == "fit"
    assert told[0] == "engine fit: Keras's own loop, because EveryBatch wants to be called for each batch"
    assert callback.batches == 2 * STEPS
    with pytest.raises(TrainingError, match=r"training\.engine: expected a training that can be compiled, but EveryBa"):
        _choice(keras, tiny("training.engine=compiled"), callbacks=[EveryBatch()])


def test_a_model_that_cannot_be_traced_goes_through_fit_aloud(keras, tiny):
    class Eager(keras.Sequential):
        def train_step(self, data):
            float(data[1][0])  # a value, which a program that is being traced does not have
            return super().train_step(data)

    model = Eager([keras.layers.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")])
    choice = _choice(keras, tiny(), model)
    assert choice.engine.name == "fit"
    assert choice.reason.startswith("Keras's own loop, because the model can't be compiled into a program: ")

"""Errors of Keras and TensorFlow during a training are reported with the layer that failed."""

from __future__ import annotations

import re

import pytest

from trainyard.config.compose import compose_config
from trainyard.data import load_dataset
from trainyard.errors import TrainingError
from trainyard.system.progress import Progress
from trainyard.training.trainer import train

ENGINES = ("compiled", "fit")


def _build_model(keras, kind, *, nested=False):
    """Builds a model with a layer `broken`, which fails while it is traced, while it runs, or when XLA compiles it."""
    import tensorflow as tf

    class Broken(keras.layers.Layer):
        def call(self, inputs, training=False):
            if not training:
                return inputs
            if kind == "traced":
                raise ValueError("expected four axes")
            if kind == "running":
                return tf.debugging.check_numerics(inputs / 0.0, "a division by zero")
            return inputs + tf.strings.to_number(tf.strings.as_string(0.0 * inputs))

    broken = Broken(name="broken")
    if nested:
        broken = keras.Sequential([keras.layers.Dense(16, name="inside"), broken], name="block")
    return keras.Sequential(
        [keras.layers.Input((8, 8)), keras.layers.Flatten(), broken, keras.layers.Dense(10, "softmax", name="last")]
    )


def _train(config, model, **arguments):
    return train(model, load_dataset(config.dataset, 0), config, Progress(), lambda epoch, metrics: None, **arguments)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("kind", "engine", "error"),
    [
        ("traced", "compiled", "ValueError: expected four axes"),
        ("traced", "fit", "ValueError: expected four axes"),
        ("traced", "auto", "ValueError: expected four axes"),
        ("running", "compiled", "InvalidArgumentError: .*a division by zero"),
        ("running", "fit", "InvalidArgumentError: .*a division by zero"),
    ],
)
def test_an_error_in_a_layer_names_the_layer(keras, tiny, *, kind, engine, error, nested):
    config = tiny(f"training.engine={engine}")
    with pytest.raises(TrainingError, match=rf"layer broken \(Broken\) failed: {error}") as caught:
        _train(config, _build_model(keras, kind, nested=nested))
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(" Set ") + str(caught.value).count(" Change ") == 1
    assert keras.config.is_traceback_filtering_enabled()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_layer_that_xla_cannot_compile_is_named(keras, tiny, engine):
    config = tiny("training.xla=on", f"training.engine={engine}")
    with pytest.raises(TrainingError, match=r"layer broken \(Broken\) failed: InvalidArgumentError"):
        _train(config, _build_model(keras, "xla"))


def test_an_error_outside_of_a_layer_names_the_training_step(keras, tiny):
    class Eager(keras.Sequential):
        def train_step(self, data):
            raise TypeError("no labels")

    model = Eager([keras.layers.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")])
    with pytest.raises(TrainingError, match=r"training, in epoch 1: the training step failed: TypeError: no labels\. "):
        _train(tiny(), model)


@pytest.mark.parametrize("engine", ENGINES)
def test_errors_of_callbacks_are_not_changed(keras, tiny, engine):
    class Mistake(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyError("val_loss")

    config = tiny(f"training.engine={engine}")
    model = config.model.build(load_dataset(config.dataset, 0).spec)
    with pytest.raises(KeyError, match="val_loss"):
        _train(config, model, callbacks=[Mistake()])


@pytest.mark.parametrize("engine", ENGINES)
def test_errors_of_a_progress_are_not_changed(keras, tiny, engine):
    class Mistake(Progress):
        def step(self, epoch, epochs, step, steps):
            raise ZeroDivisionError

    config = tiny(f"training.engine={engine}")
    dataset = load_dataset(config.dataset, 0)
    with pytest.raises(ZeroDivisionError):
        train(config.model.build(dataset.spec), dataset, config, Mistake(), lambda epoch, metrics: None)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_penalty_of_outputs_with_mixed_precision_is_refused_for_any_model(keras, tiny, engine):
    config = tiny("training.precision=mixed_bfloat16", f"training.engine={engine}")
    layers = keras.layers
    penalised = layers.Dense(8, activity_regularizer="l2", dtype="mixed_bfloat16", name="penalised")
    model = keras.Sequential([layers.Input((8, 8)), layers.Flatten(), penalised, layers.Dense(10, "softmax")])
    message = "layer penalised: activity_regularizer is not possible with training.precision=mixed_bfloat16"
    with pytest.raises(TrainingError, match=re.escape(message)):
        _train(config, model)


@pytest.mark.parametrize("engine", ENGINES)
def test_penalties_of_weights_are_possible_with_mixed_precision(train_model, engine):
    layers = (
        "{SeparableConv2D:{filters:2,kernel_size:3,depthwise_regularizer:{l2:0.1},pointwise_regularizer:{l1:0.1}}}",
        "{BatchNormalization:{beta_regularizer:{l1:0.1},gamma_regularizer:{l2:0.1}}}",
        "{PReLU:{alpha_regularizer:{l2:0.1}}}",
        "{Reshape:{target_shape:[6,12]}}",
        "{GRU:{units:3,kernel_regularizer:{l2:0.1},recurrent_regularizer:{l2:0.1},bias_regularizer:{l1:0.1}}}",
    )
    config = compose_config(
        ["dataset.limit=64", "model=sequential", f"model.layers=[{','.join(layers)}]", "training.epochs=1",
         "training.xla=off", "training.precision=mixed_bfloat16", f"training.engine={engine}"]
    )  # fmt: skip
    _, _, result = train_model(config)
    assert result.engine == engine

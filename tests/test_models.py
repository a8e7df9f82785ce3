from __future__ import annotations

import numpy as np
import pytest

from trainyard.errors import ConfigError
from trainyard.images import DataSpec
from trainyard.models import ACTIVATIONS, INITIALIZERS, Mlp, with_raw_pixels
from trainyard.registry import register_model
from trainyard.schema import LossConfig

MNIST = DataSpec((28, 28), tuple("0123456789"), 255)
TINY = DataSpec((4, 4), ("a", "b", "c"), 16)


def test_the_published_architecture_has_the_published_parameters(keras):
    model = Mlp().build(MNIST)
    assert model.count_params() == 316_810
    assert [type(layer).__name__ for layer in model.layers] == ["Flatten", "Dense", "Dense", "Dense", "Dense"]
    assert [layer.units for layer in model.layers[1:]] == [300, 200, 100, 10]
    assert [layer.activation.__name__ for layer in model.layers[1:]] == ["relu", "relu", "relu", "softmax"]


def test_every_field_reaches_its_layer(keras):
    model = Mlp(hidden_units=[8, 4], activation=["tanh", "elu"], dropout=0.25, l2=0.5, initializer="he_normal").build(
        TINY
    )
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Flatten", "Dense", "Dropout", "Dense", "Dropout", "Dense"]
    first, second = model.layers[1], model.layers[3]
    assert (first.activation.__name__, second.activation.__name__) == ("tanh", "elu")
    assert model.layers[2].rate == 0.25
    assert float(first.kernel_regularizer.l2) == 0.5
    assert type(first.kernel_initializer).__name__ == "HeNormal"
    assert model.layers[-1].kernel_regularizer is None


def test_batch_norm_stands_between_product_and_activation(keras):
    model = Mlp(hidden_units=[8], batch_norm=True).build(TINY)
    assert [type(layer).__name__ for layer in model.layers] == [
        "Flatten", "Dense", "BatchNormalization", "Activation", "Dense",
    ]  # fmt: skip
    assert model.layers[1].use_bias is False


def test_colour_images_are_taken(keras):
    assert Mlp(hidden_units=[4]).build(DataSpec((4, 4, 3), ("a", "b"), 255)).input_shape == (None, 4, 4, 3)


def test_the_names_that_a_config_may_use_are_keras_names(keras):
    for name in ACTIVATIONS:
        keras.activations.get(name)
    for name in INITIALIZERS:
        keras.initializers.get(name)


def test_labels_tell_models_apart():
    assert Mlp().label == "300x200x100 relu"
    assert Mlp(hidden_units=[64, 32], activation=["relu", "tanh"]).label == "64x32 relu,tanh"


def test_a_served_model_takes_raw_pixels_and_carries_no_optimizer(keras, tmp_path):
    model = Mlp(hidden_units=[8], batch_norm=True, dropout=0.5).build(MNIST)
    model.compile("adam", "sparse_categorical_crossentropy")
    raw = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    model.fit(raw / np.float32(255), np.arange(5), verbose=0)
    expected = model.predict(raw / np.float32(255), verbose=0)
    with_raw_pixels(model, MNIST).save(tmp_path / "served.keras")
    served = keras.models.load_model(tmp_path / "served.keras")
    assert np.allclose(served.predict(raw, verbose=0), expected, atol=1e-6)
    assert served.count_params() == model.count_params()
    assert model.optimizer is not None


def test_registering_checks_what_is_registered():
    with pytest.raises(ConfigError, match="expected a subclass of ModelConfig"):
        register_model("wrong")(LossConfig)
    with pytest.raises(ConfigError, match="registered twice"):
        register_model("mlp")(type("Other", (Mlp,), {}))

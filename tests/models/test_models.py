from __future__ import annotations

import numpy as np
import pytest

from trainyard.config.compose import compose_config
from trainyard.config.registry import register_model
from trainyard.config.schema import LossConfig
from trainyard.data.dataset import DataSpec
from trainyard.errors import ConfigError, TrainingError
from trainyard.models import Cnn, Mlp, Sequential, with_raw_pixels
from trainyard.models.blocks import ACTIVATIONS, INITIALIZERS
from trainyard.models.layers import LAYERS, REQUIRED

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


def _kinds(model):
    return [type(layer).__name__ for layer in model.layers]


def test_a_cnn_takes_grey_and_colour_images(keras):
    grey = Cnn(filters=[4, 8], kernel_size=[5, 3], dense_units=[16]).build(MNIST)
    assert _kinds(grey) == ["Reshape", "Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dense"]
    assert [layer.kernel_size for layer in grey.layers if hasattr(layer, "kernel_size")] == [(5, 5), (3, 3)]
    assert grey.output_shape == (None, 10)
    assert Cnn(filters=[4]).build(DataSpec((6, 4, 3), ("a", "b"), 255)).input_shape == (None, 6, 4, 3)


def test_every_field_of_a_cnn_reaches_its_layer(keras):
    model = Cnn(
        filters=[4], convolutions=2, pooling="average", pool_size=3, global_pooling="max", padding="valid",
        activation="tanh", batch_norm=True, dropout=0.1, dense_units=[8], dense_dropout=0.4, l2=0.5,
        initializer="he_normal",
    ).build(MNIST)  # fmt: skip
    convolution = ["Conv2D", "BatchNormalization", "Activation"]
    dense = ["Dense", "BatchNormalization", "Activation", "Dropout", "Dense"]
    assert _kinds(model) == [
        "Reshape", *convolution, *convolution, "AveragePooling2D", "Dropout", "GlobalMaxPooling2D", *dense,
    ]  # fmt: skip
    first = model.get_layer("conv_1_1")
    assert (first.padding, first.use_bias, type(first.kernel_initializer).__name__) == ("valid", False, "HeNormal")
    assert float(model.get_layer("dense_1").kernel_regularizer.l2) == 0.5
    assert model.get_layer("dense_1_activation").activation.__name__ == "tanh"
    assert (model.get_layer("dropout_1").rate, model.get_layer("dense_dropout_1").rate) == (0.1, 0.4)
    assert model.get_layer("pool_1").pool_size == (3, 3)


def test_images_too_small_for_a_cnn_are_told(keras):
    with pytest.raises(
        TrainingError,
        match=r"model\.filters: images of 8 x 8 pixels are too small for block 2: Computed output size would",
    ):
        Cnn(filters=[4, 4, 4], padding="valid", dense_units=[]).build(DataSpec((8, 8), ("a", "b"), 16))


def test_layers_are_written_out_and_the_output_is_added(keras):
    model = Sequential(
        layers=[
            {"Conv2D": {"filters": 4, "kernel_size": [3, 3], "kernel_regularizer": {"l2": 0.1}}},
            "ReLU",
            {"MaxPooling2D": None},
            {"ZeroPadding2D": {"padding": [[1, 0], [0, 1]]}},
        ]
    ).build(MNIST)
    assert _kinds(model) == ["Reshape", "Conv2D", "ReLU", "MaxPooling2D", "ZeroPadding2D", "Flatten", "Dense"]
    assert float(model.layers[1].kernel_regularizer.l2) == pytest.approx(0.1)
    assert model.layers[-1].units == 10


def test_layers_take_colour_images_as_they_are(keras):
    model = Sequential(layers=[{"Conv2D": {"filters": 4, "kernel_size": 3}}]).build(DataSpec((6, 4, 3), ("a", "b"), 1))
    assert _kinds(model) == ["Conv2D", "Flatten", "Dense"]
    assert model.input_shape == (None, 6, 4, 3)


def test_recurrent_layers_read_an_image_row_by_row(keras):
    model = Sequential(layers=[{"Reshape": {"target_shape": [28, 28]}}, {"GRU": {"units": 4}}]).build(MNIST)
    assert _kinds(model) == ["Reshape", "Reshape", "GRU", "Dense"]


def test_a_layer_that_does_not_fit_is_told_by_its_index(keras):
    with pytest.raises(
        TrainingError, match=r"model\.layers\[1\]: Conv2D can't take what comes before it, of shape \(784"
    ):
        Sequential(layers=["Flatten", {"Conv2D": {"filters": 4, "kernel_size": 3}}]).build(MNIST)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("[]", r"model\.layers: expected a list .*: it must not be empty"),
        ("[Lambda]", r"model\.layers\[0\]: unknown layer 'Lambda'\. .*Available: Activation, "),
        ("[Flatten,Dens]", r"model\.layers\[1\]: unknown layer 'Dens'\. Did you mean 'Dense'\?"),
        ("[3]", r"model\.layers\[0\]: expected a layer, Flatten or"),
        ("[{Dense:{units:3},Flatten:null}]", r"model\.layers\[0\]: expected a layer"),
        ("[{Dense:[3]}]", r"model\.layers\[0\]: Dense: expected a mapping of its arguments, got \[3\]"),
        ("[Dense]", r"model\.layers\[0\]: Dense: units is missing, a whole number of at least 1"),
        ("[{Dense:{units:0}}]", r"model\.layers\[0\]: Dense\.units: expected a whole number of at least 1, got 0"),
        ("[{Dense:{units:3,activaton:relu}}]", r"unknown argument 'activaton'\. Did you mean 'activation'\?"),
        ("[{Flatten:{size:3}}]", r"Flatten: unknown argument 'size'\. It takes none"),
        ("[{Dropout:{rate:1.0}}]", r"Dropout\.rate: expected a number of at least 0 and below 1, got 1\.0"),
        ("[{Dense:{units:3,activation:{class_name:Lambda}}}]", r"Dense\.activation: expected one of celu, "),
        ("[{Dense:{units:3,kernel_regularizer:{l3:1}}}]", r"Dense\.kernel_regularizer: expected a mapping such as"),
        ("[Activation]", r"Activation: activation is missing"),
    ],
)
def test_layers_are_checked_before_keras_is_there(layers, message):
    with pytest.raises(ConfigError, match=message):
        compose_config(["model=sequential", f"model.layers={layers}"])


def test_the_allowlist_names_what_keras_has(keras):
    import inspect

    for name, arguments in LAYERS.items():
        signature = inspect.signature(getattr(keras.layers, name).__init__).parameters
        assert arguments.keys() <= signature.keys(), name
        required = {each for each, parameter in signature.items() if parameter.default is inspect.Parameter.empty}
        required -= {"self", "kwargs"}
        ours = {each for each in arguments if each in REQUIRED or name == "Activation"}
        required -= {"pool_size"} if name.startswith("AveragePooling") else set()
        assert required == ours, name
    assert "Lambda" not in LAYERS


def test_pooling_has_a_size_by_itself(keras):
    for name in ("MaxPooling2D", "AveragePooling2D"):
        model = compose_config(["model=sequential", f"model.layers=[{name},Flatten]"]).model.build(MNIST)
        assert model.layers[1].pool_size == (2, 2), name


@pytest.mark.parametrize("model", ["cnn", "sequential"])
def test_each_architecture_trains_and_loads_back(keras, tiny, model):
    from trainyard import load_config, run_experiment

    small = ["model.filters=[4]"] if model == "cnn" else ["model.layers=[Flatten,{Dense:{units:16,activation:relu}}]"]
    base = [f"model={model}", "dataset.limit=300", "training.epochs=2", "tracking=off"]
    result = run_experiment(compose_config([*base, *small]))
    loaded = keras.models.load_model(result.folder / "model.h5")
    assert np.allclose(loaded.predict_on_batch(result.dataset.spec.scale(result.dataset.test.images)),
                       result.evaluation.probabilities, atol=1e-6)  # fmt: skip
    assert load_config(result.folder / "config.yaml") == result.config


def test_labels_of_the_others_tell_them_apart_too():
    assert Cnn().label == "cnn 32x64 128"
    assert Cnn(dense_units=[]).label == "cnn 32x64"
    assert Sequential().label == "Flatten Dense128"
    assert Sequential(layers=["Flatten"] * 5).label == "Flatten Flatten Flatten +2"


def test_registering_checks_what_is_registered():
    with pytest.raises(ConfigError, match="expected a subclass of ModelConfig"):
        register_model("wrong")(LossConfig)
    with pytest.raises(ConfigError, match="registered twice"):
        register_model("mlp")(type("Other", (Mlp,), {}))

from __future__ import annotations

import dataclasses
import io
import zipfile

import h5py
import numpy as np
import pytest

from trainyard.config.compose import compose_config
from trainyard.config.registry import register_model
from trainyard.config.schema import LossConfig
from trainyard.config.validation import validate_config
from trainyard.data.dataset import DataSpec
from trainyard.errors import ConfigError, TrainingError
from trainyard.models import Cnn, Mlp, Sequential, build_serving_model
from trainyard.models.blocks import ACTIVATIONS, INITIALIZERS
from trainyard.models.layers import LAYERS, REQUIRED_ARGUMENTS, list_required_arguments

MNIST = DataSpec((28, 28), tuple("0123456789"), 255)
TINY = DataSpec((4, 4), ("a", "b", "c"), 16)


def test_the_published_architecture_has_the_published_number_of_parameters(keras):
    model = Mlp().build(MNIST)
    assert model.count_params() == 316_810
    assert [type(layer).__name__ for layer in model.layers] == ["Flatten", "Dense", "Dense", "Dense", "Dense"]
    assert [layer.units for layer in model.layers[1:]] == [300, 200, 100, 10]
    assert [layer.activation.__name__ for layer in model.layers[1:]] == ["relu", "relu", "relu", "softmax"]


def test_each_field_of_an_mlp_configures_its_layer(keras):
    model = Mlp(hidden_units=[8, 4], activation=["tanh", "elu"], dropout=0.25, l2=0.5, initializer="he_normal").build(
        TINY
    )
    names = [type(layer).__name__ for layer in model.layers]
    assert names == ["Flatten", "Dense", "Dropout", "Dense", "Dropout", "Dense"]
    first, second = model.layers[1], model.layers[3]
    assert (first.activation.__name__, second.activation.__name__) == ("tanh", "elu")
    assert model.layers[2].rate == 0.25
    assert float(first.kernel_regularizer.l2) == 0.5
    assert type(first.kernel_initializer).__name__ == "HeNormal"
    assert model.layers[-1].kernel_regularizer is None


def test_batch_norm_is_between_the_dense_layer_and_its_activation(keras):
    model = Mlp(hidden_units=[8], batch_norm=True).build(TINY)
    assert [type(layer).__name__ for layer in model.layers] == [
        "Flatten", "Dense", "BatchNormalization", "Activation", "Dense",
    ]  # fmt: skip
    assert model.layers[1].use_bias is False


def test_an_mlp_accepts_colour_images(keras):
    assert Mlp(hidden_units=[4]).build(DataSpec((4, 4, 3), ("a", "b"), 255)).input_shape == (None, 4, 4, 3)


def test_allowed_activations_and_initializers_exist_in_keras(keras):
    for name in ACTIVATIONS:
        keras.activations.get(name)
    for name in INITIALIZERS:
        keras.initializers.get(name)


def test_labels_distinguish_mlps():
    assert Mlp().label == "300x200x100 relu"
    assert Mlp(hidden_units=[64, 32], activation=["relu", "tanh"]).label == "64x32 relu,tanh"


def test_a_serving_model_accepts_raw_pixels_and_has_no_optimizer(keras, tmp_path):
    model = Mlp(hidden_units=[8], batch_norm=True, dropout=0.5).build(MNIST)
    model.compile("adam", "sparse_categorical_crossentropy")
    generator = np.random.default_rng(0)
    model.set_weights([generator.uniform(0.1, 0.5, weight.shape) for weight in model.get_weights()])
    raw = generator.integers(0, 256, (5, 28, 28), dtype=np.uint8)
    expected = model.predict(raw / np.float32(255), verbose=0)
    build_serving_model(model, MNIST).save(tmp_path / "served.keras")
    served = keras.models.load_model(tmp_path / "served.keras")
    assert np.allclose(served.predict(raw, verbose=0), expected, atol=1e-6)
    assert served.count_params() == model.count_params()
    assert model.optimizer is not None
    with zipfile.ZipFile(tmp_path / "served.keras") as saved:
        names = [name for name in saved.namelist() if name.endswith(".h5")]
        (weights,) = (h5py.File(io.BytesIO(saved.read(name))) for name in names)
        assert "adam" not in saved.read("config.json").decode()
    stored = []
    weights.visititems(lambda _, item: stored.append(item.size) if isinstance(item, h5py.Dataset) else None)
    assert sum(stored) == model.count_params()


def _layer_types(model):
    return [type(layer).__name__ for layer in model.layers]


def test_a_cnn_accepts_grayscale_and_colour_images(keras):
    grayscale = Cnn(filters=[4, 8], kernel_size=[5, 3], dense_units=[16]).build(MNIST)
    assert _layer_types(grayscale) == [
        "Reshape",
        "Conv2D",
        "MaxPooling2D",
        "Conv2D",
        "MaxPooling2D",
        "Flatten",
        "Dense",
        "Dense",
    ]
    assert [layer.kernel_size for layer in grayscale.layers if hasattr(layer, "kernel_size")] == [(5, 5), (3, 3)]
    assert grayscale.output_shape == (None, 10)
    assert Cnn(filters=[4]).build(DataSpec((6, 4, 3), ("a", "b"), 255)).input_shape == (None, 6, 4, 3)


def test_each_field_of_a_cnn_configures_its_layer(keras):
    model = Cnn(
        filters=[4], convolutions=2, pooling="average", pool_size=3, global_pooling="max", padding="valid",
        activation="tanh", batch_norm=True, dropout=0.1, dense_units=[8], dense_dropout=0.4, l2=0.5,
        initializer="he_normal",
    ).build(MNIST)  # fmt: skip
    convolution = ["Conv2D", "BatchNormalization", "Activation"]
    dense = ["Dense", "BatchNormalization", "Activation", "Dropout", "Dense"]
    assert _layer_types(model) == [
        "Reshape", *convolution, *convolution, "AveragePooling2D", "Dropout", "GlobalMaxPooling2D", *dense,
    ]  # fmt: skip
    first = model.get_layer("conv_1_1")
    assert (first.padding, first.use_bias, type(first.kernel_initializer).__name__) == ("valid", False, "HeNormal")
    assert float(model.get_layer("dense_1").kernel_regularizer.l2) == 0.5
    assert model.get_layer("dense_1_activation").activation.__name__ == "tanh"
    assert (model.get_layer("dropout_1").rate, model.get_layer("dense_dropout_1").rate) == (0.1, 0.4)
    assert model.get_layer("pool_1").pool_size == (3, 3)


def test_images_that_are_too_small_for_a_cnn_are_an_error(keras):
    with pytest.raises(
        TrainingError,
        match=r"model\.filters: images of 8 x 8 pixels are too small for block 2: Computed output size would",
    ):
        Cnn(filters=[4, 4, 4], padding="valid", dense_units=[]).build(DataSpec((8, 8), ("a", "b"), 16))


def test_a_sequential_model_has_the_given_layers_and_an_output_layer(keras):
    model = Sequential(
        layers=[
            {"Conv2D": {"filters": 4, "kernel_size": [3, 3], "kernel_regularizer": {"l2": 0.1}}},
            "ReLU",
            {"MaxPooling2D": None},
            {"ZeroPadding2D": {"padding": [[1, 0], [0, 1]]}},
        ]
    ).build(MNIST)
    assert _layer_types(model) == ["Reshape", "Conv2D", "ReLU", "MaxPooling2D", "ZeroPadding2D", "Flatten", "Dense"]
    assert float(model.layers[1].kernel_regularizer.l2) == pytest.approx(0.1)
    assert model.layers[-1].units == 10


def test_a_sequential_model_accepts_colour_images_without_a_reshape(keras):
    model = Sequential(layers=[{"Conv2D": {"filters": 4, "kernel_size": 3}}]).build(DataSpec((6, 4, 3), ("a", "b"), 1))
    assert _layer_types(model) == ["Conv2D", "Flatten", "Dense"]
    assert model.input_shape == (None, 6, 4, 3)


def test_recurrent_layers_process_an_image_row_by_row(keras):
    model = Sequential(layers=[{"Reshape": {"target_shape": [28, 28]}}, {"GRU": {"units": 4}}]).build(MNIST)
    assert _layer_types(model) == ["Reshape", "Reshape", "GRU", "Dense"]


def test_a_layer_that_rejects_its_input_is_an_error_that_names_its_index(keras):
    with pytest.raises(TrainingError, match=r"model\.layers\[1\]: Conv2D does not accept its input, of shape \(784"):
        Sequential(layers=["Flatten", {"Conv2D": {"filters": 4, "kernel_size": 3}}]).build(MNIST)


ARGUMENTS = {
    "units": 5, "filters": 4, "kernel_size": 3, "rate": 0.5, "stddev": 0.1, "target_shape": [7, 112], "dims": [2, 1], "activation": "relu",
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_each_allowed_layer_can_be_built_with_only_its_required_arguments(keras, name):
    takes_rows = name.endswith("1D") or name in ("GRU", "LSTM", "SimpleRNN", "Permute")
    rows = [{"Reshape": {"target_shape": [28, 28]}}] if takes_rows else []
    channels = [{"Dense": {"units": 32}}] if name == "GroupNormalization" else []
    layer = {name: {argument: ARGUMENTS[argument] for argument in list_required_arguments(name)}}
    Sequential(layers=[*rows, *channels, layer]).build(MNIST)


@pytest.fixture(scope="module")
def sequential():
    """A config whose layers tests replace."""
    return compose_config(["model=sequential"])


def _dense(**arguments):
    return {"Dense": {"units": 3, **arguments}}


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], r"model\.layers: expected a list .*: it must not be empty"),
        (["Lambda"], r"model\.layers\[0\]: unknown layer 'Lambda'\. .*Available: Activation, "),
        (["Flatten", "Dens"], r"model\.layers\[1\]: unknown layer 'Dens'\. Did you mean 'Dense'\?"),
        ([3], r"model\.layers\[0\]: expected a layer, such as Flatten or"),
        ([{"Dense": {"units": 3}, "Flatten": None}], r"model\.layers\[0\]: expected a layer"),
        ([{"Dense": [3]}], r"model\.layers\[0\]: Dense: expected a mapping of arguments to values, got \[3\]"),
        (["Dense"], r"model\.layers\[0\]: Dense: units is missing; expected an integer of at least 1"),
        ([{"Dense": {"units": 0}}], r"model\.layers\[0\]: Dense\.units: expected an integer of at least 1, got 0"),
        ([_dense(activaton="relu")], r"unknown argument 'activaton'\. Did you mean 'activation'\?"),
        ([{"Flatten": {"size": 3}}], r"Flatten: unknown argument 'size'\. The layer has no arguments"),
        ([{"Dropout": {"rate": 1.0}}], r"Dropout\.rate: expected a number of at least 0 and below 1, got 1\.0"),
        ([_dense(activation={"class_name": "Lambda"})], r"Dense\.activation: expected one of celu, "),
        ([_dense(kernel_regularizer={"l3": 1})], r"Dense\.kernel_regularizer: expected a mapping such as"),
        (["Activation"], r"Activation: activation is missing"),
    ],
    ids=str,
)
def test_layers_are_checked(sequential, layers, message):
    sequential.model.layers = layers
    with pytest.raises(ConfigError, match=message):
        validate_config(sequential)


def test_layers_are_checked_when_the_config_is_composed():
    with pytest.raises(
        ConfigError, match=r"model\.layers\[0\]: Dense\.units: expected an integer of at least 1, got 0"
    ):
        compose_config(["model=sequential", "model.layers=[{Dense:{units:0}}]"])


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", [name for name, arguments in LAYERS.items() if "activity_regularizer" in arguments])
def test_penalties_of_outputs_require_float32(sequential, name, precision):
    required = {argument: ARGUMENTS[argument] for argument in list_required_arguments(name)}
    sequential.model.layers = ["Flatten", {name: {**required, "activity_regularizer": {"l2": 0.1}}}]
    validate_config(sequential)
    config = dataclasses.replace(sequential, training=dataclasses.replace(sequential.training, precision=precision))
    message = rf"model\.layers\[1\]: {name}\.activity_regularizer is not possible with training\.precision={precision}"
    with pytest.raises(ConfigError, match=message):
        validate_config(config)


def test_allowed_layers_and_arguments_exist_in_keras(keras):
    import inspect

    for name, arguments in LAYERS.items():
        signature = inspect.signature(getattr(keras.layers, name).__init__).parameters
        assert arguments.keys() <= signature.keys(), name
        required = {each for each, parameter in signature.items() if parameter.default is inspect.Parameter.empty}
        required -= {"self", "kwargs"}
        listed = {each for each in arguments if each in REQUIRED_ARGUMENTS or name == "Activation"}
        required -= {"pool_size"} if name.startswith("AveragePooling") else set()
        assert required == listed, name
    assert "Lambda" not in LAYERS


def test_pooling_layers_have_a_default_size(keras):
    for name in ("MaxPooling2D", "AveragePooling2D"):
        model = compose_config(["model=sequential", f"model.layers=[{name},Flatten]"]).model.build(MNIST)
        assert model.layers[1].pool_size == (2, 2), name


@pytest.mark.parametrize("model", ["cnn", "sequential"])
def test_each_architecture_can_be_trained_saved_and_loaded(keras, model):
    from trainyard import load_config, run_experiment

    small = ["model.filters=[4]"] if model == "cnn" else ["model.layers=[Flatten,{Dense:{units:16,activation:relu}}]"]
    base = [f"model={model}", "dataset.limit=300", "training.epochs=1", "training.xla=off", "tracking=off"]
    result = run_experiment(compose_config([*base, *small]))
    loaded = keras.models.load_model(result.folder / "model.h5")
    assert np.allclose(loaded.predict_on_batch(result.dataset.spec.scale(result.dataset.test.images)),
                       result.evaluation.probabilities, atol=1e-6)  # fmt: skip
    assert load_config(result.folder / "config.yaml") == result.config


def test_labels_distinguish_cnns_and_sequential_models():
    assert Cnn().label == "cnn 32x64 128"
    assert Cnn(dense_units=[]).label == "cnn 32x64"
    assert Sequential().label == "Flatten Dense128"
    assert Sequential(layers=["Flatten"] * 5).label == "Flatten Flatten Flatten +2"


def test_registration_checks_the_class_and_the_name():
    with pytest.raises(ConfigError, match="expected a subclass of ModelConfig"):
        register_model("wrong")(LossConfig)
    with pytest.raises(ConfigError, match="registered twice"):
        register_model("mlp")(type("Other", (Mlp,), {}))

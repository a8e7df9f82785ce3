"""Parts shared by the architectures: allowed activations and initializers, input and output layers, serving models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trainyard.errors import summarize_error

if TYPE_CHECKING:
    import keras

    from trainyard.data import DataSpec
    from trainyard.models.cnn import Cnn
    from trainyard.models.mlp import Mlp

ACTIVATIONS = (
    "celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "linear",
    "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "swish", "tanh",
)  # fmt: skip
"""The elementwise activations of Keras, listed here so that a config can be checked without importing Keras."""

INITIALIZERS = (
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform", "orthogonal",
    "random_normal", "random_uniform", "truncated_normal",
)  # fmt: skip
"""The random initializers of Keras, which break the symmetry between units."""


def ensure_channel_axis(image_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns (height, width, 1) for (height, width); returns (height, width, channels) unchanged."""
    return (*image_shape, 1) if len(image_shape) == 2 else image_shape  # noqa: PLR2004 - (height, width)


def build_image_input(spec: DataSpec) -> list[keras.Layer]:
    """Builds the first layers of a model that requires a channel axis: the input and, if necessary, a reshape."""
    import keras

    inputs, shape = [keras.layers.Input(spec.image_shape)], ensure_channel_axis(spec.image_shape)
    if shape != spec.image_shape:
        inputs.append(keras.layers.Reshape(shape, name="channel"))
    return inputs


def build_output_layer(spec: DataSpec) -> keras.Layer:
    """Builds the last layer of each model, a softmax over the classes. It computes in float32 at any precision."""
    import keras

    return keras.layers.Dense(spec.classes, activation="softmax", dtype="float32", name="probabilities")


def build_hidden_layer(
    layer: type[keras.Layer],
    names: tuple[str, str, str],
    config: Mlp | Cnn,
    activation: str,
    **shape: Any,  # noqa: ANN401 - the layer's arguments
) -> Iterator[keras.Layer]:
    """Yields a hidden layer with its activation, and batch normalization between the two if the config enables it.

    The names are those of the layer, of the normalization and of the activation after the normalization.
    """
    import keras

    penalty = keras.regularizers.L2(config.l2) if config.l2 else None
    shape |= {"kernel_initializer": config.initializer, "kernel_regularizer": penalty, "name": names[0]}
    if not config.batch_norm:
        yield layer(**shape, activation=activation)
        return
    yield layer(**shape, use_bias=False)  # the normalization has an offset, which replaces the bias
    yield keras.layers.BatchNormalization(name=names[1])
    yield keras.layers.Activation(activation, name=names[2])


def count_hidden_parameters(inputs: int, units: int, batch_norm: bool) -> int:
    """Returns the number of parameters of a hidden layer in which each unit, or filter, has a number of inputs.

    A unit has a bias or, with batch normalization, a scale, an offset, a moving mean and a moving variance.
    """
    return units * (inputs + (4 if batch_norm else 1))


def format_keras_error(error: Exception) -> str:
    """Returns the message of a Keras error in one line, without terminal colours and without the repeated call."""
    text = str(error)
    emphasised = re.search(r"\x1b\[1m(.*?)\x1b\[0m", text, re.DOTALL)
    return summarize_error(ValueError(emphasised[1] if emphasised else text))


def build_serving_model(model: keras.Model, spec: DataSpec) -> keras.Model:
    """Builds a model for serving: a copy of a trained model, without optimizer, whose input is raw pixels.

    The input is (n, *image_shape), from 0 to ``spec.pixel_max``. That of the trained model is scaled by
    `DataSpec.scale`.
    """
    import keras

    trained = keras.models.clone_model(model)
    trained.compiled, trained.optimizer = False, None  # a clone is compiled like the model
    trained.set_weights(model.get_weights())
    pixels = keras.layers.Input(spec.image_shape, name="pixels")
    deviations, means = spec.std or (1.0,), spec.mean or (0.0,)
    scales = [1 / (spec.pixel_max * std) for std in deviations]
    offsets = [-mean / std for mean, std in zip(means, deviations, strict=True)]
    parameters = (scales, offsets) if len(scales) > 1 else (scales[0], offsets[0])
    scale = keras.layers.Rescaling(*parameters, dtype="float32", name="scale")
    return keras.Model(pixels, trained(scale(pixels)), name=f"{model.name}_served")

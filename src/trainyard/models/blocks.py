"""What the architectures share: names that a config may say, and the layers at both ends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trainyard.errors import in_one_line

if TYPE_CHECKING:
    import keras

    from trainyard.data.dataset import DataSpec

ACTIVATIONS = (
    "celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "linear",
    "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "swish", "tanh",
)  # fmt: skip
"""Keras's elementwise activations, listed so that a config can be checked without importing Keras."""

INITIALIZERS = (
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform", "orthogonal",
    "random_normal", "random_uniform", "truncated_normal",
)  # fmt: skip
"""Keras's initializers that break the symmetry between units."""

_GREY = 2
"""The axes of an image without channels."""


def shape_with_channels(image_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape of an image with a channel axis, which grey images come without."""
    return (*image_shape, 1) if len(image_shape) == _GREY else image_shape


def with_channels(spec: DataSpec) -> list[keras.Layer]:
    """Returns the input of a model that wants a channel axis."""
    import keras

    inputs, shape = [keras.layers.Input(spec.image_shape)], shape_with_channels(spec.image_shape)
    if shape != spec.image_shape:
        inputs.append(keras.layers.Reshape(shape, name="channel"))
    return inputs


def probabilities(spec: DataSpec) -> keras.Layer:
    """Returns the layer that every model ends on; whatever the precision of the others, it computes in float32."""
    import keras

    return keras.layers.Dense(spec.classes, activation="softmax", dtype="float32", name="probabilities")


def l2_penalty(weight: float) -> keras.Regularizer | None:
    """Returns the penalty on a kernel, or None where it weighs nothing."""
    import keras

    return keras.regularizers.L2(weight) if weight else None


def reason(error: Exception) -> str:
    """Returns what Keras says is wrong, without its colours and without the call that it repeats."""
    text = str(error)
    emphasised = re.search(r"\x1b\[1m(.*?)\x1b\[0m", text, re.DOTALL)
    return in_one_line(ValueError(emphasised[1] if emphasised else text))


def with_raw_pixels(model: keras.Model, spec: DataSpec) -> keras.Model:
    """Puts the scaling of raw pixels in front of a trained model, so that it can be served.

    Args:
        model: Takes images as `DataSpec.scale` returns them. It is left as it is.
        spec: What the model was trained on.

    Returns:
        A model with a copy of the weights, and without an optimizer, that takes raw pixels, 0 to ``spec.pixel_max``.
    """
    import keras

    trained = keras.models.clone_model(model)
    trained.set_weights(model.get_weights())
    pixels = keras.layers.Input(spec.image_shape, name="pixels")
    deviations, means = spec.std or (1.0,), spec.mean or (0.0,)
    scales = [1 / (spec.pixel_max * std) for std in deviations]
    offsets = [-mean / std for mean, std in zip(means, deviations, strict=True)]
    several = len(scales) > 1
    scale = keras.layers.Rescaling(
        scales if several else scales[0], offsets if several else offsets[0], dtype="float32", name="scale"
    )
    return keras.Model(pixels, trained(scale(pixels)), name=f"{model.name}_served")

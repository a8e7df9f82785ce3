"""Counting the parameters of a stack of Keras layers by arithmetic, without importing TensorFlow.

The function of a layer maps an input shape, without the batch axis, to an output shape and a number of parameters.
Arguments that are not given have Keras's defaults. Tests compare the numbers with Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

from trainyard.models.blocks import ensure_channel_axis

Shape: TypeAlias = tuple[int, ...]
Arguments: TypeAlias = Mapping[str, Any]
LayerSize: TypeAlias = tuple[Shape, int]
"""The output shape of a layer, and the number of its parameters."""
LayerSpec: TypeAlias = tuple[str, Arguments]
"""The name of a layer in Keras, and its arguments."""


class _InvalidShapeError(Exception):
    """A layer does not accept its input shape. Keras reports the reason when the layer is built."""


def count_parameters(image_shape: Shape, classes: int, layers: Iterable[LayerSpec]) -> int | None:
    """Counts the parameters of a stack of layers and of the Dense output layer that is added to it.

    Args:
        image_shape: (height, width) or (height, width, channels): (28, 28) or (32, 32, 3).
        classes: The number of classes.
        layers: The layers from first to last, without the flattening and the output layer at the end.

    Returns:
        The number of all parameters, trainable or not, as returned by Keras's ``count_params()``; None if the
        arithmetic of a layer is not implemented here, or a layer does not accept the output of the layer before it.
    """
    shape, total = ensure_channel_axis(image_shape), 0
    for name, arguments in (*layers, ("Flatten", {}), ("Dense", {"units": classes})):
        size_functions = {**_ANY_RANK, **_BY_RANK.get(len(shape), {})}
        if name not in size_functions or arguments.get("axis", -1) != -1:
            return None
        try:
            shape, parameters = size_functions[name](shape, arguments)
        except _InvalidShapeError:
            return None
        total += parameters
    return total


def build_hidden_layer_specs(name: str, batch_norm: bool, **arguments: Any) -> list[LayerSpec]:  # noqa: ANN401 - each layer has its own
    """Returns the specs of one hidden layer.

    These are the layer itself or, with `batch_norm`, the layer without a bias followed by BatchNormalization.
    """
    if not batch_norm:
        return [(name, arguments)]
    return [(name, {**arguments, "use_bias": False}), ("BatchNormalization", {})]


def _dense(shape: Shape, arguments: Arguments) -> LayerSize:
    """Returns the output shape and the number of parameters of Dense, which is applied to the last axis."""
    units = arguments["units"]
    return (*shape[:-1], units), shape[-1] * units + _count_bias(units, arguments)


def _count_bias(units: int, arguments: Arguments) -> int:
    """Returns the number of parameters of the bias."""
    return units if arguments.get("use_bias", True) else 0


def _convolution(shape: Shape, arguments: Arguments) -> LayerSize:
    """Returns the output shape and the number of parameters of Conv1D or Conv2D."""
    filters, groups, channels = arguments["filters"], arguments.get("groups", 1), shape[-1]
    if channels % groups or filters % groups:
        raise _InvalidShapeError
    sides, pixels = _convolve(shape, arguments)
    return (*sides, filters), pixels * (channels // groups) * filters + _count_bias(filters, arguments)


def _depthwise(shape: Shape, arguments: Arguments) -> LayerSize:
    """Returns the output shape and the number of parameters of a depthwise convolution."""
    filters = shape[-1] * arguments.get("depth_multiplier", 1)
    sides, pixels = _convolve(shape, arguments)
    return (*sides, filters), pixels * filters + _count_bias(filters, arguments)


def _separable(shape: Shape, arguments: Arguments) -> LayerSize:
    """Returns the output shape and the number of parameters of a separable convolution, depthwise and pointwise."""
    intermediate, depthwise = _depthwise(shape, {**arguments, "use_bias": False})
    output, pointwise = _dense(intermediate, {**arguments, "units": arguments["filters"]})
    return output, depthwise + pointwise


def _convolve(shape: Shape, arguments: Arguments) -> tuple[Shape, int]:
    """Returns the output sides of a convolution, and the number of pixels in its kernel."""
    axes = len(shape) - 1
    kernel = _per_axis(arguments["kernel_size"], axes)
    strides = _per_axis(arguments.get("strides", 1), axes)
    dilation = _per_axis(arguments.get("dilation_rate", 1), axes)
    if max(strides) > 1 and max(dilation) > 1:
        raise _InvalidShapeError
    window = tuple(rate * (side - 1) + 1 for side, rate in zip(kernel, dilation, strict=True))
    return _slide(shape[:-1], window, strides, arguments), math.prod(kernel)


def _pooling(shape: Shape, arguments: Arguments) -> LayerSize:
    """Returns the output shape of a pooling layer, and 0 parameters."""
    pool = _per_axis(arguments.get("pool_size", 2), len(shape) - 1)
    strides = _per_axis(arguments.get("strides", pool), len(shape) - 1)
    return (*_slide(shape[:-1], pool, strides, arguments), shape[-1]), 0


def _slide(sides: Shape, window: Shape, strides: Shape, arguments: Arguments) -> Shape:
    """Returns the number of positions of a sliding window along each axis."""
    if arguments.get("padding") == "same":
        return tuple(math.ceil(side / stride) for side, stride in zip(sides, strides, strict=True))
    if any(length > side for side, length in zip(sides, window, strict=True)):
        raise _InvalidShapeError
    return tuple((side - length) // stride + 1 for side, length, stride in zip(sides, window, strides, strict=True))


def _per_axis(value: int | Iterable[int], axes: int) -> Shape:
    """Returns one number per axis, from a list or from one number for all axes."""
    numbers = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(numbers) != axes:
        raise _InvalidShapeError
    return numbers


def _global_pooling(shape: Shape, arguments: Arguments) -> LayerSize:
    """Returns the output shape of a global pooling layer, (channels,) or (1, ..., channels), and 0 parameters."""
    return (*((1,) * (len(shape) - 1) if arguments.get("keepdims") else ()), shape[-1]), 0


def _up_sampling(shape: Shape, arguments: Arguments) -> LayerSize:
    """Returns the output shape of an upsampling layer, and 0 parameters."""
    factors = _per_axis(arguments.get("size", 2), len(shape) - 1)
    return (*(side * factor for side, factor in zip(shape, factors, strict=False)), shape[-1]), 0


def _normalization(shape: Shape, arguments: Arguments, moving: int) -> LayerSize:
    """Returns the unchanged shape and the number of parameters, with `moving` moving averages per channel."""
    trainable = arguments.get("scale", True) + arguments.get("center", True)
    return shape, (trainable + moving) * shape[-1]


def _recurrent(shape: Shape, arguments: Arguments, gates: int, biases: int = 1) -> LayerSize:
    """Returns the output shape and the number of parameters of a layer with `biases` biases per gate and unit."""
    units = arguments["units"]
    output = (shape[0], units) if arguments.get("return_sequences") else (units,)
    return output, gates * (units * (shape[-1] + units) + biases * _count_bias(units, arguments))


def _gru(shape: Shape, arguments: Arguments) -> LayerSize:
    """Returns the output shape and the number of parameters of GRU. `reset_after` doubles the biases."""
    return _recurrent(shape, arguments, gates=3, biases=2 if arguments.get("reset_after", True) else 1)


def _flatten(shape: Shape, _: Arguments) -> LayerSize:
    """Returns the output shape of Flatten, and 0 parameters."""
    return (math.prod(shape),), 0


def _reshape(shape: Shape, arguments: Arguments) -> LayerSize:
    """Returns the output shape of Reshape, and 0 parameters; raises `_InvalidShapeError` if the sizes do not match."""
    target, elements = arguments["target_shape"], math.prod(shape)
    known_elements = math.prod(side for side in target if side != -1)
    if known_elements:  # -1 is inferred from the number of elements
        target = [elements // known_elements if side == -1 else side for side in target]
    if min(target) < 1 or math.prod(target) != elements:
        raise _InvalidShapeError
    return tuple(target), 0


def _unchanged(shape: Shape, _: Arguments) -> LayerSize:
    """Returns the size of a layer without parameters that does not change the shape, such as Dropout."""
    return shape, 0


_ANY_RANK: dict[str, Callable[[Shape, Arguments], LayerSize]] = {
    "Activation": _unchanged,
    "AlphaDropout": _unchanged,
    "BatchNormalization": partial(_normalization, moving=2),
    "Dense": _dense,
    "Dropout": _unchanged,
    "ELU": _unchanged,
    "Flatten": _flatten,
    "GaussianDropout": _unchanged,
    "GaussianNoise": _unchanged,
    "LayerNormalization": partial(_normalization, moving=0),
    "LeakyReLU": _unchanged,
    "ReLU": _unchanged,
    "Reshape": _reshape,
    "Softmax": _unchanged,
    "UnitNormalization": _unchanged,
}

_BY_RANK: dict[int, dict[str, Callable[[Shape, Arguments], LayerSize]]] = {
    2: {
        "AveragePooling1D": _pooling,
        "Conv1D": _convolution,
        "GRU": _gru,
        "GlobalAveragePooling1D": _global_pooling,
        "GlobalMaxPooling1D": _global_pooling,
        "LSTM": partial(_recurrent, gates=4),
        "MaxPooling1D": _pooling,
        "SimpleRNN": partial(_recurrent, gates=1),
        "SpatialDropout1D": _unchanged,
    },
    3: {
        "AveragePooling2D": _pooling,
        "Conv2D": _convolution,
        "DepthwiseConv2D": _depthwise,
        "GlobalAveragePooling2D": _global_pooling,
        "GlobalMaxPooling2D": _global_pooling,
        "MaxPooling2D": _pooling,
        "SeparableConv2D": _separable,
        "SpatialDropout2D": _unchanged,
        "UpSampling2D": _up_sampling,
    },
}
"""The layers that require one axis (2) or two axes (3) before the channels, by the number of axes of their input."""

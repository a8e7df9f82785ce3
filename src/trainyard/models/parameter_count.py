"""How many parameters a stack of Keras layers has, by arithmetic: many models are sized without importing TensorFlow.

Each layer takes a shape, without the batch, and gives a shape and a number of parameters; what is left out of its
arguments is as Keras has it. Tests hold the numbers against Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

from trainyard.models.blocks import shape_with_channels

Shape: TypeAlias = tuple[int, ...]
Arguments: TypeAlias = Mapping[str, Any]
Size: TypeAlias = tuple[Shape, int]
"""The shape that a layer gives, and how many parameters it has."""
Sized: TypeAlias = tuple[str, Arguments]
"""A layer to be sized: Keras's name of it, and its arguments."""


class _RefusedError(Exception):
    """A layer does not take such a shape. Building it says why."""


def count_parameters(image_shape: Shape, classes: int, layers: Iterable[Sized]) -> int | None:
    """Counts the parameters of layers between an image with its channels and a Dense layer over the classes.

    Args:
        image_shape: Height and width, and channels where there are several: (28, 28) or (32, 32, 3).
        classes: The number of classes.
        layers: First to last, without the output, which is flattened before where need be.

    Returns:
        All parameters, trainable or not, as Keras's ``count_params()`` gives them; None where a layer is not among
        those that are known here, or does not fit the one before it.
    """
    shape, total = shape_with_channels(image_shape), 0
    for name, arguments in (*layers, ("Flatten", {}), ("Dense", {"units": classes})):
        known = {**_OF_ANY_SHAPE, **_OF_SHAPES_BY_RANK.get(len(shape), {})}
        if name not in known or arguments.get("axis", -1) != -1:
            return None
        try:
            shape, parameters = known[name](shape, arguments)
        except _RefusedError:
            return None
        total += parameters
    return total


def sized_hidden(name: str, batch_norm: bool, **arguments: Any) -> list[Sized]:  # noqa: ANN401 - each layer has its own
    """Returns a hidden layer to be sized, followed by batch normalisation or not, which makes its bias redundant."""
    if not batch_norm:
        return [(name, arguments)]
    return [(name, {**arguments, "use_bias": False}), ("BatchNormalization", {})]


def _dense(shape: Shape, arguments: Arguments) -> Size:
    units = arguments["units"]
    return (*shape[:-1], units), shape[-1] * units + _bias(units, arguments)


def _bias(units: int, arguments: Arguments) -> int:
    return units if arguments.get("use_bias", True) else 0


def _convolution(shape: Shape, arguments: Arguments) -> Size:
    filters, groups, channels = arguments["filters"], arguments.get("groups", 1), shape[-1]
    if channels % groups or filters % groups:
        raise _RefusedError
    sides, pixels = _convolved(shape, arguments)
    return (*sides, filters), pixels * (channels // groups) * filters + _bias(filters, arguments)


def _depthwise(shape: Shape, arguments: Arguments) -> Size:
    filters = shape[-1] * arguments.get("depth_multiplier", 1)
    sides, pixels = _convolved(shape, arguments)
    return (*sides, filters), pixels * filters + _bias(filters, arguments)


def _separable(shape: Shape, arguments: Arguments) -> Size:
    between, depthwise = _depthwise(shape, {**arguments, "use_bias": False})
    given, pointwise = _dense(between, {**arguments, "units": arguments["filters"]})
    return given, depthwise + pointwise


def _convolved(shape: Shape, arguments: Arguments) -> tuple[Shape, int]:
    """Returns the sides of what a convolution gives, and how many pixels its kernel covers."""
    axes = len(shape) - 1
    kernel = _per_axis(arguments["kernel_size"], axes)
    strides = _per_axis(arguments.get("strides", 1), axes)
    dilation = _per_axis(arguments.get("dilation_rate", 1), axes)
    if max(strides) > 1 and max(dilation) > 1:
        raise _RefusedError
    reach = tuple(rate * (side - 1) + 1 for side, rate in zip(kernel, dilation, strict=True))
    return _covered(shape[:-1], reach, strides, arguments), math.prod(kernel)


def _pooling(shape: Shape, arguments: Arguments) -> Size:
    pool = _per_axis(arguments.get("pool_size", 2), len(shape) - 1)
    strides = _per_axis(arguments.get("strides", pool), len(shape) - 1)
    return (*_covered(shape[:-1], pool, strides, arguments), shape[-1]), 0


def _covered(sides: Shape, window: Shape, strides: Shape, arguments: Arguments) -> Shape:
    """Returns at how many places a window stops along each axis."""
    if arguments.get("padding") == "same":
        return tuple(math.ceil(side / stride) for side, stride in zip(sides, strides, strict=True))
    if any(reach > side for side, reach in zip(sides, window, strict=True)):
        raise _RefusedError
    return tuple((side - reach) // stride + 1 for side, reach, stride in zip(sides, window, strides, strict=True))


def _per_axis(value: int | Iterable[int], axes: int) -> Shape:
    """Returns one number per axis, of which one for all may stand in the config."""
    numbers = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(numbers) != axes:
        raise _RefusedError
    return numbers


def _global_pooling(shape: Shape, arguments: Arguments) -> Size:
    return (*((1,) * (len(shape) - 1) if arguments.get("keepdims") else ()), shape[-1]), 0


def _up_sampling(shape: Shape, arguments: Arguments) -> Size:
    factors = _per_axis(arguments.get("size", 2), len(shape) - 1)
    return (*(side * factor for side, factor in zip(shape, factors, strict=False)), shape[-1]), 0


def _norm(shape: Shape, arguments: Arguments, moving: int) -> Size:
    learnt = arguments.get("scale", True) + arguments.get("center", True)
    return shape, (learnt + moving) * shape[-1]


def _recurrent(shape: Shape, arguments: Arguments, gates: int, biases: int = 1) -> Size:
    units = arguments["units"]
    given = (shape[0], units) if arguments.get("return_sequences") else (units,)
    return given, gates * (units * (shape[-1] + units) + biases * _bias(units, arguments))


def _gru(shape: Shape, arguments: Arguments) -> Size:
    return _recurrent(shape, arguments, gates=3, biases=2 if arguments.get("reset_after", True) else 1)


def _flatten(shape: Shape, _: Arguments) -> Size:
    return (math.prod(shape),), 0


def _reshape(shape: Shape, arguments: Arguments) -> Size:
    target, numbers = arguments["target_shape"], math.prod(shape)
    said = math.prod(side for side in target if side != -1)
    if said:  # -1 is whatever is left
        target = [numbers // said if side == -1 else side for side in target]
    if min(target) < 1 or math.prod(target) != numbers:
        raise _RefusedError
    return tuple(target), 0


def _unchanged(shape: Shape, _: Arguments) -> Size:
    return shape, 0


_OF_ANY_SHAPE: dict[str, Callable[[Shape, Arguments], Size]] = {
    "Activation": _unchanged,
    "AlphaDropout": _unchanged,
    "BatchNormalization": partial(_norm, moving=2),
    "Dense": _dense,
    "Dropout": _unchanged,
    "ELU": _unchanged,
    "Flatten": _flatten,
    "GaussianDropout": _unchanged,
    "GaussianNoise": _unchanged,
    "LayerNormalization": partial(_norm, moving=0),
    "LeakyReLU": _unchanged,
    "ReLU": _unchanged,
    "Reshape": _reshape,
    "Softmax": _unchanged,
    "UnitNormalization": _unchanged,
}

_OF_SHAPES_BY_RANK: dict[int, dict[str, Callable[[Shape, Arguments], Size]]] = {
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
"""The layers that want one axis before the channels, and those that want two."""

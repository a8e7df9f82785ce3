"""The Keras layers that a config may use, with the allowed values of their arguments.

This is an allowlist: other layers are rejected, so that a config can't execute code. The layers are listed here, and
not read from Keras, so that a config is checked without importing Keras. A test compares the names with Keras.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from trainyard.config import ArgumentType, LayerDoc, Rule, format_suggestion
from trainyard.models.blocks import ACTIVATIONS, INITIALIZERS


def _declare_type(name: str, description: str, *types: Any, **rule: Any) -> ArgumentType:  # noqa: ANN401 - any types
    """Returns an argument type that accepts values of several types; lists must not be empty."""
    return ArgumentType(name, description, Rule(types=types, nonempty=True, **rule))


def _declare_choice(name: str, *options: str) -> ArgumentType:
    """Returns an argument type that accepts one of several names."""
    return _declare_type(name, f"one of {', '.join(options)}", str, choices=options)


COUNT = _declare_type("count", "an integer of at least 1", int, ge=1)
SIZE = _declare_type("size", "an integer of at least 1, or a list of them", int, list[int], ge=1)
FRACTION = _declare_type("fraction", "a number of at least 0 and below 1", float, ge=0, lt=1)
NUMBER = _declare_type("number", "a number", float)
NON_NEGATIVE = _declare_type("non_negative", "a number of at least 0", float, ge=0)
FLAG = _declare_type("flag", "true or false", bool)
AXIS = _declare_type("axis", "an integer, or a list of them", int, list[int])
SHAPE = _declare_type("shape", "a list of integers", list[int])
MARGIN = _declare_type("margin", "an integer of at least 0, or a list of them", int, list[int], list[list[int]], ge=0)
PADDING = _declare_choice("padding", "valid", "same")
ACTIVATION = _declare_choice("activation", *ACTIVATIONS, "softmax")
INITIALIZER = _declare_choice("initializer", *INITIALIZERS, "zeros", "ones")
PENALTY = _declare_type(
    "penalty", "a mapping such as {l2: 0.001}, of l1 and l2 to weights", dict[Literal["l1", "l2"], float], ge=0
)
INTERPOLATION = _declare_choice("interpolation", "nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")

Arguments = dict[str, ArgumentType]

_WEIGHTED: Arguments = {
    "activation": ACTIVATION, "use_bias": FLAG, "kernel_initializer": INITIALIZER, "bias_initializer": INITIALIZER,
    "kernel_regularizer": PENALTY, "bias_regularizer": PENALTY, "activity_regularizer": PENALTY,
}  # fmt: skip
_WINDOW: Arguments = {"strides": SIZE, "padding": PADDING, "dilation_rate": SIZE}
_CONVOLUTION: Arguments = {"filters": COUNT, "kernel_size": SIZE, **_WINDOW, **_WEIGHTED}
_DEPTHWISE: Arguments = {
    "kernel_size": SIZE, **_WINDOW, "depth_multiplier": COUNT, "activation": ACTIVATION, "use_bias": FLAG,
    "depthwise_initializer": INITIALIZER, "bias_initializer": INITIALIZER, "depthwise_regularizer": PENALTY,
    "bias_regularizer": PENALTY, "activity_regularizer": PENALTY,
}  # fmt: skip
_POOL: Arguments = {"pool_size": SIZE, "strides": SIZE, "padding": PADDING}
_RECURRENT: Arguments = {
    "units": COUNT, **_WEIGHTED, "recurrent_initializer": INITIALIZER, "recurrent_regularizer": PENALTY,
    "dropout": FRACTION, "recurrent_dropout": FRACTION, "return_sequences": FLAG, "go_backwards": FLAG,
}  # fmt: skip
_NORM: Arguments = {
    "axis": AXIS, "epsilon": NON_NEGATIVE, "center": FLAG, "scale": FLAG, "beta_initializer": INITIALIZER,
    "gamma_initializer": INITIALIZER, "beta_regularizer": PENALTY, "gamma_regularizer": PENALTY,
}  # fmt: skip

LAYERS: dict[str, Arguments] = {
    "Activation": {"activation": ACTIVATION},
    "AlphaDropout": {"rate": FRACTION},
    "AveragePooling1D": _POOL,
    "AveragePooling2D": _POOL,
    "BatchNormalization": {**_NORM, "momentum": FRACTION},
    "Conv1D": {**_CONVOLUTION, "groups": COUNT},
    "Conv2D": {**_CONVOLUTION, "groups": COUNT},
    "Conv2DTranspose": _CONVOLUTION,
    "Cropping2D": {"cropping": MARGIN},
    "Dense": {"units": COUNT, **_WEIGHTED},
    "DepthwiseConv2D": _DEPTHWISE,
    "Dropout": {"rate": FRACTION},
    "ELU": {"alpha": NON_NEGATIVE},
    "Flatten": {},
    "GRU": {**_RECURRENT, "recurrent_activation": ACTIVATION, "reset_after": FLAG},
    "GaussianDropout": {"rate": FRACTION},
    "GaussianNoise": {"stddev": NON_NEGATIVE},
    "GlobalAveragePooling1D": {"keepdims": FLAG},
    "GlobalAveragePooling2D": {"keepdims": FLAG},
    "GlobalMaxPooling1D": {"keepdims": FLAG},
    "GlobalMaxPooling2D": {"keepdims": FLAG},
    "GroupNormalization": {**_NORM, "groups": COUNT},
    "LSTM": {**_RECURRENT, "recurrent_activation": ACTIVATION, "unit_forget_bias": FLAG},
    "LayerNormalization": _NORM,
    "LeakyReLU": {"negative_slope": NON_NEGATIVE},
    "MaxPooling1D": _POOL,
    "MaxPooling2D": _POOL,
    "PReLU": {"alpha_initializer": INITIALIZER, "alpha_regularizer": PENALTY, "shared_axes": AXIS},
    "Permute": {"dims": SHAPE},
    "RMSNormalization": {"axis": AXIS, "epsilon": NON_NEGATIVE},
    "ReLU": {"max_value": NON_NEGATIVE, "negative_slope": NON_NEGATIVE, "threshold": NUMBER},
    "Reshape": {"target_shape": SHAPE},
    "SeparableConv2D": {**_DEPTHWISE, "filters": COUNT, "pointwise_initializer": INITIALIZER,
                        "pointwise_regularizer": PENALTY},
    "SimpleRNN": _RECURRENT,
    "Softmax": {"axis": AXIS},
    "SpatialDropout1D": {"rate": FRACTION},
    "SpatialDropout2D": {"rate": FRACTION},
    "UnitNormalization": {"axis": AXIS},
    "UpSampling2D": {"size": SIZE, "interpolation": INTERPOLATION},
    "ZeroPadding2D": {"padding": MARGIN},
}  # fmt: skip
"""The allowed layers and their arguments, under the names that Keras uses."""

REQUIRED_ARGUMENTS = ("units", "filters", "kernel_size", "rate", "stddev", "dims", "target_shape")
"""Arguments that have no default in Keras. The layer ``Activation`` also requires its argument ``activation``."""


def describe_layers() -> list[LayerDoc]:
    """Returns the allowed layers for the reference pages."""
    return [LayerDoc(name, arguments, list_required_arguments(name)) for name, arguments in LAYERS.items()]


def list_required_arguments(name: str) -> list[str]:
    """Returns the arguments of a layer that have no default."""
    return [argument for argument in LAYERS[name] if argument in REQUIRED_ARGUMENTS or name == "Activation"]


def parse_layer(entry: Any) -> tuple[str, Any]:  # noqa: ANN401 - any value
    """Returns the name and the arguments of a layer entry, such as ``Flatten`` or ``{Dense: {units: 64}}``."""
    if isinstance(entry, str):
        return entry, {}
    ((name, arguments),) = entry.items()
    return name, {} if arguments is None else arguments


def find_layer_problems(entry: Any) -> Iterator[str]:  # noqa: ANN401 - any value
    """Yields the problems of an entry of a list of layers, as messages."""
    has_one_key = isinstance(entry, dict) and len(entry) == 1
    if not (isinstance(entry, str) or (has_one_key and all(isinstance(name, str) for name in entry))):
        yield f"expected a layer, such as Flatten or {{Dense: {{units: 64}}}}, got {entry!r}"
        return
    name, arguments = parse_layer(entry)
    if name not in LAYERS:
        yield f"unknown layer {name!r}.{format_suggestion(name, LAYERS)} Available: {', '.join(LAYERS)}"
        return
    if not isinstance(arguments, dict):
        yield f"{name}: expected a mapping of arguments to values, got {arguments!r}"
        return
    argument_types = LAYERS[name]
    for argument, value in arguments.items():
        if argument not in argument_types:
            available = f"Available: {', '.join(argument_types)}" if argument_types else "The layer has no arguments"
            suggestion = format_suggestion(str(argument), argument_types)
            yield f"{name}: unknown argument {argument!r}.{suggestion} {available}"
        elif not argument_types[argument].accepts(value):
            yield f"{name}.{argument}: expected {argument_types[argument].description}, got {value!r}"
    if missing := [argument for argument in list_required_arguments(name) if argument not in arguments]:
        yield f"{name}: {missing[0]} is missing; expected {argument_types[missing[0]].description}"

"""The Keras layers that a config may use, with the allowed values of their arguments.

This is an allowlist: other layers are rejected, so that a config can't execute code. The layers are listed here, and
not read from Keras, so that a config is checked without importing Keras. A test compares the names with Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from trainyard.config import ArgumentType, LayerDoc, format_suggestion
from trainyard.models.blocks import ACTIVATIONS, INITIALIZERS


def _is_count(value: Any) -> bool:  # noqa: ANN401 - any value
    """Returns whether a value is an integer of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:  # noqa: ANN401 - any value
    """Returns whether a value is a finite number. A bool is not a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_list(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Returns a function that returns whether a value is a non-empty list of accepted elements."""
    return lambda value: isinstance(value, list) and bool(value) and all(map(accepts, value))


def _is_integer(value: Any) -> bool:  # noqa: ANN401 - any value
    """Returns whether a value is an integer. A bool is not an integer."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_margin(value: Any) -> bool:  # noqa: ANN401 - any value
    """Returns whether a value is a width in pixels, 0 or more, or a non-empty (nested) list of such widths."""
    return (_is_integer(value) and value >= 0) or _is_list(_is_margin)(value)


def _is_penalty(value: Any) -> bool:  # noqa: ANN401 - any value
    """Returns whether a value is a regularizer: a dict of ``l1``, ``l2`` or both, with weights of 0 or more."""
    return (
        isinstance(value, dict)
        and bool(value)
        and value.keys() <= {"l1", "l2"}
        and all(_is_number(weight) and weight >= 0 for weight in value.values())
    )


def _build_choice_type(name: str, *options: str) -> ArgumentType:
    """Builds the type of an argument that accepts one of several names."""
    return ArgumentType(
        name=name,
        description=f"one of {', '.join(options)}",
        accepts=lambda value: isinstance(value, str) and value in options,
        schema={},
        choices=options,
    )


_COUNT_SCHEMA = {"type": "integer", "minimum": 1}
_MARGIN_SCHEMA = {"type": "integer", "minimum": 0}
_NON_NEGATIVE_SCHEMA = {"type": "number", "minimum": 0}

COUNT = ArgumentType(name="count", description="an integer of at least 1", accepts=_is_count, schema=_COUNT_SCHEMA)
SIZE = ArgumentType(
    name="size",
    description="an integer of at least 1, or a list of them",
    accepts=lambda value: _is_count(value) or _is_list(_is_count)(value),
    schema={"type": ["integer", "array"], "minimum": 1, "items": _COUNT_SCHEMA, "minItems": 1},
)
FRACTION = ArgumentType(
    name="fraction",
    description="a number of at least 0 and below 1",
    accepts=lambda value: _is_number(value) and 0 <= value < 1,
    schema={"type": "number", "minimum": 0, "exclusiveMaximum": 1},
)
NUMBER = ArgumentType(name="number", description="a number", accepts=_is_number, schema={"type": "number"})
NON_NEGATIVE = ArgumentType(
    name="non_negative",
    description="a number of at least 0",
    accepts=lambda value: _is_number(value) and value >= 0,
    schema=_NON_NEGATIVE_SCHEMA,
)
FLAG = ArgumentType(
    name="flag",
    description="true or false",
    accepts=lambda value: isinstance(value, bool),
    schema={"type": "boolean"},
)
AXIS = ArgumentType(
    name="axis",
    description="an integer, or a list of them",
    accepts=lambda value: _is_integer(value) or _is_list(_is_integer)(value),
    schema={"type": ["integer", "array"], "items": {"type": "integer"}, "minItems": 1},
)
SHAPE = ArgumentType(
    name="shape",
    description="a list of integers",
    accepts=_is_list(_is_integer),
    schema={"type": "array", "items": {"type": "integer"}, "minItems": 1},
)
MARGIN = ArgumentType(
    name="margin",
    description="an integer of at least 0, or a list of them",
    accepts=_is_margin,
    schema={
        "type": ["integer", "array"],
        "minimum": 0,
        "items": {"type": ["integer", "array"], "minimum": 0, "items": _MARGIN_SCHEMA, "minItems": 1},
        "minItems": 1,
    },
)
PADDING = _build_choice_type("padding", "valid", "same")
ACTIVATION = _build_choice_type("activation", *ACTIVATIONS, "softmax")
INITIALIZER = _build_choice_type("initializer", *INITIALIZERS, "zeros", "ones")
PENALTY = ArgumentType(
    name="penalty",
    description="a mapping such as {l2: 0.001}, of l1 and l2 to weights",
    accepts=_is_penalty,
    schema={
        "type": "object",
        "properties": {"l1": _NON_NEGATIVE_SCHEMA, "l2": _NON_NEGATIVE_SCHEMA},
        "additionalProperties": False,
        "minProperties": 1,
    },
)
INTERPOLATION = _build_choice_type("interpolation", "nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")

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


def parse_layer(entry: Any) -> tuple[str, dict[str, Any]]:  # noqa: ANN401 - any value
    """Returns the name and the arguments of a valid layer entry, such as ``Flatten`` or ``{Dense: {units: 64}}``."""
    if isinstance(entry, str):
        return entry, {}
    ((name, arguments),) = entry.items()
    return name, arguments or {}


def find_layer_problems(entry: Any) -> Iterator[str]:  # noqa: ANN401 - any value
    """Yields the problems of an entry of a list of layers, as messages."""
    has_one_key = isinstance(entry, dict) and len(entry) == 1
    if not (isinstance(entry, str) or (has_one_key and all(isinstance(name, str) for name in entry))):
        yield f"expected a layer, such as Flatten or {{Dense: {{units: 64}}}}, got {entry!r}"
        return
    name = entry if isinstance(entry, str) else next(iter(entry))
    if name not in LAYERS:
        yield f"unknown layer {name!r}.{format_suggestion(name, LAYERS)} Available: {', '.join(LAYERS)}"
        return
    arguments = {} if isinstance(entry, str) else entry[name]
    if not isinstance(arguments, (dict, type(None))):
        yield f"{name}: expected a mapping of arguments to values, got {arguments!r}"
        return
    argument_types = LAYERS[name]
    for argument, value in (arguments or {}).items():
        if argument not in argument_types:
            available = f"Available: {', '.join(argument_types)}" if argument_types else "The layer has no arguments"
            suggestion = format_suggestion(str(argument), argument_types)
            yield f"{name}: unknown argument {argument!r}.{suggestion} {available}"
        elif not argument_types[argument].accepts(value):
            yield f"{name}.{argument}: expected {argument_types[argument].description}, got {value!r}"
    if missing := [argument for argument in list_required_arguments(name) if argument not in (arguments or {})]:
        yield f"{name}: {missing[0]} is missing; expected {argument_types[missing[0]].description}"

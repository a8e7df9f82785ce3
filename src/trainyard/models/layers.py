"""The Keras layers that a config may name, and what their arguments may be.

An allowlist: what does not stand here is not built, so a config stays data. It is written out, and not read from Keras,
so that a config is checked without importing Keras; a test holds the names against Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from trainyard.config.registry import did_you_mean
from trainyard.models.blocks import ACTIVATIONS, INITIALIZERS


@dataclass(frozen=True, slots=True)
class Kind:
    """What an argument may be.

    Attributes:
        words: In words, after "expected".
        admits: Whether a value is one.
        choices: What it may be, where it is one of a few names.
    """

    words: str
    admits: Callable[[Any], bool]
    choices: tuple[str, ...] = ()


def _is_count(value: Any) -> bool:  # noqa: ANN401 - any value
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:  # noqa: ANN401 - any value
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_list(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(of, value))


def _is_whole(value: Any) -> bool:  # noqa: ANN401 - any value
    return isinstance(value, int) and not isinstance(value, bool)


def _is_margin(value: Any) -> bool:  # noqa: ANN401 - any value
    return (_is_whole(value) and value >= 0) or _is_list(_is_margin)(value)


def _is_penalty(value: Any) -> bool:  # noqa: ANN401 - any value
    return (
        isinstance(value, dict)
        and bool(value)
        and value.keys() <= {"l1", "l2"}
        and all(_is_number(weight) and weight >= 0 for weight in value.values())
    )


def _choice(*options: str) -> Kind:
    return Kind(f"one of {', '.join(options)}", lambda value: isinstance(value, str) and value in options, options)


COUNT = Kind("a whole number of at least 1", _is_count)
SIZE = Kind("a whole number of at least 1, or a list of them", lambda v: _is_count(v) or _is_list(_is_count)(v))
SHARE = Kind("a number of at least 0 and below 1", lambda v: _is_number(v) and 0 <= v < 1)
NUMBER = Kind("a number", _is_number)
POSITIVE = Kind("a number of at least 0", lambda v: _is_number(v) and v >= 0)
FLAG = Kind("true or false", lambda v: isinstance(v, bool))
AXIS = Kind("a whole number, or a list of them", lambda v: _is_whole(v) or _is_list(_is_whole)(v))
SHAPE = Kind("a list of whole numbers", _is_list(_is_whole))
MARGIN = Kind("a whole number of at least 0, or a list of them", _is_margin)
PADDING = _choice("valid", "same")
ACTIVATION = _choice(*ACTIVATIONS, "softmax")
INITIALIZER = _choice(*INITIALIZERS, "zeros", "ones")
PENALTY = Kind("a mapping such as {l2: 0.001}, of l1 and l2 to weights", _is_penalty)
INTERPOLATION = _choice("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")

Arguments = dict[str, Kind]

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
    "dropout": SHARE, "recurrent_dropout": SHARE, "return_sequences": FLAG, "go_backwards": FLAG,
}  # fmt: skip
_NORM: Arguments = {
    "axis": AXIS, "epsilon": POSITIVE, "center": FLAG, "scale": FLAG, "beta_initializer": INITIALIZER,
    "gamma_initializer": INITIALIZER, "beta_regularizer": PENALTY, "gamma_regularizer": PENALTY,
}  # fmt: skip

LAYERS: dict[str, Arguments] = {
    "Activation": {"activation": ACTIVATION},
    "AlphaDropout": {"rate": SHARE},
    "AveragePooling1D": _POOL,
    "AveragePooling2D": _POOL,
    "BatchNormalization": {**_NORM, "momentum": SHARE},
    "Conv1D": {**_CONVOLUTION, "groups": COUNT},
    "Conv2D": {**_CONVOLUTION, "groups": COUNT},
    "Conv2DTranspose": _CONVOLUTION,
    "Cropping2D": {"cropping": MARGIN},
    "Dense": {"units": COUNT, **_WEIGHTED},
    "DepthwiseConv2D": _DEPTHWISE,
    "Dropout": {"rate": SHARE},
    "ELU": {"alpha": POSITIVE},
    "Flatten": {},
    "GRU": {**_RECURRENT, "recurrent_activation": ACTIVATION, "reset_after": FLAG},
    "GaussianDropout": {"rate": SHARE},
    "GaussianNoise": {"stddev": POSITIVE},
    "GlobalAveragePooling1D": {"keepdims": FLAG},
    "GlobalAveragePooling2D": {"keepdims": FLAG},
    "GlobalMaxPooling1D": {"keepdims": FLAG},
    "GlobalMaxPooling2D": {"keepdims": FLAG},
    "GroupNormalization": {**_NORM, "groups": COUNT},
    "LSTM": {**_RECURRENT, "recurrent_activation": ACTIVATION, "unit_forget_bias": FLAG},
    "LayerNormalization": _NORM,
    "LeakyReLU": {"negative_slope": POSITIVE},
    "MaxPooling1D": _POOL,
    "MaxPooling2D": _POOL,
    "PReLU": {"alpha_initializer": INITIALIZER, "alpha_regularizer": PENALTY, "shared_axes": AXIS},
    "Permute": {"dims": SHAPE},
    "RMSNormalization": {"axis": AXIS, "epsilon": POSITIVE},
    "ReLU": {"max_value": POSITIVE, "negative_slope": POSITIVE, "threshold": NUMBER},
    "Reshape": {"target_shape": SHAPE},
    "SeparableConv2D": {**_DEPTHWISE, "filters": COUNT, "pointwise_initializer": INITIALIZER,
                        "pointwise_regularizer": PENALTY},
    "SimpleRNN": _RECURRENT,
    "Softmax": {"axis": AXIS},
    "SpatialDropout1D": {"rate": SHARE},
    "SpatialDropout2D": {"rate": SHARE},
    "UnitNormalization": {"axis": AXIS},
    "UpSampling2D": {"size": SIZE, "interpolation": INTERPOLATION},
    "ZeroPadding2D": {"padding": MARGIN},
}  # fmt: skip
"""Each layer with the arguments it takes, by Keras's names."""

REQUIRED = ("units", "filters", "kernel_size", "rate", "stddev", "dims", "target_shape")
"""Arguments without a default in Keras, where a layer has them; ``Activation`` wants its activation too."""


def required_arguments(name: str) -> list[str]:
    """Returns the arguments that a layer can't do without."""
    return [argument for argument in LAYERS[name] if argument in REQUIRED or name == "Activation"]


def read_layer(entry: Any) -> tuple[str, dict[str, Any]]:  # noqa: ANN401 - whatever stands in the config
    """Returns the name and the arguments of an entry, ``Flatten`` or ``{Dense: {units: 64}}``, that was checked."""
    if isinstance(entry, str):
        return entry, {}
    ((name, arguments),) = entry.items()
    return name, arguments or {}


def layer_problems(entry: Any) -> Iterator[str]:  # noqa: ANN401 - whatever stands in the config
    """Yields what is wrong with an entry of a list of layers."""
    single = isinstance(entry, dict) and len(entry) == 1
    if not (isinstance(entry, str) or (single and all(isinstance(name, str) for name in entry))):
        yield f"expected a layer, Flatten or {{Dense: {{units: 64}}}}, got {entry!r}"
        return
    name = entry if isinstance(entry, str) else next(iter(entry))
    if name not in LAYERS:
        yield f"unknown layer {name!r}.{did_you_mean(name, LAYERS)} Available: {', '.join(LAYERS)}"
        return
    arguments = {} if isinstance(entry, str) else entry[name]
    if not isinstance(arguments, (dict, type(None))):
        yield f"{name}: expected a mapping of its arguments, got {arguments!r}"
        return
    known = LAYERS[name]
    for argument, value in (arguments or {}).items():
        if argument not in known:
            taken = f"It takes {', '.join(known)}" if known else "It takes none"
            yield f"{name}: unknown argument {argument!r}.{did_you_mean(str(argument), known)} {taken}"
        elif not known[argument].admits(value):
            yield f"{name}.{argument}: expected {known[argument].words}, got {value!r}"
    if missing := [argument for argument in required_arguments(name) if argument not in (arguments or {})]:
        yield f"{name}: {missing[0]} is missing, {known[missing[0]].words}"

"""The networks of the part ``xla``: those that the table of costs is fitted to, and others that check the choice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Network:
    """A network to train on random images.

    Attributes:
        image_shape: (height, width), or (height, width, channels).
        overrides: Overrides that choose the model and the optimizer.
    """

    image_shape: tuple[int, ...]
    batch_size: int
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """The image shape, the batch size and the overrides, in one line."""
        shape = "x".join(map(str, self.image_shape))
        return f"{shape}, batch size {self.batch_size}: {' '.join(self.overrides).replace('model.', '')}"


def _mlp(units: list[int], *overrides: str) -> tuple[str, ...]:
    """Returns the overrides of a multilayer perceptron."""
    return ("model=mlp", f"model.hidden_units={_format(units)}", *overrides)


def _cnn(filters: list[int], *overrides: str, dense: tuple[int, ...] = ()) -> tuple[str, ...]:
    """Returns the overrides of a convolutional network, by default with one dense layer, the output."""
    return ("model=cnn", f"model.filters={_format(filters)}", f"model.dense_units={_format(dense)}", *overrides)


def _layers(*layers: Any) -> tuple[str, ...]:  # noqa: ANN401 - names, or mappings from names to arguments
    """Returns the overrides of a network with these layers."""
    return ("model=sequential", f"model.layers={_format(layers)}")


def _format(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Returns a value in Hydra's override grammar."""
    return json.dumps(value, separators=(",", ":")).replace('"', "")


def _dense(units: int, activation: str = "relu") -> dict[str, Any]:
    return {"Dense": {"units": units, "activation": activation}}


def _conv(filters: int, kernel_size: int = 3, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - Keras arguments
    return {"Conv2D": {"filters": filters, "kernel_size": kernel_size, "activation": "relu", **arguments}}


def _depthwise(kernel_size: int = 3, **arguments: int) -> dict[str, Any]:
    return {"DepthwiseConv2D": {"kernel_size": kernel_size, **arguments}}


def _separable(filters: int) -> dict[str, Any]:
    return {"SeparableConv2D": {"filters": filters, "kernel_size": 3, "activation": "relu"}}


def _average(size: int) -> dict[str, Any]:
    return {"AveragePooling2D": {"pool_size": size}}


def _rows(side: int) -> dict[str, Any]:
    """Returns the layer that turns square grayscale images into sequences of rows."""
    return {"Reshape": {"target_shape": [side, side]}}


def _list_networks(*rows: tuple[tuple[int, ...], int, tuple[str, ...]]) -> tuple[Network, ...]:
    return tuple(Network(*row) for row in rows)


_MAX = {"MaxPooling2D": {"pool_size": 2}}
_MEAN = "GlobalAveragePooling2D"
_DROPOUT, _NORM = "model.dropout=0.2", "model.batch_norm=true"
_S8, _S14, _S16, _S20, _S24, _S28, _S32, _S64 = ((side, side) for side in (8, 14, 16, 20, 24, 28, 32, 64))
_C8, _C16, _C24, _C32, _C48, _C64 = ((side, side, 3) for side in (8, 16, 24, 32, 48, 64))

FITTED = _list_networks(
    # dense networks
    (_S8, 32, _mlp([16])),
    (_S28, 16, _mlp([64])),
    (_S28, 32, _mlp([300, 200, 100])),
    (_S28, 512, _mlp([300, 200, 100])),
    (_S28, 128, _mlp([1024])),
    (_S28, 64, _mlp([2048, 2048])),
    (_S16, 64, _mlp([64] * 8)),
    (_S28, 128, _mlp([128, 128], "model.activation=tanh")),
    (_S28, 128, _mlp([256, 256], "model.activation=gelu", "optimizer=sgd")),
    (_S28, 256, _mlp([64, 64], "optimizer=sgd")),
    (_S28, 64, _mlp([128, 64], "optimizer=nadam")),
    (_S28, 32, _mlp([512, 256], "optimizer=sgd_momentum")),
    (_S28, 512, _mlp([512, 512, 512], "optimizer=adamw")),
    (_S28, 512, _mlp([800, 800])),
    (_S28, 512, _mlp([128])),
    (_C32, 64, _mlp([512, 128])),
    (_C64, 32, _mlp([256])),
    (_S28, 64, _mlp([128], "model.l2=0.001")),
    (_S28, 128, _mlp([512, 512], "training.precision=mixed_bfloat16")),
    # normalization
    (_S28, 32, _mlp([32, 32], _NORM)),
    (_S28, 128, _mlp([256, 256], _NORM)),
    (_S28, 256, _mlp([128, 128], _NORM)),
    (_S28, 64, _layers("Flatten", _dense(128), "LayerNormalization", _dense(128), "LayerNormalization")),
    (_S28, 128, _layers("Flatten", _dense(512), "LayerNormalization", _dense(256, "gelu"), "LayerNormalization")),
    (_S16, 128, _layers("Flatten", _dense(64), "RMSNormalization", _dense(64), "UnitNormalization")),
    (_S28, 128, _layers("Flatten", _dense(256, "linear"), "PReLU", _dense(64))),
    # random numbers
    (_S28, 16, _mlp([32], _DROPOUT)),
    (_S28, 64, _mlp([32], _DROPOUT)),
    (_S28, 32, _mlp([128], _DROPOUT)),
    (_S28, 256, _mlp([128], _DROPOUT)),
    (_S28, 64, _mlp([512], _DROPOUT)),
    (_S28, 32, _mlp([64, 64], _DROPOUT)),
    (_S28, 128, _mlp([256, 256], _DROPOUT)),
    (_S28, 64, _mlp([1024, 1024], _DROPOUT)),
    (_S28, 32, _mlp([64, 64, 32], _DROPOUT)),
    (_S28, 128, _mlp([300, 200, 200], _DROPOUT)),
    (_S28, 32, _mlp([300, 200, 100], _DROPOUT, _NORM)),
    (_S28, 64, _layers("Flatten", {"GaussianNoise": {"stddev": 0.1}}, _dense(128))),
    (_S28, 64, _layers("Flatten", _dense(128), {"GaussianDropout": {"rate": 0.1}})),
    (_S28, 32, _layers("Flatten", *[{"GaussianNoise": {"stddev": 0.1}}, _dense(784)] * 2)),
    (_S28, 64, _layers(_conv(16), {"SpatialDropout2D": {"rate": 0.2}}, _MAX)),
    (_S8, 64, _cnn([4, 4], _DROPOUT)),
    (_S28, 64, _cnn([16, 32], _DROPOUT, dense=(128,))),
    # pooling without convolution
    (_S28, 32, _layers(_MAX, "Flatten", _dense(64))),
    (_C64, 128, _layers(_MAX, _MAX, "Flatten", _dense(64))),
    (_S28, 64, _layers({"MaxPooling2D": {"pool_size": 3, "strides": 1}}, "Flatten", _dense(32))),
    (_S28, 32, _layers(_average(2), "Flatten", _dense(64))),
    (_C64, 16, _layers(_average(4), "Flatten", _dense(256))),
    (_S64, 512, _layers(_average(2), "Flatten", _dense(32))),
    (_S28, 64, _layers("GlobalMaxPooling2D", _dense(32))),
    # convolutions
    (_S8, 16, _layers(_conv(2), _MEAN)),
    (_S8, 16, _layers(_conv(32), _MEAN)),
    (_S8, 128, _layers(_conv(2), _MEAN)),
    (_S8, 128, _layers(_conv(8), _MEAN)),
    (_S8, 128, _layers(_conv(32), _MEAN)),
    (_S8, 128, _layers(_conv(8, 5), _MEAN)),
    (_S8, 512, _layers(_conv(4), _MEAN)),
    (_S14, 32, _layers(_conv(2), _MEAN)),
    (_S14, 32, _layers(_conv(8), _MEAN)),
    (_S14, 32, _layers(_conv(32), _MEAN)),
    (_S20, 64, _layers(_conv(2), _MEAN)),
    (_S20, 64, _layers(_conv(8, 5), _MEAN)),
    (_C16, 64, _layers(_conv(32, 1), _conv(32, 1), _MEAN)),
    (_C8, 64, _layers(_conv(4, 1), _conv(4), "Flatten")),
    (_C16, 32, _layers(_conv(4, 1), _conv(4), "Flatten")),
    (_C16, 32, _layers(_conv(16, 1), _conv(16), "Flatten")),
    (_S28, 32, _layers(_conv(8, dilation_rate=2), _MEAN)),
    (_C32, 64, _layers(_conv(16, strides=2), _conv(32, strides=2), _conv(64, strides=2), _MEAN)),
    (_C64, 32, _layers(_conv(16, 8, strides=8), "Flatten", _dense(64))),
    (_S8, 32, _layers(_conv(8), {"Conv2DTranspose": {"filters": 8, "kernel_size": 3, "strides": 2}}, _MEAN)),
    (_S8, 32, _layers({"UpSampling2D": {"size": 2}}, _conv(8), _MEAN)),
    (_S16, 64, _layers(_conv(16), _conv(16, groups=4), _MEAN)),
    (_S8, 32, _layers(_conv(8), _conv(8, groups=2), _MEAN)),
    (_S16, 32, _layers(_conv(16), {"GroupNormalization": {"groups": 4}}, "ReLU", _MEAN)),
    (_S28, 64, _layers(_rows(28), {"Conv1D": {"filters": 32, "kernel_size": 3}}, {"MaxPooling1D": {"pool_size": 2}})),
    # convolutional networks with pooling
    (_S28, 32, _cnn([4])),
    (_S28, 512, _cnn([2])),
    (_S8, 32, _cnn([8])),
    (_S8, 256, _cnn([4])),
    (_S28, 64, _cnn([16, 32], dense=(64,))),
    (_S28, 32, _cnn([8, 16], "model.pooling=average")),
    (_S16, 256, _cnn([4, 8], "model.pooling=average")),
    (_S28, 16, _cnn([16], "model.kernel_size=5")),
    (_S64, 16, _cnn([4, 8], "model.global_pooling=max")),
    (_S8, 128, _cnn([64, 64])),
    (_C16, 16, _cnn([8, 16], "model.convolutions=2")),
    (_C32, 64, _cnn([8, 16], _NORM, "model.global_pooling=average")),
    (_S28, 64, _cnn([8, 16], "training.precision=mixed_bfloat16", dense=(64,))),
    (_S32, 32, _layers(_average(4), _conv(8), "Flatten", _dense(32))),
    # depthwise and separable convolutions
    (_S28, 32, _layers(_depthwise(), _MEAN)),
    (_S28, 32, _layers(_depthwise(depth_multiplier=8), "BatchNormalization", "ReLU", _MEAN)),
    (_S28, 64, _layers(_depthwise(depth_multiplier=2, strides=2), _MAX, "Flatten", _dense(32))),
    (_C32, 64, _layers(_depthwise(depth_multiplier=4), _MAX, "Flatten", _dense(64))),
    (_C8, 64, _layers(_conv(4, 1), _depthwise(), _MEAN)),
    (_C8, 64, _layers(_conv(16, 1), _depthwise(), _MEAN)),
    (_C16, 32, _layers(_conv(4, 1), _depthwise(), _MEAN)),
    (_C32, 32, _layers(_conv(4, 1), _depthwise(), _MEAN)),
    (_S28, 64, _layers(_separable(16), _MAX, _separable(32), _MEAN)),
    (_S28, 32, _layers(_conv(8), _separable(32), _MAX, "Flatten", _dense(32))),
    # recurrent networks
    (_S28, 32, _layers(_rows(28), {"LSTM": {"units": 32}})),
    (_S28, 64, _layers(_rows(28), {"LSTM": {"units": 64, "return_sequences": True}}, {"LSTM": {"units": 32}})),
    (_S16, 32, _layers(_rows(16), {"LSTM": {"units": 32, "dropout": 0.2}})),
    (_S28, 128, _layers(_rows(28), {"GRU": {"units": 64}})),
    (_S8, 16, _layers(_rows(8), {"SimpleRNN": {"units": 16}})),
)
"""Networks to whose times the costs are fitted."""

CHECKED = _list_networks(
    (_S28, 64, _mlp([200, 50])),
    (_S28, 32, _mlp([1500], "optimizer=sgd")),
    (_S14, 16, _mlp([24, 24, 24], "optimizer=rmsprop")),
    (_C24, 256, _mlp([384, 192], "model.activation=elu")),
    (_S28, 128, _mlp([400, 400], "model.dropout=0.4")),
    (_S16, 512, _mlp([32, 32], _NORM)),
    (_S8, 16, _mlp([16], "model.dropout=0.1")),
    (_S20, 64, _mlp([200, 80], "model.dropout=0.3")),
    (_S28, 64, _cnn([6, 12], dense=(32,))),
    (_S28, 32, _cnn([24, 48], dense=(100,))),
    (_S20, 128, _cnn([10], "model.kernel_size=5", "model.pooling=average")),
    (_C48, 32, _cnn([12, 24], "model.global_pooling=average")),
    (_S24, 64, _cnn([16, 16], _NORM, "model.convolutions=2")),
    (_S8, 256, _cnn([3])),
    (_S8, 64, _cnn([5], dense=(20,))),
    (_S14, 16, _cnn([6], dense=(30,))),
    (_S28, 128, _cnn([8, 8], "model.dropout=0.3", dense=(32,))),
    (_C32, 64, _layers(_MAX, "Flatten", _dense(128))),
    (_S28, 256, _layers(_average(4), "Flatten", _dense(32))),
    (_S28, 64, _layers(_depthwise(5, depth_multiplier=4), _MEAN, _dense(32))),
    (_C24, 32, _layers(_separable(24), _MAX, _separable(48), _MAX, "Flatten", _dense(64))),
    (_S32, 64, _layers(_conv(8, strides=2), _depthwise(), "BatchNormalization", "ReLU", _conv(16, 1), _MEAN)),
    (_S64, 16, _layers(_conv(8, strides=2), _MAX, _conv(16), "GlobalMaxPooling2D")),
    (_S16, 64, _layers(_conv(12), "LayerNormalization", _MAX, "Flatten", _dense(40))),
    (_S28, 128, _layers(_conv(6, 5), _average(2), _conv(16, 5), _average(2), "Flatten", _dense(120), _dense(84))),
    (_S28, 32, _layers(_rows(28), {"Conv1D": {"filters": 16, "kernel_size": 5}}, "GlobalAveragePooling1D")),
    (_S16, 64, _layers(_rows(16), {"GRU": {"units": 24}})),
    (_S14, 64, _layers(_rows(14), {"SimpleRNN": {"units": 48}})),
    (_S28, 64, _layers("Flatten", _dense(96, "selu"), {"AlphaDropout": {"rate": 0.1}}, _dense(48, "selu"))),
    (_S16, 32, _layers(_average(2), _conv(6), "Flatten", _dense(24))),
)
"""Other networks, with which the choice is checked."""

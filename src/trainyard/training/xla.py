"""Decides whether XLA compiles the training, and gives the reason.

On a CPU, XLA is the fastest option for dense networks. It is several times slower than TensorFlow for convolutions,
pooling and random numbers, and therefore for dropout. The measurements are in ``experiments/performance``. The decision
depends on the TensorFlow operations of the model, not on the names of its layers, so it also works for custom layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

_SLOW_ON_CPU = (
    "Conv", "DepthwiseConv", "MaxPool", "AvgPool", "FractionalMaxPool", "FractionalAvgPool", "Dilation2D",
    "StatelessRandom", "RandomUniform", "RandomStandardNormal",
)  # fmt: skip
"""Prefixes of the TensorFlow operations that are several times slower with XLA than without it on a CPU."""


@dataclass(frozen=True, slots=True)
class XlaChoice:
    """Whether XLA is used, and the reason. Printed as ``'on: REASON'`` or ``'off: REASON'``."""

    on: bool
    reason: str

    def __str__(self) -> str:
        return f"{'on' if self.on else 'off'}: {self.reason}"


def choose_xla(
    model: keras.Model, setting: str, determinism: str, image_shape: tuple[int, ...], augmented: bool = False
) -> XlaChoice:
    """Decides whether XLA compiles the training of a built model on this machine.

    `setting` and `determinism` are the values of ``training.xla`` and ``training.determinism``. `augmented` is whether
    augmentation transforms the training images.
    """
    import tensorflow as tf

    if setting != "auto":
        return XlaChoice(setting == "on", "set by training.xla")
    if determinism == "strict":
        return XlaChoice(on=False, reason="training.determinism is strict, and XLA rounds differently from TensorFlow")
    if augmented:
        return XlaChoice(on=False, reason="XLA has no operation for the image transformations of augmentation")
    if tf.config.list_logical_devices("GPU"):
        return XlaChoice(on=True, reason="the model trains on a GPU")
    slow = sorted(name for name in _list_operations(model, image_shape) if name.startswith(_SLOW_ON_CPU))
    if slow:
        return XlaChoice(on=False, reason=f"on a CPU, XLA is slow for {', '.join(slow)}")
    return XlaChoice(on=True, reason="a network without convolution, pooling or dropout, on a CPU")


def _list_operations(model: keras.Model, image_shape: tuple[int, ...]) -> set[str]:
    """Returns the types of the TensorFlow operations in a model's forward pass, including nested functions."""
    import tensorflow as tf

    forward = tf.function(lambda images: model(images, training=True), autograph=False)
    graph = forward.get_concrete_function(tf.TensorSpec((None, *image_shape), tf.float32)).graph.as_graph_def()
    nested = (node for function in graph.library.function for node in function.node_def)
    return {node.op for node in (*graph.node, *nested)}

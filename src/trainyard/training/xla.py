"""Whether XLA compiles the training, and why.

On the CPU XLA is the fastest there is for dense networks, and ruinous for convolutions, pooling and random numbers, so
for dropout too; ``experiments/performance`` has the measurements. So the operations of the model decide, not the names
of its layers: a layer of your own is judged by what it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

SLOW_ON_CPU = (
    "Conv", "DepthwiseConv", "MaxPool", "AvgPool", "FractionalMaxPool", "FractionalAvgPool", "Dilation2D",
    "StatelessRandom", "RandomUniform", "RandomStandardNormal",
)  # fmt: skip
"""How the TensorFlow operations begin that XLA runs several times slower than TensorFlow does, on a CPU."""


@dataclass(frozen=True, slots=True)
class XlaChoice:
    """Whether XLA is used, and why; printed as ``'on: ...'``."""

    on: bool
    reason: str

    def __str__(self) -> str:
        return f"{'on' if self.on else 'off'}: {self.reason}"


def choose_xla(
    model: keras.Model, wish: str, determinism: str, image_shape: tuple[int, ...], augmented: bool = False
) -> XlaChoice:
    """Decides whether XLA compiles the training of a model on this machine.

    Args:
        model: Built.
        wish: ``training.xla``: auto, on or off.
        determinism: ``training.determinism``; strict does without XLA.
        image_shape: The shape of one image.
        augmented: Whether training images are moved about, for which XLA has no operation.
    """
    import tensorflow as tf

    if wish != "auto":
        return XlaChoice(wish == "on", "asked for by training.xla")
    if determinism == "strict":
        return XlaChoice(on=False, reason="determinism is strict, and XLA rounds otherwise than TensorFlow does")
    if augmented:
        return XlaChoice(on=False, reason="augmentation moves images about, and XLA has no operation for it")
    if tf.config.list_logical_devices("GPU"):
        return XlaChoice(on=True, reason="the model trains on a GPU")
    slow = sorted(name for name in operations(model, image_shape) if name.startswith(SLOW_ON_CPU))
    if slow:
        return XlaChoice(on=False, reason=f"on a CPU XLA is slow at {', '.join(slow)}")
    return XlaChoice(on=True, reason="a network without convolution, pooling or dropout, on a CPU")


def operations(model: keras.Model, image_shape: tuple[int, ...]) -> set[str]:
    """Returns the types of the TensorFlow operations in a model's forward pass, those in nested functions included.

    Args:
        model: Built.
        image_shape: The shape of one image.
    """
    import tensorflow as tf

    forward = tf.function(lambda images: model(images, training=True), autograph=False)
    graph = forward.get_concrete_function(tf.TensorSpec((None, *image_shape), tf.float32)).graph.as_graph_def()
    nested = (node for function in graph.library.function for node in function.node_def)
    return {node.op for node in (*graph.node, *nested)}

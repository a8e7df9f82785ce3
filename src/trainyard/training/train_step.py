"""The training on one batch, which the programs of the compiled engine share, because tracing it takes a long time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trainyard.data import BatchMaker, Split

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

TrainStep = Callable[["tf.Tensor", "tf.Tensor", "tf.Tensor", "tf.Tensor"], object]
"""Trains on one batch: raw pixels, labels, the number of the epoch, and that of the batch, both counted from 0."""

_CONTROL_FLOW = {"If", "StatelessIf", "Case", "StatelessCase", "While", "StatelessWhile"}


def build_train_step(model: keras.Model, batches: BatchMaker, split: Split) -> TrainStep:
    """Returns a function that trains on images of a split, with a trace for batches of any size.

    A function with branches or loops has no trace: each program traces it, because XLA rounds differently if branches
    are in a nested function.
    """
    import tensorflow as tf

    def step(pixels: tf.Tensor, labels: tf.Tensor, epoch: tf.Tensor, number: tf.Tensor) -> None:
        model.train_step(batches.make(pixels, labels, (epoch, number)))

    pixels = tf.TensorSpec((None, *split.images.shape[1:]), tf.uint8)
    number = tf.TensorSpec((), tf.int32)
    signature = [pixels, tf.TensorSpec((None,), split.labels.dtype), number, number]
    shared = tf.function(step, input_signature=signature, autograph=False)
    operations = {operation.type for operation in shared.get_concrete_function().graph.get_operations()}
    return step if operations & _CONTROL_FLOW else shared

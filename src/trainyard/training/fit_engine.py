"""The engine for whatever Keras can train: `keras.Model.fit` over uint8 images, shuffled, gathered, scaled by batch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.data.batches import BatchMaker
from trainyard.data.dataset import Dataset, Split
from trainyard.training.engine import EpochPlan, OnSteps, broke_down, validation_batch

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

DrawPass = Callable[[], tuple[int, NDArray[np.int32]]]
"""Draws a pass over the training images: its epoch, counted from 0, and its order, int32 (n,)."""

EXECUTION_STEPS = 100
"""Steps that Keras runs before it returns to Python: bit-identical to single steps, and much faster."""

_TIMED = 3
"""The start and the ends of two executions: enough to tell compiling from training."""


class FitEngine:
    """Keras's own loop."""

    name = "fit"

    def __init__(self, model: keras.Model, dataset: Dataset, batches: BatchMaker) -> None:
        self.compile_seconds = 0.0
        self._batches = batches
        self._model = model
        self._dataset = dataset

    def run(self, plan: EpochPlan, callbacks: list[keras.callbacks.Callback], on_steps: OnSteps) -> None:
        """Trains the model in place; see `Engine.run`."""
        import keras

        train, validation = self._dataset.train, self._dataset.validation
        steps, size, epoch = plan.steps(len(train)), validation_batch(plan.batch_size), plan.first
        done = [time.perf_counter()]

        def begin(number: int, logs: Any = None) -> None:  # noqa: ANN401, ARG001 - Keras's signature
            nonlocal epoch
            epoch = number

        def advance(batch: int, logs: Any = None) -> None:  # noqa: ANN401 - Keras's signature
            done.append(time.perf_counter())
            if len(done) == _TIMED:  # what the first execution took beyond the second
                self.compile_seconds = max(0.0, (done[1] - done[0]) - (done[2] - done[1]))
            if not math.isfinite(loss := (logs or {}).get("loss", 0.0)):
                raise broke_down(epoch + 1, f"loss/train is {loss} after step {batch + 1}")
            on_steps(epoch + 1, min(batch + 1, steps), steps)

        watch = keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_train_batch_end=advance)
        self._model.fit(
            stream_batches(train, self._batches, plan.batch_size, lambda: (epoch, plan.order(epoch, len(train)))),
            validation_data=None if validation is None else stream_batches(validation, self._batches, size),
            initial_epoch=plan.first,
            epochs=plan.epochs,
            callbacks=[watch, *callbacks],
            shuffle=False,  # Keras's own shuffling does not apply: each pass draws its order
            verbose=0,
        )


def stream_batches(
    split: Split,
    batches: BatchMaker,
    batch_size: int,
    draw_pass: DrawPass | None = None,
) -> tf.data.Dataset:
    """Streams the batches of a split; the images are held as uint8, once.

    Args:
        split: The images and labels.
        batches: How they become batches.
        batch_size: Images per batch; the last may be shorter.
        draw_pass: Called for each pass that trains on the split. None: images come as they lie, to be evaluated.

    Returns:
        Elements are what `BatchMaker.make` returns.
    """
    import tensorflow as tf

    with tf.device("/CPU:0"):  # where tf.data works
        images, labels = tf.constant(split.images), tf.constant(split.labels)

    def make(epoch: tf.Tensor, number: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return batches.make(tf.gather(images, indices), tf.gather(labels, indices), (epoch, number))

    if draw_pass is None:
        stream = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size).map(batches.make)
    else:
        places = _draw_places(draw_pass, len(split), batch_size)
        stream = places.map(make, num_parallel_calls=tf.data.AUTOTUNE)
    return stream.apply(tf.data.experimental.assert_cardinality(math.ceil(len(split) / batch_size))).prefetch(
        tf.data.AUTOTUNE
    )


def _draw_places(draw_pass: DrawPass, count: int, batch_size: int) -> tf.data.Dataset:
    """Streams, for each batch, the epoch, the batch's number in it, int32 (), and its images' indices, int32 (b,)."""
    import tensorflow as tf

    def draw() -> tuple[np.int32, NDArray[np.int32]]:
        epoch, order = draw_pass()
        return np.int32(epoch), order

    def begin_pass(_: tf.Tensor) -> tf.data.Dataset:
        epoch, order = tf.numpy_function(draw, [], [tf.int32, tf.int32])
        epoch, order = tf.ensure_shape(epoch, ()), tf.ensure_shape(order, (count,))
        batched = tf.data.Dataset.from_tensor_slices(order).batch(batch_size).enumerate()
        return batched.map(lambda number, indices: (epoch, tf.cast(number, tf.int32), indices))

    return tf.data.Dataset.from_tensors(0).flat_map(begin_pass)

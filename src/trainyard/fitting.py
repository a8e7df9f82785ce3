"""The engine for whatever Keras can train: `keras.Model.fit` over uint8 images, shuffled, gathered, scaled by batch.

Before it: epochs. After it: training, which takes it where the compiled program can't do the job.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.epochs import EpochPlan, OnSteps, broke_down, validation_batch
from trainyard.images import Dataset, Split

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

EXECUTION_STEPS = 100
"""Steps that Keras runs before it returns to Python: bit-identical to single steps, and much faster."""

_TIMED = 3
"""The start and the ends of two executions: enough to tell compiling from training."""


class FitEngine:
    """Keras's own loop."""

    name = "fit"

    def __init__(self, model: keras.Model, dataset: Dataset) -> None:
        self.compile_seconds = 0.0
        self._model = model
        self._dataset = dataset

    def run(self, plan: EpochPlan, callbacks: list[keras.callbacks.Callback], on_steps: OnSteps) -> None:
        """Trains the model in place; see `Engine.run`."""
        import keras

        train, validation = self._dataset.train, self._dataset.validation
        table, steps = self._dataset.spec.scale_table(), plan.steps(len(train))
        size, epoch = validation_batch(plan.batch_size), plan.first
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
            batches(train, table, plan.batch_size, lambda: plan.order(epoch, len(train))),
            validation_data=batches(validation, table, size) if validation is not None else None,
            initial_epoch=plan.first,
            epochs=plan.epochs,
            callbacks=[watch, *callbacks],
            shuffle=False,  # Keras's own shuffling does not apply: each pass draws its order
            verbose=0,
        )


def batches(
    split: Split,
    scale_table: NDArray[np.float32],
    batch_size: int,
    order: Callable[[], NDArray[np.int32]] | None = None,
) -> tf.data.Dataset:
    """Streams batches of scaled images with their labels; the images are held as uint8, once.

    Args:
        split: The images and labels.
        scale_table: float32 (256,), the scaled value of each raw pixel value.
        batch_size: Images per batch; the last may be shorter.
        order: Called once for each pass with int32 (n,) as its result, the order of that pass; None: as they are.

    Returns:
        Elements are (float32 (b, *image_shape) in 0..1, uint8 (b,)).
    """
    import tensorflow as tf

    with tf.device("/CPU:0"):  # where tf.data works
        images, labels, table = tf.constant(split.images), tf.constant(split.labels), tf.constant(scale_table)
    count = len(split)

    def draw(_: tf.Tensor) -> tf.data.Dataset:
        indices = tf.numpy_function(order, [], tf.int32) if order else tf.range(count)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(indices, (count,))).batch(batch_size)

    def gather(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.gather(images, indices)
        return tf.gather(table, tf.cast(pixels, tf.int32)), tf.gather(labels, indices)

    stream = tf.data.Dataset.from_tensors(0).flat_map(draw).map(gather, num_parallel_calls=tf.data.AUTOTUNE)
    return stream.apply(tf.data.experimental.assert_cardinality(math.ceil(count / batch_size))).prefetch(
        tf.data.AUTOTUNE
    )

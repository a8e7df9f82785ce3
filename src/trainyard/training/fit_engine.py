"""The `fit` engine: trains with `keras.Model.fit`, for models and callbacks that the compiled engine can't handle.

The images stay uint8 in memory. They are gathered, scaled and augmented batch by batch in a `tf.data` pipeline.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.data import BatchMaker, Dataset, Split, read_rows
from trainyard.training.engine import EpochPlan, OnSteps, build_divergence_error, compute_validation_batch_size
from trainyard.training.image_tensor import copy_to_tensor

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

DrawOrder = Callable[[], tuple[np.int32, NDArray[np.int32]]]
"""Returns the epoch, counted from 0, and the order of the images for one pass over the training images: int32 (n,)."""

EXECUTION_STEPS = 100
"""Steps per execution, between which Keras returns to Python. Bit-identical to single steps, and much faster."""


class FitEngine:
    """Trains with `keras.Model.fit`."""

    name = "fit"

    def __init__(self, model: keras.Model, dataset: Dataset, batches: BatchMaker, *, stream: bool = False) -> None:
        """Creates an engine that copies the images to memory, or reads each batch from the disk if `stream`."""
        self.compile_seconds = 0.0
        self._stream = stream
        self._batches = batches
        self._model = model
        self._dataset = dataset

    def set_xla(self, *, on: bool) -> None:
        """Sets whether Keras compiles the training with XLA."""
        self._model.jit_compile = on

    def run(self, plan: EpochPlan, callbacks: list[keras.callbacks.Callback], on_steps: OnSteps) -> None:
        """Trains the model in place. Raises a TrainingError if the loss is no longer finite."""
        import keras

        train, validation = self._dataset.train, self._dataset.validation
        steps = plan.count_steps_per_epoch(len(train))
        size = compute_validation_batch_size(plan.batch_size, self._dataset.spec.image_shape)
        epoch = plan.initial_epoch
        times = [time.perf_counter()]

        def begin_epoch(number: int, logs: Any = None) -> None:  # noqa: ANN401, ARG001 - Keras's signature
            nonlocal epoch
            epoch = number

        def end_execution(batch: int, logs: Any = None) -> None:  # noqa: ANN401 - Keras's signature
            """Measures the compilation, checks the loss, and reports the steps done; `batch` is counted from 0."""
            times.append(time.perf_counter())
            if len(times) == 3:  # noqa: PLR2004 - the first execution compiles; the second one does not
                self.compile_seconds = max(0.0, (times[1] - times[0]) - (times[2] - times[1]))
            if not math.isfinite(loss := (logs or {}).get("loss", 0.0)):
                raise build_divergence_error(epoch + 1, f"loss/train is {loss} after step {batch + 1}")
            on_steps(epoch + 1, min(batch + 1, steps), steps)

        monitor = keras.callbacks.LambdaCallback(on_epoch_begin=begin_epoch, on_train_batch_end=end_execution)
        self._model.fit(
            stream_batches(
                train,
                self._batches,
                plan.batch_size,
                lambda: (np.int32(epoch), plan.draw_image_order(epoch, len(train))),
                from_disk=self._stream,
            ),
            validation_data=None
            if validation is None
            else stream_batches(validation, self._batches, size, from_disk=self._stream),
            initial_epoch=plan.initial_epoch,
            epochs=plan.epochs,
            callbacks=[monitor, *callbacks],
            shuffle=False,  # `draw_order` shuffles; Keras can't shuffle a tf.data.Dataset
            verbose=0,
        )


def stream_batches(
    split: Split,
    batches: BatchMaker,
    batch_size: int,
    draw_order: DrawOrder | None = None,
    *,
    from_disk: bool = False,
) -> tf.data.Dataset:
    """Returns a `tf.data.Dataset` of the batches of a split, see `BatchMaker.make`.

    `draw_order` is called at the start of each training pass. None streams the images in their order, for evaluation.
    All images are copied to memory as uint8, unless `from_disk`; then the images of each batch are read separately.
    """
    import tensorflow as tf

    with tf.device("/CPU:0"):  # tf.data runs on the CPU
        labels = tf.constant(split.labels)
        images = None if from_disk else copy_to_tensor(split.images, split.images.shape)

    def take(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the images and labels at these indices."""
        if images is not None:
            return tf.gather(images, indices), tf.gather(labels, indices)
        pixels = tf.numpy_function(lambda rows: read_rows(split.images, rows), [indices], tf.uint8, stateful=False)
        return tf.ensure_shape(pixels, (None, *split.images.shape[1:])), tf.gather(labels, indices)

    def make(epoch: tf.Tensor, number: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Makes the training batch of the images at these indices."""
        return batches.make(*take(indices), (epoch, number))

    def begin_pass(_: tf.Tensor) -> tf.data.Dataset:
        """Streams one training pass, in a newly drawn order: the epoch, the number of the batch, its image indices."""
        epoch, order = tf.numpy_function(draw_order, [], [tf.int32, tf.int32])
        epoch, order = tf.ensure_shape(epoch, ()), tf.ensure_shape(order, (len(split),))
        batched = tf.data.Dataset.from_tensor_slices(order).batch(batch_size).enumerate()
        return batched.map(lambda number, indices: (epoch, tf.cast(number, tf.int32), indices))

    if draw_order is None:
        order = tf.data.Dataset.range(len(split), output_type=tf.int32).batch(batch_size)
        stream = order.map(lambda indices: batches.make(*take(indices)))
    else:
        passes = tf.data.Dataset.from_tensors(0).flat_map(begin_pass)
        stream = passes.map(make, num_parallel_calls=tf.data.AUTOTUNE)
    cardinality = tf.data.experimental.assert_cardinality(math.ceil(len(split) / batch_size))
    return stream.apply(cardinality).prefetch(tf.data.AUTOTUNE)

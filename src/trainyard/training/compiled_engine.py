"""The compiled engine: one TensorFlow program that trains a whole epoch without returning to Python.

The images are stored as uint8 on the device that runs the program. A loop in the program gathers the images of the next
batch in the epoch's order, scales them, and passes the batch to the model's own `train_step`. Forward pass, loss,
gradient, optimizer and metrics are therefore plain Keras. With XLA, the whole loop is compiled into one kernel: no step
waits for Python, for TensorFlow's scheduler or for data.

A running program can't be interrupted, so it is called for spans of about a second. The bounds of the loop are
arguments, so all spans share one compilation. Between two spans the engine handles signals, reports progress, and
checks the loss and the weights. If the last batch of an epoch is smaller, a separate program without XLA trains on it,
because compiling with XLA for one step per epoch would take longer than it saves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.data import BatchMaker, Dataset, Split
from trainyard.system import stderr_captured
from trainyard.training.engine import (
    EpochPlan,
    OnSteps,
    build_divergence_error,
    compute_validation_batch_size,
    find_nonfinite_weights,
)

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SPAN_SECONDS = 1.0
"""Approximate time that the program runs before it returns to Python."""

_FIRST_SPAN_STEPS = 4
_SPAN_GROWTH = 8


class CompiledEngine:
    """Trains a compiled Keras model with one TensorFlow program. The constructor traces and compiles the program."""

    name = "compiled"

    def __init__(
        self, model: keras.Model, dataset: Dataset, batches: BatchMaker, batch_size: int, *, xla: bool
    ) -> None:
        """Copies the data to the device, and traces and compiles the programs. The model's optimizer must be built.

        Raises:
            tensorflow.errors.OpError: If XLA can't compile an operation of the model.
            Exception: Any exception that a layer raises while it is traced.
        """
        import tensorflow as tf

        start_time = time.perf_counter()
        self._model = model
        self._images = len(dataset.train)
        self._batch_size = batch_size
        data = _DeviceData(dataset.train, batches, on_gpu=xla and bool(tf.config.list_logical_devices("GPU")))
        has_full_batch = self._images >= batch_size
        self._train = _TrainProgram(model, data, batch_size, batch_size, xla=xla) if has_full_batch else None
        remainder = self._images % batch_size
        self._train_last = None
        if remainder:
            host_data = _DeviceData(dataset.train, batches, on_gpu=False) if data.on_gpu else data
            self._train_last = _TrainProgram(model, host_data, batch_size, remainder, xla=False)
        self._validate = None
        if dataset.validation is not None:
            validation = _DeviceData(dataset.validation, batches, on_gpu=False)
            self._validate = _ValidationProgram(model, validation, compute_validation_batch_size(batch_size))
        self.compile_seconds = time.perf_counter() - start_time

    def run(self, plan: EpochPlan, callbacks: list[keras.callbacks.Callback], on_steps: OnSteps) -> None:
        """Trains the model in place. Raises a TrainingError if the loss or a weight is no longer finite.

        The hooks of the callbacks are called in the order of `keras.Model.fit`, and with its keys, such as
        ``val_loss``.
        """
        import keras

        model, steps = self._model, plan.count_steps_per_epoch(self._images)
        callback_list = keras.callbacks.CallbackList(
            callbacks, add_history=True, model=model, epochs=plan.epochs, steps=steps, verbose=0
        )
        spans, validation_spans = _Spans(), _Spans()
        logs: dict[str, float] = {}
        model.stop_training = False
        callback_list.on_train_begin()
        for epoch in range(plan.initial_epoch, plan.epochs):
            model.reset_metrics()
            callback_list.on_epoch_begin(epoch)
            self._run_epoch(plan.draw_image_order(epoch, self._images), epoch, steps, spans, on_steps)
            logs = _get_metrics(model)
            if self._validate:
                callback_list.on_test_begin()
                model.reset_metrics()
                for first, last in validation_spans.over(self._validate.batches):
                    self._validate(first, last)
                validation = _get_metrics(model)
                callback_list.on_test_end(validation)
                logs |= {f"val_{name}": value for name, value in validation.items()}
            callback_list.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        model.optimizer.finalize_variable_values(model.trainable_variables)
        callback_list.on_train_end(logs)

    def _run_epoch(self, order: NDArray[np.int32], epoch: int, steps: int, spans: _Spans, on_steps: OnSteps) -> None:
        """Trains one epoch. `epoch` is counted from 0; messages and `on_steps` count from 1."""
        full_batches = self._images // self._batch_size
        if self._train:
            for first, last in spans.over(full_batches):
                self._check(self._train(order, epoch, first, last), epoch + 1, f"steps {first + 1} to {last}")
                on_steps(epoch + 1, last, steps)
        if self._train_last:
            self._check(self._train_last(order, epoch, full_batches, steps), epoch + 1, f"step {steps}")
            on_steps(epoch + 1, steps, steps)

    def _check(self, weights_finite: bool, epoch: int, where: str) -> None:
        """Raises TrainingError if the loss or a weight is no longer finite.

        The mean loss stays NaN after one NaN, so checking it once per span is enough.
        """
        loss = _get_metrics(self._model).get("loss", 0.0)
        if not np.isfinite(loss):
            raise build_divergence_error(epoch, f"loss/train is {loss} after {where}")
        if not weights_finite:
            paths = ", ".join(find_nonfinite_weights(self._model))
            raise build_divergence_error(epoch, f"weight {paths} contains NaN or infinity after {where}")


class _DeviceData:
    """A split on the device that runs the program, as uint8.

    On a GPU, only XLA can gather uint8 images: TensorFlow's own operation would copy all images for each batch.
    Programs without XLA therefore read the images from the host's memory.
    """

    def __init__(self, split: Split, batches: BatchMaker, *, on_gpu: bool) -> None:
        import tensorflow as tf

        self.on_gpu = on_gpu
        self._batches = batches
        with tf.device("/GPU:0" if on_gpu else "/CPU:0"):
            self.images = tf.constant(split.images)
            self.labels = tf.constant(split.labels)

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def take(self, indices: tf.Tensor, position: tuple[tf.Tensor, tf.Tensor] | None = None) -> tuple[tf.Tensor, ...]:
        """Returns the batch of the images with these indices; see `BatchMaker.make`."""
        import tensorflow as tf

        return self._batches.make(tf.gather(self.images, indices), tf.gather(self.labels, indices), position)


class _TrainProgram:
    """Trains on a range of the batches of an epoch.

    Batch `n` starts at position `n * batch_size` of the order. It has `rows` images: `batch_size`, or fewer if the
    program trains on the last batch of an epoch.
    """

    def __init__(self, model: keras.Model, data: _DeviceData, batch_size: int, rows: int, *, xla: bool) -> None:
        import tensorflow as tf

        def span(order: tf.Tensor, epoch: tf.Tensor, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
            """Trains on the batches `first` to `last` - 1. Returns whether all weights are finite."""

            def step(number: tf.Tensor) -> tuple[tf.Tensor]:
                """Trains on one batch and returns the number of the next one."""
                indices = tf.slice(order, [number * batch_size], [rows])
                model.train_step(data.take(indices, (epoch, number)))
                return (number + 1,)

            tf.while_loop(lambda number: number < last, step, [first], parallel_iterations=1)
            return _are_all_finite(model.weights)

        number = tf.TensorSpec((), tf.int32)
        signature = [tf.TensorSpec((len(data),), tf.int32), number, number, number]
        self._span = tf.function(span, input_signature=signature, jit_compile=xla, autograph=False)
        with stderr_captured():  # XLA first tries to parse a cached binary program as text, and prints the error
            self(np.zeros(len(data), np.int32), 0, 0, 0)  # zero steps: only traces and compiles

    def __call__(self, order: NDArray[np.int32], epoch: int, first: int, last: int) -> bool:
        """Trains on the batches `first` to `last` - 1. Returns whether all weights are finite."""
        return bool(self._span(order, np.int32(epoch), np.int32(first), np.int32(last)))


class _ValidationProgram:
    """Runs batches of a split through the model's `test_step`, which updates the model's loss and metrics."""

    def __init__(self, model: keras.Model, data: _DeviceData, batch_size: int) -> None:
        import tensorflow as tf

        count = len(data)
        self.batches = math.ceil(count / batch_size)

        def span(first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
            """Evaluates the batches `first` to `last` - 1. Returns the number of the next batch."""

            def step(number: tf.Tensor) -> tuple[tf.Tensor]:
                """Evaluates one batch and returns the number of the next one."""
                start = number * batch_size
                model.test_step(data.take(tf.range(start, tf.minimum(start + batch_size, count))))
                return (number + 1,)

            return tf.while_loop(lambda number: number < last, step, [first], parallel_iterations=1)

        bound = tf.TensorSpec((), tf.int32)
        self._span = tf.function(span, input_signature=[bound, bound], jit_compile=False, autograph=False)
        self(0, 0)  # zero batches: only traces

    def __call__(self, first: int, last: int) -> None:
        """Evaluates the batches `first` to `last` - 1."""
        self._span(np.int32(first), np.int32(last))


class _Spans:
    """Divides epochs into spans of about `SPAN_SECONDS`, based on the measured speed of the previous span."""

    def __init__(self) -> None:
        self._steps = _FIRST_SPAN_STEPS

    def over(self, steps: int) -> Iterator[tuple[int, int]]:
        """Yields (first, last) for each span. The time that the caller spends on a span sets the size of the next."""
        first = 0
        while first < steps:
            last = min(first + self._steps, steps)
            start_time = time.perf_counter()
            yield first, last
            steps_per_second = (last - first) / max(time.perf_counter() - start_time, 1e-6)
            self._steps = max(1, min(int(steps_per_second * SPAN_SECONDS), _SPAN_GROWTH * self._steps))
            first = last


def _are_all_finite(weights: Sequence[Any]) -> tf.Tensor:
    """Returns a boolean scalar tensor: whether every floating-point weight is finite."""
    import tensorflow as tf

    floating = [tf.convert_to_tensor(weight) for weight in weights if tf.as_dtype(weight.dtype).is_floating]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(weight)) for weight in floating])


def _get_metrics(model: keras.Model) -> dict[str, float]:
    """Returns the current loss and metrics, with Keras's names as keys."""
    return {name: float(value) for name, value in model.get_metrics_result().items()}

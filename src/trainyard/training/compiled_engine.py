"""The compiled engine: one TensorFlow program that trains a whole epoch without returning to Python.

The images are stored as uint8 on the device that runs the program, or, if they do not fit into memory, are passed to it
some steps at a time. A loop in the program gathers the images of the next batch in the epoch's order, scales them, and
passes the batch to the model's own `train_step`. Forward pass, loss,
gradient, optimizer and metrics are therefore plain Keras. With XLA, the whole loop is compiled into one kernel: no step
waits for Python, for TensorFlow's scheduler or for data.

A running program can't be interrupted, so it is called for spans of about a second. The bounds of the loop are
arguments, so all spans share one compilation. Between two spans the engine handles signals, reports progress, and
checks the loss and the weights. If the last batch of an epoch is smaller, a separate program without XLA trains on it,
because compiling with XLA for one step per epoch would take longer than it saves.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.data import BatchMaker, Dataset, Split, read_rows
from trainyard.system import numbers_as_variables, stderr_captured
from trainyard.training.engine import (
    EpochPlan,
    OnSteps,
    build_divergence_error,
    compute_validation_batch_size,
    find_nonfinite_weights,
)
from trainyard.training.image_tensor import copy_to_tensor
from trainyard.training.train_step import TrainStep, build_train_step

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SPAN_SECONDS = 1.0
"""Approximate time that the program runs before it returns to Python."""

_FIRST_SPAN_STEPS = 4
_SPAN_GROWTH = 8
_STREAMED_STEPS, _STREAMED_BYTES = 512, 2**23
"""The maximum number of steps, and the approximate size of the images, of a span of streamed data."""


class CompiledEngine:
    """Trains a compiled Keras model with one TensorFlow program. The constructor traces and compiles the program."""

    name = "compiled"

    def __init__(
        self,
        model: keras.Model,
        dataset: Dataset,
        batches: BatchMaker,
        batch_size: int,
        *,
        xla: bool,
        stream: bool = False,
    ) -> None:
        """Copies the data to the device unless `stream`, and traces and compiles the programs.

        The model's optimizer must be built.

        Raises:
            tensorflow.errors.OpError: If XLA can't compile an operation of the model.
            Exception: Any exception that a layer raises while it is traced.
        """
        import tensorflow as tf

        start_time = time.perf_counter()
        self._model = model
        self._batch_size = batch_size
        images = self._images = len(dataset.train)
        full_batches = images // batch_size
        on_gpu = xla and bool(tf.config.list_logical_devices("GPU"))
        self._data = _load_data(dataset.train, batch_size, on_gpu=on_gpu, stream=stream)
        needs_host_data = on_gpu and images % batch_size and not stream
        last_data = _load_data(dataset.train, batch_size) if needs_host_data else self._data
        remainder = images % batch_size
        # without XLA, numbers stay constants, because TensorFlow may calculate with constants in another order
        with numbers_as_variables(model) if xla else contextlib.nullcontext() as self._variables:
            step = build_train_step(model, batches, dataset.train)
            self._train = _TrainProgram(model, self._data, step, batch_size, xla=xla) if full_batches else None
            self._train_last = _TrainProgram(model, last_data, step, remainder, xla=False) if remainder else None
        self._validate = None
        if dataset.validation is not None:
            size = compute_validation_batch_size(batch_size, dataset.spec.image_shape)
            validation = _load_data(dataset.validation, size, stream=stream)
            self._validate = _ValidationProgram(model, validation, batches)
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
                self._validate(validation_spans)
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
            for span in self._data.iterate_spans(order, full_batches, spans):
                self._check(self._train(span, epoch), epoch + 1, f"steps {span.first + 1} to {span.last}")
                on_steps(epoch + 1, span.last, steps)
        if self._train_last:
            span = self._data.load_span(order, full_batches, steps)
            self._check(self._train_last(span, epoch), epoch + 1, f"step {steps}")
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


class _Span(NamedTuple):
    """The batches `first` to `last` - 1 of an epoch, and the arrays from which a program takes their images."""

    first: int
    last: int
    source: tuple[NDArray[Any], ...]


class _DeviceData:
    """A split on the device that runs the program, as uint8. The source of a span is the order of the images.

    On a GPU, only XLA can gather uint8 images: TensorFlow's own operation would copy all images for each batch.
    Programs without XLA therefore read the images from the host's memory.
    """

    def __init__(self, split: Split, batch_size: int, *, on_gpu: bool) -> None:
        import tensorflow as tf

        self.batch_size = batch_size
        self.signature = (tf.TensorSpec((len(split),), tf.int32),)
        self._image_shape = split.images.shape[1:]
        with tf.device("/GPU:0" if on_gpu else "/CPU:0"):
            self._images = copy_to_tensor(split.images, (len(split), math.prod(self._image_shape)))
            self._labels = tf.constant(split.labels)

    def __len__(self) -> int:
        return int(self._labels.shape[0])

    def load_span(self, order: NDArray[np.int32], first: int, last: int) -> _Span:
        """Returns a span of an epoch that visits the images in this order."""
        return _Span(first, last, (order,))

    def iterate_spans(self, order: NDArray[np.int32], batches: int, spans: _Spans) -> Iterator[_Span]:
        """Yields spans of batches of an epoch that visits the images in this order."""
        for first, last in spans.over(batches):
            yield self.load_span(order, first, last)

    def take(
        self, source: tuple[tf.Tensor, ...], number: tf.Tensor, place: tf.Tensor, rows: int | tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns raw pixels and labels of the first `rows` images of a batch, given its number and place in a span."""
        import tensorflow as tf

        del place  # the order is that of the whole epoch
        indices = tf.slice(source[0], [number * self.batch_size], [rows])
        images = _restore_shape(tf.gather(self._images, indices), rows, self._image_shape)
        return images, tf.gather(self._labels, indices)


class _StreamedData:
    """A split that is larger than the memory. The source of a span is a copy of its images and labels.

    A thread reads the images of the next span while the program trains on the current one. The arrays of all spans have
    the same shape, because XLA compiles a program for each shape; a shorter span leaves the end of its arrays unused.
    """

    def __init__(self, split: Split, batch_size: int) -> None:
        import tensorflow as tf

        self.batch_size = batch_size
        self._split = split
        batch_bytes = batch_size * math.prod(split.images.shape[1:])
        steps = max(1, min(_STREAMED_STEPS, _STREAMED_BYTES // batch_bytes, math.ceil(len(split) / batch_size)))
        self._steps = steps
        self._image_shape = split.images.shape[1:]
        shape = (steps * batch_size, math.prod(self._image_shape))
        self.signature = (tf.TensorSpec(shape, tf.uint8), tf.TensorSpec(shape[:1], split.labels.dtype))

    def __len__(self) -> int:
        return len(self._split)

    def load_span(self, order: NDArray[np.int32], first: int, last: int) -> _Span:
        """Reads the images of a span of an epoch that visits the images in this order."""
        indices = order[first * self.batch_size : last * self.batch_size]
        source = [np.zeros(spec.shape, spec.dtype.as_numpy_dtype) for spec in self.signature]
        source[0][: len(indices)] = read_rows(self._split.images, indices).reshape(-1, source[0].shape[1])
        source[1][: len(indices)] = self._split.labels[indices]
        return _Span(first, last, tuple(source))

    def iterate_spans(self, order: NDArray[np.int32], batches: int, spans: _Spans) -> Iterator[_Span]:
        """Yields spans of batches of an epoch that visits the images in this order."""
        with ThreadPoolExecutor(1) as pool:

            def load(first: int) -> Future[_Span]:
                return pool.submit(self.load_span, order, first, min(first + min(spans.steps, self._steps), batches))

            loading = load(0)
            while (span := loading.result()).first < batches:
                loading = load(span.last)
                with spans.measure(span.last - span.first):
                    yield span

    def take(
        self, source: tuple[tf.Tensor, ...], number: tf.Tensor, place: tf.Tensor, rows: int | tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns raw pixels and labels of the first `rows` images of a batch, given its number and place in a span."""
        import tensorflow as tf

        del number  # a span contains only its own images
        images, labels = source
        start = place * self.batch_size
        pixels = tf.slice(images, [start, 0], [rows, images.shape[1]])
        return _restore_shape(pixels, rows, self._image_shape), tf.slice(labels, [start], [rows])


def _restore_shape(pixels: tf.Tensor, rows: int | tf.Tensor, image_shape: tuple[int, ...]) -> tf.Tensor:
    """Returns flat images, (rows, pixels), as (rows, *image_shape).

    The images of a split are stored flat, because XLA copies all of them for each batch if they have four axes.
    """
    import tensorflow as tf

    return tf.reshape(pixels, (rows if isinstance(rows, int) else -1, *image_shape))


def _load_data(
    split: Split, batch_size: int, *, on_gpu: bool = False, stream: bool = False
) -> _DeviceData | _StreamedData:
    """Copies a split to a device, or returns one that is streamed."""
    return _StreamedData(split, batch_size) if stream else _DeviceData(split, batch_size, on_gpu=on_gpu)


class _TrainProgram:
    """Trains on a span of the batches of an epoch.

    A batch has `rows` images: the batch size of the data, or fewer if the program trains on the last batch of an epoch.
    """

    def __init__(
        self,
        model: keras.Model,
        data: _DeviceData | _StreamedData,
        train_step: TrainStep,
        rows: int,
        *,
        xla: bool,
    ) -> None:
        import tensorflow as tf

        def span(source: tuple[tf.Tensor, ...], epoch: tf.Tensor, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
            """Trains on the batches `first` to `last` - 1. Returns whether all weights are finite."""

            def step(number: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                """Trains on one batch, and returns the number of the next one and its place in the span."""
                train_step(*data.take(source, number, place, rows), epoch, number)
                return number + 1, place + 1

            # with the place calculated from `first`, XLA would compile a program for each value of `first`
            tf.while_loop(lambda number, _: number < last, step, [first, tf.constant(0)], parallel_iterations=1)
            return _are_all_finite(model.weights)

        number = tf.TensorSpec((), tf.int32)
        signature = [data.signature, number, number, number]
        self._span = tf.function(span, input_signature=signature, jit_compile=xla, autograph=False)
        with stderr_captured():  # XLA first tries to parse a cached binary program as text, and prints the error
            self(data.load_span(np.zeros(len(data), np.int32), 0, 0), 0)  # zero steps: only traces and compiles

    def __call__(self, span: _Span, epoch: int) -> bool:
        """Trains on the batches of a span. Returns whether all weights are finite."""
        return bool(self._span(span.source, np.int32(epoch), np.int32(span.first), np.int32(span.last)))


class _ValidationProgram:
    """Runs batches of a split through the model's `test_step`, which updates the model's loss and metrics."""

    def __init__(self, model: keras.Model, data: _DeviceData | _StreamedData, batches: BatchMaker) -> None:
        import tensorflow as tf

        count = len(data)
        self._data = data
        self._order = np.arange(count, dtype=np.int32)
        self._batches = math.ceil(count / data.batch_size)

        def span(source: tuple[tf.Tensor, ...], first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
            """Evaluates the batches `first` to `last` - 1. Returns the number of the next batch."""

            def step(number: tf.Tensor) -> tuple[tf.Tensor]:
                """Evaluates one batch and returns the number of the next one."""
                rows = tf.minimum(data.batch_size, count - number * data.batch_size)
                model.test_step(batches.make(*data.take(source, number, number - first, rows)))
                return (number + 1,)

            return tf.while_loop(lambda number: number < last, step, [first], parallel_iterations=1)

        bound = tf.TensorSpec((), tf.int32)
        signature = [data.signature, bound, bound]
        self._span = tf.function(span, input_signature=signature, jit_compile=False, autograph=False)
        self._run(data.load_span(self._order, 0, 0))  # zero batches: only traces

    def __call__(self, spans: _Spans) -> None:
        """Evaluates all batches."""
        for span in self._data.iterate_spans(self._order, self._batches, spans):
            self._run(span)

    def _run(self, span: _Span) -> None:
        """Evaluates the batches of a span."""
        self._span(span.source, np.int32(span.first), np.int32(span.last))


class _Spans:
    """Divides epochs into spans of about `SPAN_SECONDS`, based on the measured speed of the previous span."""

    def __init__(self) -> None:
        self.steps = _FIRST_SPAN_STEPS

    def over(self, steps: int) -> Iterator[tuple[int, int]]:
        """Yields (first, last) for each span. The time that the caller spends on a span sets the size of the next."""
        first = 0
        while first < steps:
            last = min(first + self.steps, steps)
            with self.measure(last - first):
                yield first, last
            first = last

    @contextlib.contextmanager
    def measure(self, steps: int) -> Iterator[None]:
        """Sets `steps`, the number of steps of the next span, from the time of these steps in the block."""
        start_time = time.perf_counter()
        yield
        steps_per_second = steps / max(time.perf_counter() - start_time, 1e-6)
        self.steps = max(1, min(int(steps_per_second * SPAN_SECONDS), _SPAN_GROWTH * self.steps))


def _are_all_finite(weights: Sequence[Any]) -> tf.Tensor:
    """Returns a boolean scalar tensor: whether every floating-point weight is finite."""
    import tensorflow as tf

    floating = [tf.convert_to_tensor(weight) for weight in weights if tf.as_dtype(weight.dtype).is_floating]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(weight)) for weight in floating])


def _get_metrics(model: keras.Model) -> dict[str, float]:
    """Returns the current loss and metrics, with Keras's names as keys."""
    return {name: float(value) for name, value in model.get_metrics_result().items()}

"""The compiled epoch: one TensorFlow program that trains a whole epoch without coming back to Python.

The images lie where the program runs, as they were stored, uint8. Inside the program a loop takes the next batch of
the epoch's order, gathers its images, makes a batch of them, and hands it to the
model's own `train_step`: forward, loss, gradient, optimizer, metrics, all of it plain Keras. With XLA the loop and all
that is in it is one compiled kernel: no step waits for Python, for TensorFlow's scheduler or for the data.

A program can't be interrupted, so it is called for spans of about a second: the bounds of its loop are arguments,
one compilation serves all spans, and between two of them signals are heard, progress is told, and loss and weights are
checked. Where an epoch ends on a short batch, that one step is a program of its own, without XLA, because
compiling for one step an epoch does not pay.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.data.batches import BatchMaker
from trainyard.data.dataset import Dataset, Split
from trainyard.system.tensorflow_setup import stderr_held_back
from trainyard.training.engine import EpochPlan, OnSteps, broke_down, broken_weights, validation_batch

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SPAN_SECONDS = 1.0
"""About how long the program runs before it comes back to Python."""

_FIRST_SPAN_STEPS = 4
_SPAN_GROWTH = 8


class CompiledEngine:
    """Runs the epochs of a compiled Keras model through one program. Made once per training, which compiles it."""

    name = "compiled"

    def __init__(
        self, model: keras.Model, dataset: Dataset, batches: BatchMaker, batch_size: int, *, xla: bool
    ) -> None:
        """Places the data on the device, and traces and compiles the programs.

        Args:
            model: Compiled, with its optimizer built.
            dataset: The images.
            batches: How they become batches.
            batch_size: Images per step.
            xla: Whether XLA compiles the training program.

        Raises:
            tensorflow.errors.OpError: If XLA can't compile an operation of the model.
            Exception: Whatever a layer raises that can't be traced.
        """
        began = time.perf_counter()
        self._model = model
        self._images = len(dataset.train)
        self._batch_size = batch_size
        data = _PlacedData(dataset.train, batches, on_gpu=xla and _has_gpu())
        whole = self._images >= batch_size
        self._train = _TrainProgram(model, data, batch_size, batch_size, xla=xla) if whole else None
        short = self._images % batch_size
        self._train_short = None
        if short:
            at_host = _PlacedData(dataset.train, batches, on_gpu=False) if data.on_gpu else data
            self._train_short = _TrainProgram(model, at_host, batch_size, short, xla=False)
        self._validate = None
        if dataset.validation is not None:
            validation = _PlacedData(dataset.validation, batches, on_gpu=False)
            self._validate = _ValidationProgram(model, validation, validation_batch(batch_size))
        self.compile_seconds = time.perf_counter() - began

    def run(self, plan: EpochPlan, callbacks: list[keras.callbacks.Callback], on_steps: OnSteps) -> None:
        """Trains the model in place; see `Engine.run`. The order of events is that of `keras.Model.fit`."""
        import keras

        model, steps = self._model, plan.steps(self._images)
        told = keras.callbacks.CallbackList(
            callbacks, add_history=True, model=model, epochs=plan.epochs, steps=steps, verbose=0
        )
        spans, validation_spans = _Spans(), _Spans()
        logs: dict[str, float] = {}
        model.stop_training = False
        told.on_train_begin()
        for epoch in range(plan.first, plan.epochs):
            model.reset_metrics()
            told.on_epoch_begin(epoch)
            self._run_epoch(plan.order(epoch, self._images), epoch, steps, spans, on_steps)
            logs = _metrics(model)
            if self._validate:
                told.on_test_begin()
                model.reset_metrics()
                for first, last in validation_spans.over(self._validate.batches):
                    self._validate(first, last)
                validation = _metrics(model)
                told.on_test_end(validation)
                logs |= {f"val_{name}": value for name, value in validation.items()}
            told.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        model.optimizer.finalize_variable_values(model.trainable_variables)
        told.on_train_end(logs)

    def _run_epoch(self, order: NDArray[np.int32], epoch: int, steps: int, spans: _Spans, on_steps: OnSteps) -> None:
        """Trains one epoch, counted from 0; what is told counts from 1."""
        whole = self._images // self._batch_size
        if self._train:
            for first, last in spans.over(whole):
                self._check(self._train(order, epoch, first, last), epoch + 1, f"steps {first + 1} to {last}")
                on_steps(epoch + 1, last, steps)
        if self._train_short:
            self._check(self._train_short(order, epoch, whole, steps), epoch + 1, f"step {steps}")
            on_steps(epoch + 1, steps, steps)

    def _check(self, sound: bool, epoch: int, where: str) -> None:
        """Raises TrainingError where the loss or a weight is no longer finite. Metrics keep a NaN once they saw it."""
        loss = _metrics(self._model).get("loss", 0.0)
        if not np.isfinite(loss):
            raise broke_down(epoch, f"loss/train is {loss} after {where}")
        if not sound:
            paths = ", ".join(broken_weights(self._model))
            raise broke_down(epoch, f"weight {paths} holds a NaN or an infinity after {where}")


class _PlacedData:
    """A split where the program finds it, in the integers that it was stored in.

    On a GPU only XLA can gather bytes; TensorFlow's own operation would fetch all of them for each batch. So what runs
    without XLA finds them at the host.
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

    def take(self, indices: tf.Tensor, place: tuple[tf.Tensor, tf.Tensor] | None = None) -> tuple[tf.Tensor, ...]:
        """Returns the batch of these images; see `BatchMaker.make`."""
        import tensorflow as tf

        return self._batches.make(tf.gather(self.images, indices), tf.gather(self.labels, indices), place)


class _TrainProgram:
    """Trains on batches of an order, from one bound to another.

    A batch begins at its number times the size of a whole batch; `rows` is how many images it has, fewer in the last.
    """

    def __init__(self, model: keras.Model, data: _PlacedData, batch_size: int, rows: int, *, xla: bool) -> None:
        import tensorflow as tf

        def span(order: tf.Tensor, epoch: tf.Tensor, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
            def step(number: tf.Tensor) -> tuple[tf.Tensor]:
                indices = tf.slice(order, [number * batch_size], [rows])
                model.train_step(data.take(indices, (epoch, number)))
                return (number + 1,)

            tf.while_loop(lambda number: number < last, step, [first], parallel_iterations=1)
            return _all_finite(model.weights)

        number = tf.TensorSpec((), tf.int32)
        signature = [tf.TensorSpec((len(data),), tf.int32), number, number, number]
        self._span = tf.function(span, input_signature=signature, jit_compile=xla, autograph=False)
        with stderr_held_back():  # a program from the cache is parsed as text before it is parsed as what it is
            self(np.zeros(len(data), np.int32), 0, 0, 0)  # no step: traces and compiles

    def __call__(self, order: NDArray[np.int32], epoch: int, first: int, last: int) -> bool:
        """Trains on the batches `first` to `last` - 1; returns whether all weights are finite."""
        return bool(self._span(order, np.int32(epoch), np.int32(first), np.int32(last)))


class _ValidationProgram:
    """Runs batches of a split through the model's `test_step`, which leaves loss and metrics in the model."""

    def __init__(self, model: keras.Model, data: _PlacedData, batch_size: int) -> None:
        import tensorflow as tf

        count = len(data)
        self.batches = math.ceil(count / batch_size)

        def span(first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
            def step(number: tf.Tensor) -> tuple[tf.Tensor]:
                start = number * batch_size
                model.test_step(data.take(tf.range(start, tf.minimum(start + batch_size, count))))
                return (number + 1,)

            return tf.while_loop(lambda number: number < last, step, [first], parallel_iterations=1)

        bound = tf.TensorSpec((), tf.int32)
        self._span = tf.function(span, input_signature=[bound, bound], jit_compile=False, autograph=False)
        self(0, 0)  # no batch: traces

    def __call__(self, first: int, last: int) -> None:
        """Evaluates the batches `first` to `last` - 1."""
        self._span(np.int32(first), np.int32(last))


class _Spans:
    """Cuts epochs into spans of about `SPAN_SECONDS`, from the pace of the spans before."""

    def __init__(self) -> None:
        self._steps = _FIRST_SPAN_STEPS

    def over(self, steps: int) -> Iterator[tuple[int, int]]:
        """Yields (first, last) until the steps are done; the time that the caller takes over one sets the next."""
        first = 0
        while first < steps:
            last = min(first + self._steps, steps)
            began = time.perf_counter()
            yield first, last
            pace = (last - first) / max(time.perf_counter() - began, 1e-6)
            self._steps = max(1, min(int(pace * SPAN_SECONDS), _SPAN_GROWTH * self._steps))
            first = last


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU"))


def _all_finite(weights: Sequence[Any]) -> tf.Tensor:
    """Returns whether every floating-point weight is finite, as a boolean scalar of the program."""
    import tensorflow as tf

    floating = [tf.convert_to_tensor(weight) for weight in weights if tf.as_dtype(weight.dtype).is_floating]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(weight)) for weight in floating])


def _metrics(model: keras.Model) -> dict[str, float]:
    """Returns the loss and the metrics so far, under Keras's names."""
    return {name: float(value) for name, value in model.get_metrics_result().items()}

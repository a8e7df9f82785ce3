"""Training: compile the model as the config says, run the epochs through an engine, return what happened.

An engine runs the epochs of a compiled Keras model with Keras callbacks. `FitEngine` is Keras's own loop; a faster one
stands behind the same two names, `name` and `run`.

Before it: models, optimizers, images, progress. After it: run, which evaluates the trained model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trainyard.errors import TrainingError
from trainyard.images import Dataset, Split
from trainyard.progress import Progress
from trainyard.schema import EarlyStoppingConfig, RunConfig

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

EXECUTION_STEPS = 100
"""Steps that Keras runs before it returns to Python: bit-identical to single steps, and much faster."""

LogEpoch = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What happened while training.

    Attributes:
        history: One mapping per epoch of logged metric names to values, ``loss/train``, ``accuracy/val``...
        best_epoch: The epoch, from 1, whose weights the model has, where early stopping restored them; else None.
        engine: The engine that ran the epochs.
        engine_reason: Why this one.
        compile_seconds: From the start until the first steps had run: tracing and compiling.
        train_seconds: The rest.
    """

    history: list[dict[str, float]]
    best_epoch: int | None
    engine: str
    engine_reason: str
    compile_seconds: float
    train_seconds: float


class Engine(Protocol):
    """Something that runs the epochs of a compiled Keras model."""

    name: str

    def run(
        self,
        model: keras.Model,
        dataset: Dataset,
        config: RunConfig,
        callbacks: list[keras.callbacks.Callback],
    ) -> None:
        """Trains the model in place.

        Args:
            model: Compiled.
            dataset: Its train images are shuffled anew each epoch, by seed and epoch alone; its validation images, if
                there are any, are evaluated after each.
            config: The epochs, the batch size and the seed.
            callbacks: Keras callbacks, called at epoch ends with Keras's keys (``val_loss``).
        """


def train(
    model: keras.Model, dataset: Dataset, config: RunConfig, progress: Progress, log_epoch: LogEpoch
) -> TrainResult:
    """Compiles the model and trains it in place.

    Args:
        model: Built, not compiled.
        dataset: The images.
        config: The whole config.
        progress: Told of each part of an epoch and of each epoch.
        log_epoch: Called after each epoch with its number, from 1, and its metrics.

    Returns:
        What happened.

    Raises:
        TrainingError: If the loss or a weight is no longer finite; names the epoch.
    """
    compile_model(model, config, steps=config.training.epochs * steps_per_epoch(dataset, config))
    engine, reason = choose_engine(config)
    progress.detail(f"engine {engine.name}: {reason}")
    watch = _epoch_watch(config.training.epochs, progress, log_epoch)
    stopping = _early_stopping(config.training.early_stopping)

    began = time.perf_counter()
    engine.run(model, dataset, config, [stopping, watch] if stopping else [watch])
    ended = time.perf_counter()
    return TrainResult(
        history=watch.history_by_epoch,
        best_epoch=stopping.best_epoch + 1 if stopping and stopping.restore_best_weights else None,
        engine=engine.name,
        engine_reason=reason,
        compile_seconds=watch.first_steps_done - began,
        train_seconds=ended - watch.first_steps_done,
    )


def compile_model(model: keras.Model, config: RunConfig, steps: int) -> None:
    """Compiles the model with the config's optimizer, schedule and loss.

    Args:
        model: Built.
        config: The whole config.
        steps: The optimizer steps of the whole training, for the schedule.
    """
    import keras

    learning_rate = config.schedule.build(config.optimizer.learning_rate, steps)
    model.compile(
        optimizer=config.optimizer.build(learning_rate),
        loss=config.loss.build(),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        steps_per_execution=EXECUTION_STEPS,
        jit_compile=False,
    )


def steps_per_epoch(dataset: Dataset, config: RunConfig) -> int:
    """Returns the batches of one epoch, the last short one included."""
    return math.ceil(len(dataset.train) / config.training.batch_size)


def epoch_permutation(seed: int, epoch: int, count: int) -> NDArray[np.int32]:
    """Returns the order in which an epoch visits the training images.

    It depends on seed and epoch alone, so that an epoch can be had again without those before it.

    Args:
        seed: The run's seed.
        epoch: Counted from 0.
        count: The number of training images.

    Returns:
        A permutation, int32 (count,).
    """
    return np.random.default_rng((seed, epoch)).permutation(count).astype(np.int32)


def choose_engine(config: RunConfig) -> tuple[Engine, str]:
    """Returns the engine for this config, and why."""
    if config.training.engine == "fit":
        return FitEngine(), "asked for by training.engine"
    return FitEngine(), "Keras's own loop, the engine that there is"


# ---------------------------------------------------------------------------------------------------------------
# Keras's own loop


class FitEngine:
    """`keras.Model.fit` over uint8 images that are shuffled, gathered and scaled batch by batch."""

    name = "fit"

    def run(
        self,
        model: keras.Model,
        dataset: Dataset,
        config: RunConfig,
        callbacks: list[keras.callbacks.Callback],
    ) -> None:
        """Trains the model in place; see `Engine.run`."""
        import keras

        batch_size = config.training.batch_size
        epoch = 0

        def remember(number: int, logs: Any = None) -> None:  # noqa: ANN401, ARG001 - Keras's signature
            nonlocal epoch
            epoch = number

        def order() -> NDArray[np.int32]:
            return epoch_permutation(config.seed, epoch, len(dataset.train))

        validation = None
        if dataset.validation is not None:
            validation = batches(dataset.validation, dataset.spec.scale_table(), batch_size)
        model.fit(
            batches(dataset.train, dataset.spec.scale_table(), batch_size, order),
            validation_data=validation,
            epochs=config.training.epochs,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=remember), *callbacks],
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


# ---------------------------------------------------------------------------------------------------------------
# Callbacks


def _early_stopping(config: EarlyStoppingConfig) -> keras.callbacks.EarlyStopping | None:
    """Builds Keras's early stopping, or returns None where it is off."""
    import keras

    if config.patience is None:
        return None
    quantity, split = config.monitor.split("/")
    return keras.callbacks.EarlyStopping(
        monitor=quantity if split == "train" else f"val_{quantity}",
        mode="min" if quantity == "loss" else "max",
        patience=config.patience,
        min_delta=config.min_delta,
        restore_best_weights=config.restore_best,
    )


def _epoch_watch(epochs: int, progress: Progress, log_epoch: LogEpoch) -> Any:  # noqa: ANN401 - a class made below
    """Builds the callback that reports, logs and checks each epoch. Keras is imported only now, so the class is too."""
    import keras

    class EpochWatch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
        def __init__(self) -> None:
            super().__init__()
            self.history_by_epoch: list[dict[str, float]] = []
            self.first_steps_done = 0.0
            self._epoch = 1
            self._epoch_began = 0.0
            self._steps = 0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            self._epoch, self._epoch_began, self._steps = epoch + 1, time.perf_counter(), self.params["steps"]

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            self.first_steps_done = self.first_steps_done or time.perf_counter()
            progress.step(self._epoch, epochs, min(batch + 1, self._steps), self._steps)

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:  # noqa: ARG002
            metrics = {_logged_name(key): float(value) for key, value in logs.items()}
            learning_rate = float(self.model.optimizer.learning_rate.numpy())
            metrics["learning_rate/value"] = float(f"{learning_rate:.7g}")  # all that float32 holds
            metrics["time/epoch_seconds"] = time.perf_counter() - self._epoch_began
            _check_finite(self.model, metrics, self._epoch)
            self.history_by_epoch.append(metrics)
            progress.epoch(self._epoch, epochs, metrics)
            log_epoch(self._epoch, metrics)

    return EpochWatch()


def _logged_name(keras_key: str) -> str:
    """Translates Keras's ``val_loss`` into ``loss/val``."""
    return f"{keras_key.removeprefix('val_')}/val" if keras_key.startswith("val_") else f"{keras_key}/train"


def _check_finite(model: keras.Model, metrics: Mapping[str, float], epoch: int) -> None:
    """Raises TrainingError where a metric or a weight is NaN or infinite; weights may be so under a finite loss."""
    broken = next((f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)), None)
    if broken is None:
        paths = (weight.path for weight in model.weights if not np.isfinite(weight.numpy()).all())
        broken = next((f"weight {path} holds a NaN or an infinity" for path in paths), None)
    if broken:
        raise TrainingError(
            f"training broke down in epoch {epoch}: {broken}. "
            "Try a smaller optimizer.learning_rate, and check the data for NaN"
        )

"""The private API of Keras that Trainyard uses: the global seed generator, optimizers, and nested layers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_NUMBERS = ("weight_decay", "initial_learning_rate", "values", "l2")
"""Attributes of Keras's optimizers, schedules and regularizers that are only used as operands. Others can't be
variables: Keras compares them in Python, or computes with them in double precision."""
_WARMUP = "warmup_target"
"""An attribute of schedules. XLA rounds a warmup differently if its learning rates are variables."""


def get_global_seed_generator() -> keras.random.SeedGenerator:
    """Returns the generator for layers that have none. If there is none, creates it with a number of `random`."""
    from keras.src.random.seed_generator import global_seed_generator

    return global_seed_generator()


def compute_last_learning_rate(optimizer: keras.Optimizer) -> float:
    """Returns the learning rate of the last batch that an optimizer has processed.

    `optimizer.learning_rate` is that of the next batch. Keras computes schedules from the number of batches, also if
    gradients are accumulated, in which case `optimizer.iterations` is the number of updates.
    """
    import keras

    inner = _get_inner_optimizer(optimizer)
    schedule = inner._learning_rate  # noqa: SLF001
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return float(optimizer.learning_rate)
    return float(schedule(keras.ops.maximum(inner._iterations - 1, 0)))  # noqa: SLF001


def average_weights_at_updates(optimizer: keras.Optimizer) -> None:
    """Changes an optimizer with accumulated gradients so that its moving average of the weights counts updates.

    Keras updates the average after each batch, also if the weights have not changed. Until the first update, the
    average equals the weights.
    """
    import keras

    update_average = optimizer._update_model_variables_moving_average  # noqa: SLF001
    batches_per_update = optimizer.gradient_accumulation_steps

    def update_average_at_updates(variables: list[keras.Variable]) -> None:
        """Updates the average if the batch completes an update, or the first update is not complete."""
        batches = optimizer._iterations + 1  # noqa: SLF001
        is_due = (batches % batches_per_update == 0) | (batches < batches_per_update)
        keras.ops.cond(is_due, lambda: update_average(variables), lambda: None)

    optimizer._update_model_variables_moving_average = update_average_at_updates  # noqa: SLF001


def list_layers(model: keras.Model) -> list[keras.Layer]:
    """Returns all layers of a model, also those inside other layers, without the model itself."""
    return list(model._flatten_layers(include_self=False))  # noqa: SLF001


def _get_inner_optimizer(optimizer: keras.Optimizer) -> keras.Optimizer:
    """Returns the optimizer inside one that scales the loss, or the optimizer itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


@contextlib.contextmanager
def numbers_as_variables(model: keras.Model) -> Iterator[list[tf.Variable]]:
    """Replaces numbers of a compiled model with variables while the block traces its training, and yields these.

    The numbers are the weight decay, the learning rates of a schedule, and the factors of L2 penalties. As constants,
    each of their values would need a separate compilation. Objects whose class is not of Keras keep their numbers. The
    variables must exist as long as the programs.
    """
    import tensorflow as tf

    optimizer = _get_inner_optimizer(model.optimizer)
    penalties = [getattr(layer, "kernel_regularizer", None) for layer in list_layers(model)]
    owners: list[Any] = [optimizer, optimizer._learning_rate, *penalties]  # noqa: SLF001
    variables: list[tf.Variable] = []

    def convert(value: Any) -> Any:  # noqa: ANN401 - a number or a list of numbers
        """Returns new variables for the numbers in a value."""
        if isinstance(value, list):
            return [convert(part) for part in value]
        variables.append(tf.Variable(value, dtype=tf.float32))
        return variables[-1]

    with contextlib.ExitStack() as stack:
        for attributes in {id(owner): vars(owner) for owner in owners if _is_of_keras(owner)}.values():
            if attributes.get(_WARMUP) is not None:
                continue
            numbers = {name: value for name in _NUMBERS if isinstance(value := attributes.get(name), (float, list))}
            stack.callback(attributes.update, numbers)
            attributes.update({name: convert(value) for name, value in numbers.items()})  # Keras does not track them
        yield variables


def _is_of_keras(owner: Any) -> bool:  # noqa: ANN401 - any object
    """Returns whether Keras defines the class of an object with attributes."""
    return type(owner).__module__.startswith("keras.") and hasattr(owner, "__dict__")

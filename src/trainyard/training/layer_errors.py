"""Converts the errors that Keras or TensorFlow raises during a training into a TrainingError that names the layer."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from trainyard.errors import TrainingError, TrainyardError, summarize_error
from trainyard.system import explain_out_of_memory, list_layers

if TYPE_CHECKING:
    import keras

_LIBRARIES = ("keras", "tensorflow")
_STACK_LINES = re.compile(r'^\s*File ".*$', re.MULTILINE)
"""Matches the lines of a stack in TensorFlow's messages."""
_OPERATION = re.compile(r"[\w.]+(?:/[\w.]+)+")
"""Matches the name of an operation, which is a path."""
_NUMBER = re.compile(r"_\d+$")
"""Matches the number that makes a name unique."""


@contextlib.contextmanager
def explain_training_errors(model: keras.Model, activity: Callable[[], str]) -> Iterator[None]:
    """Converts errors of Keras and TensorFlow, also for lack of memory, into a TrainingError that names the layer.

    `activity` returns what was running, for the message: ``'training, in epoch 3'``. Errors of Trainyard and of
    callbacks are not converted.
    """
    with _complete_tracebacks():
        try:
            with explain_out_of_memory(activity):
                yield
        except TrainyardError:
            raise
        except Exception as error:
            if not _is_raised_by_keras(error):
                raise
            problem = describe_layer_error(model, error).removesuffix(".")
            raise TrainingError(f"{activity()}: {problem}. Change the layer, or a setting of the training") from error


@contextlib.contextmanager
def _complete_tracebacks() -> Iterator[None]:
    """Makes Keras keep its own frames in tracebacks, because they name the layers."""
    import keras

    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()


def describe_layer_error(model: keras.Model, error: Exception) -> str:
    """Returns the type and message of an error on one line, with the layer that raised it if it is known."""
    message = _STACK_LINES.sub("", str(error))
    layer = _find_layer_in_traceback(model, error) or _find_layer_in_message(model, message)
    where = f"layer {layer.name} ({type(layer).__name__})" if layer else "the training step"
    return f"{where} failed: {type(error).__name__}: {summarize_error(ValueError(message))}"


def _find_layer_in_traceback(model: keras.Model, error: Exception) -> keras.Layer | None:
    """Returns the innermost layer of the model with a method in the traceback of an error; None if there is none."""
    callers = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    layers = {id(layer): layer for layer in list_layers(model)}
    return next((layers[id(caller)] for caller in reversed(callers) if id(caller) in layers), None)


def _find_layer_in_message(model: keras.Model, message: str) -> keras.Layer | None:
    """Returns the innermost layer of the first operation in a message of TensorFlow; None if it names none.

    The name of an operation contains those of its layers, often with a number: ``sequential/0_conv2d_1/convolution``.
    """
    layers = {layer.name: layer for layer in list_layers(model)}
    for operation in _OPERATION.findall(message):
        for part in reversed(operation.split("/")):
            name = part if part in layers else _NUMBER.sub("", part)
            if name in layers:
                return layers[name]
    return None


def _is_raised_by_keras(error: Exception) -> bool:
    """Returns whether code of Keras or TensorFlow raised an error, and not a callback that they called."""
    import keras

    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if any(isinstance(frame.f_locals.get("self"), keras.callbacks.Callback) for frame in frames):
        return False
    return any(frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES for frame in frames)

"""Starts a training from the weights of a trained model instead of random weights, ``training.start_from``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.errors import TrainingError
from trainyard.runs.lookup import find_model, load_model
from trainyard.tracking import TrackingStore

if TYPE_CHECKING:
    import keras

SETTING = "training.start_from"


def find_start_model(reference: str | None, store: TrackingStore | None) -> Path | None:
    """Returns the model file of ``training.start_from``, or None if a training starts from random weights.

    Raises:
        ConfigError: If the file or the run does not exist, or the run has no model.
        TrackingError: If the store can't be reached or does not have the model.
    """
    return None if reference is None else find_model(reference, store, SETTING)


def load_start_weights(model: keras.Model, file: Path) -> None:
    """Copies the weights of a saved model into a model of the same architecture.

    Args:
        model: A built model, changed in place.
        file: A ``.keras`` or ``.h5`` file.

    Raises:
        ModelError: If the file is not a Keras model.
        TrainingError: If the shapes of the weights differ. The message names the first difference.
    """
    saved_model = load_model(file, SETTING)
    weights, saved_weights = model.weights, saved_model.weights
    for number in range(max(len(weights), len(saved_weights))):
        expected, received = (_describe_weight(variables, number) for variables in (weights, saved_weights))
        if expected[1] != received[1]:
            raise TrainingError(
                f"{SETTING}: {file} has another architecture: for weight {number}, expected "
                f"{' '.join(expected)}, got {' '.join(received)}. Use the same model config as for that file"
            )
    model.set_weights(saved_model.get_weights())


def _describe_weight(weights: list[keras.Variable], number: int) -> tuple[str, str]:
    """Returns the path and the shape of a weight as text, for a message."""
    if number >= len(weights):
        return "none", ""
    return weights[number].path, "x".join(map(str, weights[number].shape)) or "a number"

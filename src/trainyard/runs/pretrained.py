"""Starting from weights that were trained before, in the place of drawn ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.errors import TrainingError
from trainyard.runs.saved_models import find_model, find_or_download_model, load_model

if TYPE_CHECKING:
    import keras

SETTING = "training.start_from"


def find_start_model(reference: str | None, uri: str | None) -> Path | None:
    """Returns the model file that a training starts from, or None where it starts from drawn weights.

    That of a run whose folder is not on this machine is downloaded from the store.

    Args:
        reference: ``training.start_from``: a model file, the folder of a run, or its id.
        uri: The tracking URI, or None where nothing is tracked.

    Raises:
        ConfigError: If there is no such file or run, or the run left no model.
        TrackingError: If the store can't be reached, or does not have the model.
    """
    if reference is None:
        return None
    return find_model(reference, None, SETTING) if uri is None else find_or_download_model(reference, uri, SETTING)


def take_weights(model: keras.Model, file: Path) -> None:
    """Puts the weights of a saved model into a model of the same architecture.

    Args:
        model: Built; changed in place.
        file: ``.keras`` or ``.h5``.

    Raises:
        ModelError: If the file is no model.
        TrainingError: If it is one with other weights; names the first that differs.
    """
    trained = load_model(file, SETTING)
    ours, theirs = model.weights, trained.weights
    for number in range(max(len(ours), len(theirs))):
        wanted, found = (_describe(weights, number) for weights in (ours, theirs))
        if wanted[1] != found[1]:
            raise TrainingError(
                f"{SETTING}: {file} was trained with another architecture: its weight {number} is {' '.join(found)}, "
                f"and the model's is {' '.join(wanted)}. Describe the same architecture"
            )
    model.set_weights(trained.get_weights())


def _describe(weights: list[keras.Variable], number: int) -> tuple[str, str]:
    """Returns the path and the shape of a weight in words."""
    if number >= len(weights):
        return "none", ""
    return weights[number].path, "x".join(map(str, weights[number].shape)) or "a number"

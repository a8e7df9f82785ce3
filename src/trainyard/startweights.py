"""Starting from weights that were trained before, in the place of drawn ones.

Before it: resume, which finds the folder of a run. After it: run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.errors import ConfigError, TrainingError, in_one_line
from trainyard.resume import find_folder

if TYPE_CHECKING:
    import keras

SETTING = "training.start_from"
SUFFIXES = (".keras", ".h5")


def find_start_model(reference: str | None, uri: str | None) -> Path | None:
    """Returns the model file that a training starts from, or None where it starts from drawn weights.

    Args:
        reference: ``training.start_from``: a model file, the folder of a run, or its id.
        uri: The tracking URI, or None where nothing is tracked.

    Raises:
        ConfigError: If there is no such file or run, or the run left no model.
    """
    if reference is None:
        return None
    path = Path(reference).expanduser()
    if path.suffix in SUFFIXES:
        if not path.is_file():
            raise ConfigError(f"{SETTING}: expected a model file, and there is none: {path}")
        return path.absolute()
    file = find_folder(reference, uri, SETTING) / "model.keras"
    if not file.is_file():
        raise ConfigError(
            f"{SETTING}: the run {reference} left no model.keras in {file.parent}. Take one that finished"
        )
    return file


def take_weights(model: keras.Model, file: Path) -> None:
    """Puts the weights of a saved model into a model of the same architecture.

    Args:
        model: Built; changed in place.
        file: ``.keras`` or ``.h5``.

    Raises:
        TrainingError: If the file is no model, or one with other weights; names the first that differs.
    """
    import keras

    try:
        trained = keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        raise TrainingError(f"{SETTING}: {file} can't be loaded as a Keras model: {in_one_line(error)}") from error
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

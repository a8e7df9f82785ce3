"""Finds and loads trained models, which users name by a run's id, a run's folder or a model file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.data import preprocessing
from trainyard.errors import ConfigError, ModelError, summarize_error
from trainyard.runs.lookup import FolderElsewhereError, find_run_folder
from trainyard.system import find_checksum_problem
from trainyard.tracking import download_files

if TYPE_CHECKING:
    import keras

MODEL_SUFFIXES = (".keras", ".h5")
MODEL_FILE = "model.keras"


def find_model(reference: str, uri: str | None, setting: str) -> Path:
    """Returns the file of a trained model.

    Args:
        reference: A model file, the folder of a run, or its id.
        uri: The tracking URI. None if tracking is off.
        setting: The setting or argument that names the model, for messages.

    Raises:
        ConfigError: If the file or the run does not exist, or the run has no model.
        FolderElsewhereError: If the run's folder is not on this machine. It is a subclass of ConfigError.
        TrackingError: If the store can't be reached.
    """
    path = Path(reference).expanduser()
    if path.suffix in MODEL_SUFFIXES:
        if not path.is_file():
            raise ConfigError(f"{setting}: expected a model file, got {path}, which does not exist")
        return path.absolute()
    file = find_run_folder(reference, uri, setting) / MODEL_FILE
    if not file.is_file():
        if inner := sorted(file.parent.glob(f"*/{MODEL_FILE}")):
            example = path / inner[-1].parent.name
            raise ConfigError(
                f"{setting}: expected the folder of one run, got {path}, which contains several runs. "
                f"Name one of them, such as {example}"
            )
        raise ConfigError(
            f"{setting}: expected a run with a trained model, but {file} does not exist. Choose a run that finished"
        )
    return file


def find_or_download_model(reference: str, uri: str, setting: str) -> Path:
    """Returns the file of a trained model. If the model is from a run, preprocessing.json is in the same folder.

    If the run's folder is not on this machine, both files are downloaded from the store to Trainyard's cache, once.

    Args:
        reference: A model file, the folder of a run, or its id.
        uri: The tracking URI.
        setting: The setting or argument that names the model, for messages.

    Raises:
        ConfigError: If the file or the run does not exist, or the run has no model.
        TrackingError: If the store can't be reached or does not have the files.
    """
    try:
        return find_model(reference, uri, setting)
    except FolderElsewhereError:
        import pooch

        folder = Path(pooch.os_cache("trainyard")) / "models" / reference
        if not (folder / MODEL_FILE).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                names = (preprocessing.PREPROCESSING_FILE, MODEL_FILE)  # the model last: if it exists, both exist
                download_files(uri, reference, names, Path(temporary))
                for name in names:
                    (Path(temporary) / name).replace(folder / name)
        return folder / MODEL_FILE


def load_model(file: Path, setting: str) -> keras.Model:
    """Loads a trained model without compiling it. Python code in the file is never executed.

    Args:
        file: A ``.keras`` or ``.h5`` file.
        setting: The setting or argument that names the model, for messages.

    Raises:
        ModelError: If the file is not a Keras model, is damaged, or contains Python code.
    """
    import keras

    if problem := find_checksum_problem(file):
        raise ModelError(f"{setting}: {file} is damaged: {problem}")
    try:
        return keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        reason = summarize_error(error)
        if "safe_mode" in str(error):  # Keras's message explains how to execute the code, which Trainyard never does
            reason = "it contains Python code (a Lambda layer), which is never executed. Save the model without it"
        raise ModelError(f"{setting}: {file} can't be loaded as a Keras model: {reason}") from error

"""Trained models that somebody names: found by a run's id, its folder or their file, and loaded."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.data import preprocessing
from trainyard.errors import ConfigError, ModelError, in_one_line
from trainyard.runs.resume import FolderElsewhereError, find_folder
from trainyard.system.files import checksum_problem
from trainyard.tracking import download_files

if TYPE_CHECKING:
    import keras

SUFFIXES = (".keras", ".h5")
MODEL = "model.keras"


def find_model(reference: str, uri: str | None, setting: str) -> Path:
    """Returns the file of a trained model.

    Args:
        reference: A model file, the folder of a run, or its id.
        uri: The tracking URI, or None where nothing is tracked.
        setting: What names the model, for messages.

    Raises:
        ConfigError: If there is no such file or run, or the run left no model.
        FolderElsewhereError: If the run's folder is not on this machine; also a ConfigError.
        TrackingError: If the store can't be reached.
    """
    path = Path(reference).expanduser()
    if path.suffix in SUFFIXES:
        if not path.is_file():
            raise ConfigError(f"{setting}: expected a model file, and there is none: {path}")
        return path.absolute()
    file = find_folder(reference, uri, setting) / MODEL
    if not file.is_file():
        if inner := sorted(file.parent.glob(f"*/{MODEL}")):
            one = path / inner[-1].parent.name
            raise ConfigError(f"{setting}: expected one run, got a folder of runs. Name one of them, such as {one}")
        raise ConfigError(f"{setting}: the run {reference} left no {MODEL} in {file.parent}. Take one that finished")
    return file


def find_or_download_model(reference: str, uri: str, setting: str) -> Path:
    """Returns the file of a trained model, with its preprocessing.json beside it if it is that of a run.

    Where the run's folder is not on this machine, the two are downloaded from the store into Trainyard's cache, once.

    Args:
        reference: A model file, the folder of a run, or its id.
        uri: The tracking URI.
        setting: What names the model, for messages.

    Raises:
        ConfigError: If there is no such file or run, or the run left no model.
        TrackingError: If the store can't be reached, or does not have the files.
    """
    try:
        return find_model(reference, uri, setting)
    except FolderElsewhereError:
        import pooch

        folder = Path(pooch.os_cache("trainyard")) / "models" / reference
        if not (folder / MODEL).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as beside:
                names = (preprocessing.FILE, MODEL)  # in this order: where the model is, the other is too
                download_files(uri, reference, names, Path(beside))
                for name in names:
                    (Path(beside) / name).replace(folder / name)
        return folder / MODEL


def load_model(file: Path, setting: str) -> keras.Model:
    """Loads a trained model, uncompiled. Code that the file holds is never run.

    Args:
        file: ``.keras`` or ``.h5``.
        setting: What names the model, for messages.

    Raises:
        ModelError: If the file is no model, is damaged, or holds code.
    """
    import keras

    if problem := checksum_problem(file):
        raise ModelError(f"{setting}: {file} can't be trusted: {problem}")
    try:
        return keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        why = in_one_line(error)
        if "safe_mode" in str(error):  # Keras explains at length how to run the code all the same
            why = "it holds Python code (a Lambda layer), which is never run. Save it without"
        raise ModelError(f"{setting}: {file} can't be loaded as a Keras model: {why}") from error

"""Finds runs, and finds and loads trained models, which users name by a run id, a run folder or a file."""

from __future__ import annotations

import tempfile
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.data import preprocessing
from trainyard.errors import ConfigError, ModelError, TrackingError, TrainingError, summarize_error
from trainyard.system import find_checksum_problem
from trainyard.tracking import OPERATION_LOG_FILE, RunRecord, TrackingStore, load_run_record, names

if TYPE_CHECKING:
    import keras

MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")
MODEL_FILE = "model.keras"
_START_FROM = "training.start_from"


def find_run(reference: str, store: TrackingStore | None, setting: str) -> RunRecord:
    """Loads the run that a user named.

    Args:
        reference: The run's id in the store, its folder, or a file in the folder.
        store: The tracking store. None if tracking is off.
        setting: The setting, argument or command that names the run, for messages.

    Raises:
        ConfigError: If the run does not exist, or its folder does not contain what it logged.
        TrackingError: If the store can't be reached.
    """
    if not reference:
        raise ConfigError(f"{setting}: expected the id or the folder of a run, got an empty value")
    path = Path(reference)
    if path.is_file() and (path.parent / OPERATION_LOG_FILE).is_file():
        path = path.parent
    if path.is_dir():
        return load_run_record(path)
    if store is None:
        raise ConfigError(
            f"{setting}: expected an existing folder of a run (tracking is off, so run ids can't be looked up), "
            f"got {reference!r}"
        )
    try:
        return store.load_run(reference)
    except TrackingError as error:
        raise ConfigError(f"{setting}: {error}") from error


def find_run_folder(reference: str, store: TrackingStore | None, setting: str = "resume") -> Path:
    """Returns the folder of a run; an existing folder is not checked. See `find_run` for the arguments and errors."""
    if reference and (folder := Path(reference)).is_dir():
        return folder.absolute()
    return get_run_folder(find_run(reference, store, setting), setting)


def get_run_folder(run: RunRecord, setting: str) -> Path:
    """Returns the folder of a run. Raises a ConfigError if the run is RUNNING, or the folder is not on this machine."""
    if run.is_alive:
        raise ConfigError(
            f"{setting}: run {run.reference} is still running, as process {run.tags[names.PID]}. Wait for it or stop it"
        )
    if run.folder is None:
        location = f"{run.tags.get(names.FOLDER, '.')} on host {run.tags.get(names.HOST, '(unknown)')}"
        raise ConfigError(
            f"{setting}: the folder of run {run.reference} is not on this machine. It was written to {location}. "
            f"Copy the folder to this machine and name it: {setting}=FOLDER"
        )
    return run.folder.absolute()


def find_model(reference: str, store: TrackingStore | None, setting: str) -> Path:
    """Returns the file of a trained model. If it is from a run, preprocessing.json and config.yaml are in its folder.

    If the run's folder is not on this machine, these files are downloaded from the store to Trainyard's cache, once.

    Args:
        reference: A model file, the folder of a run, or its id.
        store: The tracking store. None if tracking is off.
        setting: The setting or argument that names the model, for messages.

    Raises:
        ConfigError: If the file or the run does not exist, or the run has no model.
        TrackingError: If the store can't be reached or does not have the files.
    """
    path = Path(reference).expanduser()
    if path.suffix in MODEL_SUFFIXES:
        if not path.is_file():
            raise ConfigError(f"{setting}: expected a model file, got {path}, which does not exist")
        return path.absolute()
    run = None if reference and path.is_dir() else find_run(reference, store, setting)
    if run and run.run_id and run.store and run.folder is None and not run.is_alive:
        return _download_model(run.run_id, run.store)
    file = (get_run_folder(run, setting) if run else path.absolute()) / MODEL_FILE
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


def find_start_model(reference: str | None, store: TrackingStore | None) -> Path | None:
    """Returns the model file of ``training.start_from``, or None if it is null; for errors, see `find_model`."""
    return None if reference is None else find_model(reference, store, _START_FROM)


def _download_model(run_id: str, store: TrackingStore) -> Path:
    """Returns the file of a run's model in Trainyard's cache, after downloading it if it is not there yet."""
    import pooch

    folder = Path(pooch.os_cache("trainyard")) / "models" / run_id
    if not (folder / MODEL_FILE).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            files = (preprocessing.PREPROCESSING_FILE, names.CONFIG_FILE, MODEL_FILE)  # if the last exists, all do
            store.download_files(run_id, files, Path(temporary))
            for file in files:
                (Path(temporary) / file).replace(folder / file)
    return folder / MODEL_FILE


def load_model(file: Path, setting: str) -> keras.Model:
    """Loads a trained model, one of `MODEL_SUFFIXES`, without compiling it. Code in the file is never executed.

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


def load_start_weights(model: keras.Model, file: Path) -> None:
    """Copies the weights of a saved model into a model; raises a TrainingError if their architectures differ."""
    saved_model = load_model(file, _START_FROM)
    for number, pair in enumerate(zip_longest(model.weights, saved_model.weights)):
        expected, received = map(_describe_weight, pair)
        if expected[1] != received[1]:
            raise TrainingError(
                f"{_START_FROM}: {file} has another architecture: for weight {number}, expected "
                f"{' '.join(expected)}, got {' '.join(received)}. Use the same model config as for that file"
            )
    model.set_weights(saved_model.get_weights())


def _describe_weight(weight: keras.Variable | None) -> tuple[str, str]:
    """Returns the path and the shape of a weight as text, for a message."""
    return ("none", "") if weight is None else (weight.path, "x".join(map(str, weight.shape)) or "a number")

"""Checkpoints: all that a training needs to go on as if nothing had happened, in one file per epoch.

A checkpoint holds the weights, the optimizer's variables, the state of the seed generators (dropout goes on with the
very next draw), the state of the callbacks (how long early stopping has waited), the history, and the hash of the
config. It is written beside its place, synced, read back and only then moved there, and the one before it is kept, so
that a good one is there at any moment, whatever happens. Nothing in it is ever unpickled.

Before it: epochs. After it: training, which writes one after each epoch, and resume, which finds one to go on from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.errors import TrainingError

if TYPE_CHECKING:
    import keras

CHECKPOINTS = "checkpoints"
"""The part of a run's folder that checkpoints go to. It is not logged."""

KEPT = 2
"""How many checkpoints are kept: the last, and the one before it."""

_FORMAT = 1
_ARRAY = "__array__"
_CONTENT = "content"


@dataclass(frozen=True, slots=True)
class Identity:
    """What two trainings must have in common for one to go on where the other was interrupted.

    Attributes:
        config_hash: The hash of the config.
        seed: What weights, order and dropout are drawn from.
        dataset_digest: The digest of the images.
    """

    config_hash: str
    seed: int
    dataset_digest: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a training at the end of an epoch.

    Attributes:
        epoch: How many epochs are done.
        stopped: Whether a callback ended the training with this epoch.
        history: The metrics of every epoch so far.
        identity: What was trained.
        callbacks: Class name and state of each callback, in order.
        variables: The variables of model and optimizer by name, weights and seed generators among them.
    """

    epoch: int
    stopped: bool
    history: list[dict[str, float]]
    identity: Identity
    callbacks: list[tuple[str, dict[str, Any]]]
    variables: dict[str, NDArray[Any]]

    def restore(self, model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        """Puts the state into a model, its optimizer and callbacks, which must be built like those it came from.

        Raises:
            TrainingError: If they are not.
        """
        variables = named_variables(model)
        shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
        if shapes != {name: array.shape for name, array in self.variables.items()}:
            raise TrainingError("the checkpoint holds other variables than the model. Resume with the same packages")
        names = [type(callback).__name__ for callback in callbacks]
        if names != [name for name, _ in self.callbacks]:
            were = ", ".join(name for name, _ in self.callbacks)
            raise TrainingError(f"the checkpoint was written with the callbacks {were}, got {', '.join(names)}")
        for name, variable in variables.items():
            variable.assign(self.variables[name])
        for callback, (_, state) in zip(callbacks, self.callbacks, strict=True):
            for name, value in state.items():
                setattr(callback, name, value)
        model.stop_training = self.stopped


def capture(
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
    epoch: int,
    history: list[dict[str, float]],
    identity: Identity,
) -> Checkpoint:
    """Returns the state of a training at the end of an epoch, counted from 1."""
    return Checkpoint(
        epoch=epoch,
        stopped=bool(model.stop_training),
        history=history,
        identity=identity,
        callbacks=[(type(callback).__name__, _plain_state(callback)) for callback in callbacks],
        variables={name: variable.numpy() for name, variable in named_variables(model).items()},
    )


def named_variables(model: keras.Model) -> dict[str, Any]:
    """Returns the variables that a training changes, metrics apart, by a name that depends on their place alone."""
    metrics = {id(variable) for variable in model.metrics_variables}
    kept = [variable for variable in model.variables if id(variable) not in metrics]
    found = {f"model/{number}": variable for number, variable in enumerate(kept)}
    return found | {f"optimizer/{number}": variable for number, variable in enumerate(model.optimizer.variables)}


@dataclass(frozen=True, slots=True)
class CheckpointPlan:
    """What a training writes and what it starts from.

    Attributes:
        folder: Where checkpoints go; None: none are written.
        identity: Written into them.
        start: The checkpoint to go on from, or None.
    """

    folder: Path | None
    identity: Identity
    start: Checkpoint | None

    @property
    def history(self) -> list[dict[str, float]]:
        """The metrics of the epochs that are done before the training begins."""
        return self.start.history if self.start else []

    def first_epoch(self, epochs: int) -> int:
        """Returns the epoch to begin with, counted from 0, or `epochs` where nothing is left to do."""
        if self.start is None:
            return 0
        return epochs if self.start.stopped else self.start.epoch


def build_checkpointer(
    callbacks: Sequence[keras.callbacks.Callback], history: list[dict[str, float]], plan: CheckpointPlan
) -> keras.callbacks.Callback:
    """Builds the callback that restores a checkpoint when the training begins and writes one after each epoch.

    It must be the last of the callbacks: it saves what the others have come to.

    Args:
        callbacks: The others, whose state is saved.
        history: The metrics of every epoch, kept up to date by another callback.
        plan: What to restore, and where to write.
    """
    import keras

    others = list(callbacks)

    class Checkpointer(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
        def on_train_begin(self, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            if plan.start:
                plan.start.restore(self.model, others)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            if plan.folder:
                save_checkpoint(plan.folder, capture(self.model, others, epoch + 1, history, plan.identity))

    return Checkpointer()


# ---------------------------------------------------------------------------------------------------------------
# Files


def checkpoint_files(folder: Path) -> list[Path]:
    """Returns the checkpoints in a folder, the last epoch first."""
    return sorted(folder.glob("epoch_*.npz"), reverse=True)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint so that it is there whole or not at all, and drops those before the last two.

    Returns:
        The file.

    Raises:
        TrainingError: If it can't be written, or does not read back as it was written; the one before it is untouched.
    """
    path = folder / f"epoch_{checkpoint.epoch:06}.npz"
    partial = path.with_suffix(".partial")
    arrays: dict[str, NDArray[Any]] = dict(checkpoint.variables)
    content = {
        "format": _FORMAT,
        "epoch": checkpoint.epoch,
        "stopped": checkpoint.stopped,
        "history": checkpoint.history,
        "identity": dataclasses.asdict(checkpoint.identity),
        "callbacks": [[name, _pack(state, arrays)] for name, state in checkpoint.callbacks],
        "sha256": {name: _digest(array) for name, array in arrays.items()},
    }
    arrays[_CONTENT] = np.frombuffer(json.dumps(content).encode(), np.uint8)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        read_checkpoint(partial)
        partial.replace(path)
        _sync_folder(folder)
        for old in checkpoint_files(folder)[KEPT:]:
            old.unlink()
    except OSError as error:
        raise TrainingError(
            f"{path}: the checkpoint can't be written: {error}. Make room, or free the folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint and checks all of it.

    Raises:
        TrainingError: If it is damaged, or not a checkpoint.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as members:
            arrays = {name: members[name] for name in members.files}
        content = json.loads(arrays.pop(_CONTENT).tobytes())
        if content["format"] != _FORMAT:
            raise TrainingError(f"{path}: expected a checkpoint of format {_FORMAT}, got {content['format']}")
        wrong = {
            name
            for name in arrays.keys() | content["sha256"].keys()
            if name not in arrays or _digest(arrays[name]) != content["sha256"].get(name)
        }
        if wrong:
            raise TrainingError(f"{path}: the checkpoint is damaged: {', '.join(sorted(wrong))}")
        return Checkpoint(
            epoch=content["epoch"],
            stopped=content["stopped"],
            history=content["history"],
            identity=Identity(**content["identity"]),
            callbacks=[(name, _unpack(state, arrays)) for name, state in content["callbacks"]],
            variables={name: array for name, array in arrays.items() if not name.startswith(_ARRAY)},
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path}: the checkpoint is damaged or none: {error}") from error


def _digest(array: NDArray[Any]) -> str:
    sha = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
    sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Makes the folder's entries durable, where the system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------------------------------------------------------
# The state of callbacks


def _plain_state(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Returns the public attributes of a callback that are plain data: numbers, text, arrays, and lists of these."""
    return {
        name: value
        for name, value in vars(callback).items()
        if not name.startswith("_") and name not in ("params", "model") and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:  # noqa: ANN401 - any attribute
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, np.ndarray):
        return bool(value.dtype.kind in "biuf")
    return value is None or isinstance(value, (bool, int, float, str, np.number, np.bool_))


def _pack(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:  # noqa: ANN401 - any plain data
    """Returns the value as JSON holds it; arrays are put beside it."""
    if isinstance(value, np.ndarray):
        name = f"{_ARRAY}{len(arrays)}"
        arrays[name] = value
        return {_ARRAY: name}
    if isinstance(value, dict):
        return {key: _pack(item, arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(item, arrays) for item in value]
    return value.item() if isinstance(value, (np.number, np.bool_)) else value


def _unpack(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:  # noqa: ANN401 - what `_pack` made
    if isinstance(value, dict):
        return arrays[value[_ARRAY]] if _ARRAY in value else {key: _unpack(item, arrays) for key, item in value.items()}
    return [_unpack(item, arrays) for item in value] if isinstance(value, list) else value

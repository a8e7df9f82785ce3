"""Checkpoints: all that a training needs to go on as if nothing had happened, in one file per epoch.

A checkpoint holds the weights, the optimizer's variables, the state of the seed generators (dropout goes on with the
very next draw), the state of the callbacks (how long early stopping has waited), the history, and the hash of the
config. It is written beside its place, synced, read back and only then moved there, and the one before it is kept, so
that a good one is there at any moment, whatever happens. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.errors import TrainingError, in_one_line

if TYPE_CHECKING:
    import keras

CHECKPOINTS = "checkpoints"
"""The part of a run's folder that checkpoints go to. It is not logged."""

KEPT = 2
"""How many checkpoints are kept: the last, and the one before it."""

_FORMAT = 1
_ARRAY = "__array__"
_TUPLE = "__tuple__"
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
        circumstances: What the last bits depend on beside: engine, XLA, threads, versions.
        variables: The variables of model and optimizer by name, weights and seed generators among them.
    """

    epoch: int
    stopped: bool
    history: list[dict[str, float]]
    identity: Identity
    callbacks: list[tuple[str, dict[str, Any]]]
    circumstances: dict[str, str]
    variables: dict[str, NDArray[Any]]

    def restore(self, model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        """Puts the state into a model, its optimizer and callbacks, which must be built like those it came from.

        Raises:
            TrainingError: If they are not.
        """
        variables = named_variables(model)
        sizes = {name: _storable(variable.numpy()).shape for name, variable in variables.items()}
        if sizes != {name: array.shape for name, array in self.variables.items()}:
            raise TrainingError("the checkpoint holds other variables than the model. Resume with the same packages")
        names = [type(callback).__name__ for callback in callbacks]
        if names != [name for name, _ in self.callbacks]:
            were = ", ".join(name for name, _ in self.callbacks)
            raise TrainingError(
                f"the checkpoint was written with the callbacks {were}, got {', '.join(names)}. Resume with the same"
            )
        for name, variable in variables.items():
            here = variable.numpy()
            variable.assign(_as_dtype(self.variables[name], here.dtype).reshape(here.shape))
        for callback, (_, state) in zip(callbacks, self.callbacks, strict=True):
            for name, value in state.items():
                setattr(callback, name, value)
        model.stop_training = self.stopped


def named_variables(model: keras.Model) -> dict[str, Any]:
    """Returns the variables that a training changes, metrics apart, by a name that depends on their place alone.

    Layers that draw without a generator of their own draw from Keras's global one, so that is among them.
    """
    from keras.src.random.seed_generator import global_seed_generator  # Keras's public names leave it out

    metrics = {id(variable) for variable in model.metrics_variables}
    kept = [variable for variable in model.variables if id(variable) not in metrics]
    found = {f"model/{number}": variable for number, variable in enumerate(kept)}
    found |= {f"optimizer/{number}": variable for number, variable in enumerate(model.optimizer.variables)}
    return found | {"global seed generator": global_seed_generator().state}


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
    callbacks: Sequence[keras.callbacks.Callback],
    history: list[dict[str, float]],
    plan: CheckpointPlan,
    circumstances: dict[str, str],
    say: Callable[[str], None],
) -> keras.callbacks.Callback:
    """Builds the callback that restores a checkpoint when the training begins and writes one after each epoch.

    It must be the last of the callbacks: it saves what the others have come to.

    Args:
        callbacks: The others, whose state is saved.
        history: The metrics of every epoch, kept up to date by another callback.
        plan: What to restore, and where to write.
        circumstances: What the last bits depend on beside config, seed and data.
        say: Told where they are others than before, and of what can't be saved.
    """
    import keras

    before_it = list(callbacks)
    others = [_CallbackState(callback) for callback in before_it]

    class Checkpointer(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
        def on_train_begin(self, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            for other in others:
                other.remember()
            if plan.start:
                for what, now in circumstances.items():
                    if (before := plan.start.circumstances.get(what)) != now:
                        say(f"{what}: {now}, and was {before}; the last bits may differ from those of one run")
                plan.start.restore(self.model, before_it)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            if plan.folder is None:
                return
            checkpoint = Checkpoint(
                epoch=epoch + 1,
                stopped=bool(self.model.stop_training),
                history=history,
                identity=plan.identity,
                callbacks=[other.capture(say) for other in others],
                circumstances=circumstances,
                variables={name: variable.numpy() for name, variable in named_variables(self.model).items()},
            )
            save_checkpoint(plan.folder, checkpoint)

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
    arrays = {name: _storable(array) for name, array in checkpoint.variables.items()}
    content = {
        "format": _FORMAT,
        "epoch": checkpoint.epoch,
        "stopped": checkpoint.stopped,
        "history": checkpoint.history,
        "identity": dataclasses.asdict(checkpoint.identity),
        "callbacks": [[name, _pack(state, arrays)] for name, state in checkpoint.callbacks],
        "circumstances": checkpoint.circumstances,
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
        return _read(path)
    except Exception as error:  # whatever zip, NumPy and JSON make of a flipped bit
        raise TrainingError(f"{path}: the checkpoint is damaged or none: {in_one_line(error)}") from error


def _read(path: Path) -> Checkpoint:
    """Reads a checkpoint; raises anything where it is not what `save_checkpoint` wrote."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as members:
        arrays = {name: members[name] for name in members.files}
    content = json.loads(arrays.pop(_CONTENT).tobytes())
    if content["format"] != _FORMAT:
        raise ValueError(f"expected format {_FORMAT}, found {content['format']}")
    if {name: _digest(array) for name, array in arrays.items()} != content["sha256"]:
        raise ValueError("its arrays are not those that were written")
    return Checkpoint(
        epoch=content["epoch"],
        stopped=content["stopped"],
        history=content["history"],
        identity=Identity(**content["identity"]),
        callbacks=[(name, _unpack(state, arrays)) for name, state in content["callbacks"]],
        circumstances=content["circumstances"],
        variables={name: array for name, array in arrays.items() if not name.startswith(_ARRAY)},
    )


def _digest(array: NDArray[Any]) -> str:
    sha = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
    sha.update(array.tobytes())
    return sha.hexdigest()


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    """Returns an array as NumPy's files hold it: bfloat16, which they don't know, as its bytes."""
    return array if array.dtype.kind in "biufc" else np.frombuffer(array.tobytes(), np.uint8)


def _as_dtype(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Returns what `_storable` stored, in the dtype that it had; the shape is that of the variable."""
    return array if array.dtype == dtype else np.frombuffer(array.tobytes(), dtype)


def _sync_folder(folder: Path) -> None:
    """Makes the folder's entries durable, where the system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------------------------------------------------------
# The state of callbacks


class _CallbackState:
    """What of a callback changes while training: its state, which its settings are no part of."""

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        self._callback = callback
        self._settings: dict[str, Any] = {}
        self._told: set[str] = set()

    def remember(self) -> None:
        """Takes what the callback holds when the training begins for its settings."""
        self._settings = {name: copy.deepcopy(value) for name, value in self._attributes() if _is_plain(value)}

    def capture(self, say: Callable[[str], None]) -> tuple[str, dict[str, Any]]:
        """Returns the name of the class and what has changed since; says once of each thing that can't be saved."""
        kind = type(self._callback).__name__
        state = {}
        for name, value in self._attributes():
            if callable(value):
                continue
            if not _is_plain(value):
                if name not in self._told:
                    self._told.add(name)
                    say(f"checkpoint: {kind}.{name} is no number, text, array or list of these, and is not saved")
            elif name not in self._settings or not _same(value, self._settings[name]):
                state[name] = value
        return kind, state

    def _attributes(self) -> list[tuple[str, Any]]:
        return [(name, value) for name, value in vars(self._callback).items() if name not in _KERAS_ATTRIBUTES]


_KERAS_ATTRIBUTES = ("model", "_model", "params", "_params", "validation_data")
"""What Keras itself puts into every callback."""


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401 - plain data
    """Tells whether two pieces of plain data are equal; a NaN equals a NaN."""
    return json.dumps(_pack(one, {}, inline=True)) == json.dumps(_pack(other, {}, inline=True))


def _is_plain(value: Any) -> bool:  # noqa: ANN401 - any attribute
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, np.ndarray):
        return bool(value.dtype.kind in "biuf")
    return value is None or isinstance(value, (bool, int, float, str, np.number, np.bool_))


def _pack(value: Any, arrays: dict[str, NDArray[Any]], *, inline: bool = False) -> Any:  # noqa: ANN401 - any plain data
    """Returns the value as JSON holds it; arrays are put beside it, or only their digest into it."""
    if isinstance(value, np.ndarray):
        name = _digest(value) if inline else f"{_ARRAY}{len(arrays)}"
        arrays[name] = value
        return {_ARRAY: name}
    if isinstance(value, dict):
        return {key: _pack(item, arrays, inline=inline) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_pack(item, arrays, inline=inline) for item in value]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    return value.item() if isinstance(value, (np.number, np.bool_)) else value


def _unpack(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:  # noqa: ANN401 - what `_pack` made
    if isinstance(value, list):
        return [_unpack(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if _ARRAY in value:
        return arrays[value[_ARRAY]]
    if _TUPLE in value:
        return tuple(_unpack(item, arrays) for item in value[_TUPLE])
    return {key: _unpack(item, arrays) for key, item in value.items()}

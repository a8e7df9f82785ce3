"""Checkpoints: one file after each epoch, of which the last two are kept.

A training resumes from a checkpoint as if it had not been interrupted: it contains everything that a training changes,
also the state of the seed generators (for dropout) and of the callbacks (for early stopping). It is written to a
temporary file, read back, synced to disk, and then renamed, and the previous one is kept, so a valid checkpoint exists
at any time. Checkpoints are never unpickled.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.errors import TrainingError, summarize_error
from trainyard.system import atomic_write, get_global_seed_generator
from trainyard.training.callback_state import ARRAY_KEY, CallbackState, hash_array, pack_state, unpack_state

if TYPE_CHECKING:
    import keras

CHECKPOINTS_FOLDER = "checkpoints"
"""The subfolder of a run's folder for checkpoints. It is not logged to MLflow."""

_FORMAT = 1
_CONTENT = "content"


@dataclass(frozen=True, slots=True)
class Identity:
    """What must be equal in two trainings so that one can resume the other."""

    config_hash: str
    seed: int
    dataset_digest: str
    """The digest of the images and labels, see `Dataset.digest`."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a training at the end of an epoch."""

    epoch: int
    """The number of finished epochs."""
    stopped: bool
    """Whether a callback stopped the training after this epoch."""
    history: list[dict[str, float]]
    """The metrics of every epoch so far."""
    identity: Identity
    callbacks: list[tuple[str, dict[str, Any]]]
    """Class name and state of each callback, in order."""
    numerics: dict[str, str]
    """Everything that affects rounding except config, seed and data, see `describe_numerics`."""
    variables: dict[str, NDArray[Any]]
    """See `collect_variables`."""

    def restore(self, model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        """Restores a model, its optimizer and callbacks. Raises a TrainingError if the checkpoint is of other ones."""
        variables = collect_variables(model)
        shapes = {name: _make_storable(variable.numpy()).shape for name, variable in variables.items()}
        if shapes != {name: array.shape for name, array in self.variables.items()}:
            raise TrainingError(
                "the variables in the checkpoint differ from those of the model. Resume with the same versions of "
                "Keras and TensorFlow"
            )
        expected = ", ".join(name for name, _ in self.callbacks)
        received = ", ".join(type(callback).__name__ for callback in callbacks)
        if received != expected:
            raise TrainingError(
                f"callbacks: expected those of the checkpoint ({expected}), got {received}. "
                "Resume with the same callbacks"
            )
        for name, variable in variables.items():
            value, saved = variable.numpy(), self.variables[name]
            saved = saved if saved.dtype == value.dtype else np.frombuffer(saved.tobytes(), value.dtype)
            variable.assign(saved.reshape(value.shape))
        for callback, (_, state) in zip(callbacks, self.callbacks, strict=True):
            for name, value in state.items():
                setattr(callback, name, value)
        model.stop_training = self.stopped


def collect_variables(model: keras.Model) -> dict[str, Any]:
    """Returns all variables that a training changes, except those of metrics. Names are positions: ``model/0``.

    Keras's global seed generator is included: layers without their own generator use it.
    """
    metrics = {id(variable) for variable in model.metrics_variables}
    model_variables = [variable for variable in model.variables if id(variable) not in metrics]
    named = {f"model/{number}": variable for number, variable in enumerate(model_variables)}
    named |= {f"optimizer/{number}": variable for number, variable in enumerate(model.optimizer.variables)}
    return named | {"global seed generator": get_global_seed_generator().state}


@dataclass(frozen=True, slots=True)
class CheckpointPlan:
    """Where a training writes checkpoints, and the checkpoint it resumes from."""

    folder: Path | None
    """None disables new checkpoints."""
    identity: Identity
    start: Checkpoint | None
    """None starts at the first epoch."""


def build_checkpointer(
    callbacks: Sequence[keras.callbacks.Callback],
    history: list[dict[str, float]],
    plan: CheckpointPlan,
    numerics: dict[str, str],
    report: Callable[[str], None],
) -> keras.callbacks.Callback:
    """Builds the callback that restores a training when it begins and saves a checkpoint after each epoch.

    The callbacks whose state is saved must precede it, so that their state of the same epoch is saved. Another callback
    appends to `history`. `report` is called if `numerics` has changed, and for each callback attribute that can't be
    saved.
    """
    import keras

    states = [CallbackState(callback) for callback in callbacks]

    class Checkpointer(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
        def on_train_begin(self, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            for state in states:
                state.record_settings()
            if plan.start:
                for name, value in numerics.items():
                    if (previous := plan.start.numerics.get(name)) != value:
                        report(
                            f"{name}: is {value}, was {previous} in the resumed run. "
                            "Results may differ in the last bits from an uninterrupted run"
                        )
                plan.start.restore(self.model, [state.callback for state in states])

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            if plan.folder is None:
                return
            stopped = bool(self.model.stop_training)
            callback_states = [state.capture(report) for state in states]
            variables = {name: variable.numpy() for name, variable in collect_variables(self.model).items()}
            checkpoint = Checkpoint(epoch + 1, stopped, history, plan.identity, callback_states, numerics, variables)
            save_checkpoint(plan.folder, checkpoint)

    return Checkpointer()


def find_checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoint files in a folder, the last epoch first."""
    return sorted(folder.glob("epoch_*.npz"), reverse=True)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint atomically, deletes all checkpoints except the last two, and returns the file.

    Raises a TrainingError, without changing older ones, if it can't be written or differs when it is read back.
    """
    path = folder / f"epoch_{checkpoint.epoch:06}.npz"
    arrays = {name: _make_storable(array) for name, array in checkpoint.variables.items()}
    content = {
        "format": _FORMAT,
        "epoch": checkpoint.epoch,
        "stopped": checkpoint.stopped,
        "history": checkpoint.history,
        "identity": dataclasses.asdict(checkpoint.identity),
        "callbacks": [[name, pack_state(state, arrays)] for name, state in checkpoint.callbacks],
        "circumstances": checkpoint.numerics,
        "sha256": {name: hash_array(array) for name, array in arrays.items()},
    }
    arrays[_CONTENT] = np.frombuffer(json.dumps(content).encode(), np.uint8)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, durable=True) as partial:
            with partial.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            load_checkpoint(partial)
        for old in find_checkpoints(folder)[2:]:
            old.unlink()
    except OSError as error:
        raise TrainingError(
            f"{path}: the checkpoint can't be written: {error}. Check free disk space and the folder's permissions"
        ) from error
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Loads a checkpoint. Raises a TrainingError if a checksum is wrong, or the file is not a checkpoint."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as members:
            arrays = {name: members[name] for name in members.files}
        # called for each dict of the JSON: returns the arrays and tuples that `pack_state` replaced
        content = json.loads(arrays.pop(_CONTENT).tobytes(), object_hook=lambda value: unpack_state(value, arrays))
        if content["format"] != _FORMAT:
            raise ValueError(f"expected format {_FORMAT}, got {content['format']}")  # noqa: TRY301
        if {name: hash_array(array) for name, array in arrays.items()} != content["sha256"]:
            raise ValueError("the arrays do not match their checksums")  # noqa: TRY301
        return Checkpoint(
            epoch=content["epoch"],
            stopped=content["stopped"],
            history=content["history"],
            identity=Identity(**content["identity"]),
            callbacks=[(name, state) for name, state in content["callbacks"]],
            numerics=content["circumstances"],
            variables={name: array for name, array in arrays.items() if not name.startswith(ARRAY_KEY)},
        )
    except Exception as error:  # a flipped bit can cause any exception in zipfile, NumPy and json
        raise TrainingError(f"{path}: the file is damaged or is not a checkpoint: {summarize_error(error)}") from error


def _make_storable(array: NDArray[Any]) -> NDArray[Any]:
    """Returns the array in a dtype that NumPy can save. Others, such as bfloat16, are returned as uint8 bytes."""
    return array if array.dtype.kind in "biufc" else np.frombuffer(array.tobytes(), np.uint8)

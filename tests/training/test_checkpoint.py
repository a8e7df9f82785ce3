"""Checkpoints are written atomically, and a resumed training equals an uninterrupted one."""

from __future__ import annotations

import numpy as np
import pytest

from trainyard.data import load_dataset
from trainyard.errors import TrainingError
from trainyard.system import tensorflow_setup
from trainyard.system.environment import hash_weights
from trainyard.system.progress import Progress
from trainyard.training.checkpoint import (
    Checkpoint,
    CheckpointPlan,
    Identity,
    find_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from trainyard.training.trainer import train

IDENTITY = Identity(config_hash="abc", seed=3, dataset_digest="def")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def _checkpoint(epoch: int = 1) -> Checkpoint:
    return Checkpoint(
        epoch=epoch,
        stopped=False,
        history=[{"loss/train": 0.1 + 0.2, "accuracy/train": 1 / 3}] * epoch,
        identity=IDENTITY,
        callbacks=[
            ("EarlyStopping", {"wait": 2, "best": float("inf"), "best_weights": [np.eye(2, dtype=np.float32)]}),
            ("UserCallback", {"name": "x", "nested": {"values": (1, None, True, np.arange(3))}}),
        ],
        numerics={"threads": "2"},
        variables={"model/0": np.linspace(0, 1, 7, dtype=np.float32), "optimizer/0": np.array(5, dtype=np.int64)},
    )


def test_a_checkpoint_is_loaded_as_it_was_saved(folder):
    before = _checkpoint()
    after = load_checkpoint(save_checkpoint(folder, before))
    assert (after.epoch, after.stopped, after.history, after.identity) == (1, False, before.history, IDENTITY)
    assert [name for name, _ in after.callbacks] == ["EarlyStopping", "UserCallback"]
    state = after.callbacks[0][1]
    assert (state["wait"], state["best"]) == (2, float("inf"))
    assert np.array_equal(state["best_weights"][0], np.eye(2))
    assert after.callbacks[1][1]["nested"]["values"][:3] == (1, None, True)
    assert after.numerics == {"threads": "2"}
    assert after.callbacks[1][1]["nested"]["values"][3].tolist() == [0, 1, 2]
    for name, array in before.variables.items():
        assert np.array_equal(after.variables[name], array)
        assert after.variables[name].dtype == array.dtype
    assert after.variables.keys() == before.variables.keys()


def test_only_the_last_two_checkpoints_and_no_partial_files_are_kept(folder):
    for epoch in range(1, 12):
        save_checkpoint(folder, _checkpoint(epoch))
    assert [path.name for path in find_checkpoints(folder)] == ["epoch_000011.npz", "epoch_000010.npz"]
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "damage", ["truncated", "flipped", "empty", "text", "pickle", "missing", "marked as encrypted"]
)
def test_a_damaged_checkpoint_is_rejected(folder, damage):
    path = save_checkpoint(folder, _checkpoint())
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[:-100])
    elif damage == "flipped":
        content[content.index(np.linspace(0, 1, 7, dtype=np.float32).tobytes()) + 9] ^= 1
        path.write_bytes(content)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("<html>not found</html>")
    elif damage == "pickle":
        np.savez(path, content=np.array([{"a": object}], dtype=object))
    elif damage == "marked as encrypted":
        content[6] ^= 1
        content[content.rindex(b"PK\x01\x02") + 8] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    with pytest.raises(TrainingError, match="epoch_000001.npz: the file is damaged"):
        load_checkpoint(path)


def test_a_checkpoint_that_cannot_be_written_raises(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="the checkpoint can't be written"):
        save_checkpoint(tmp_path / "file", _checkpoint())


def test_a_checkpoint_that_cannot_be_read_back_replaces_nothing(folder, monkeypatch):
    """A disk that loses bytes is detected before a valid checkpoint is deleted."""
    save_checkpoint(folder, _checkpoint(1))
    save_checkpoint(folder, _checkpoint(2))
    before = {path: path.read_bytes() for path in find_checkpoints(folder)}
    savez = np.savez

    def lose_bytes(file, **arrays):
        savez(file, **arrays)
        file.truncate(200)

    monkeypatch.setattr(np, "savez", lose_bytes)
    with pytest.raises(TrainingError, match="damaged"):
        save_checkpoint(folder, _checkpoint(3))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


# ---------------------------------------------------------------------------------------------------------------
# Interrupted and resumed


RECIPE = (
    "training.epochs=6", "model.dropout=0.3", "model.batch_norm=true", "schedule=cosine",
    "dataset.validation_fraction=0.2", "training.early_stopping.patience=5", "optimizer.learning_rate=0.01",
)  # fmt: skip


def _train(keras, config, folder, *, start=None, stop_in=None, callbacks=()):
    """Trains like a run. `stop_in` interrupts the training during that epoch, after at least one step."""
    tensorflow_setup.configure_tensorflow(config.seed, config.training.threads)
    dataset = load_dataset(config.dataset, config.seed)
    model = config.model.build(dataset.spec)
    details = []

    class Interrupter(Progress):
        def step(self, epoch, epochs, step, steps):
            if epoch == stop_in:
                raise KeyboardInterrupt

        def detail(self, text):
            details.append(text)

    plan = CheckpointPlan(folder, IDENTITY, start)
    result = train(
        model, dataset, config, Interrupter(), lambda epoch, metrics: None, callbacks=callbacks, checkpoints=plan
    )
    return hash_weights(model), [_timeless(metrics) for metrics in result.history], result, details


def _timeless(metrics):
    return {name: value for name, value in metrics.items() if not name.startswith("time/")}


def _build_callbacks(keras, folder):
    """Returns Keras's callbacks and a user's, with state in public and private attributes."""

    class Decaying(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self._seen = [0]
            self.open_file = object()

        def on_epoch_end(self, epoch, logs=None):
            self._seen.append(self._seen[-1] + 1)
            weights = self.model.get_weights()
            self.model.set_weights([weight * (1 - 0.01 * self._seen[-1]) for weight in weights])

    folder.mkdir(parents=True, exist_ok=True)
    return [
        keras.callbacks.ReduceLROnPlateau(monitor="loss", min_delta=0.05, patience=1, cooldown=1),
        keras.callbacks.ModelCheckpoint(folder / "epoch_{epoch}.weights.h5", save_weights_only=True),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        Decaying(),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("engine", [("compiled", "on"), ("compiled", "off"), ("fit", "off")], ids=" xla=".join)
def test_interrupted_and_resumed_equals_uninterrupted(keras, tiny, tmp_path, engine):
    """Weights and history are equal, with dropout, batch norm, a schedule, and early stopping with patience."""
    config = tiny(*RECIPE, f"training.engine={engine[0]}", f"training.xla={engine[1]}")
    weights, history, result, _ = _train(keras, config, tmp_path / "uninterrupted")
    with pytest.raises(KeyboardInterrupt):
        _train(keras, config, tmp_path / "interrupted", stop_in=4)
    (last, _) = find_checkpoints(tmp_path / "interrupted")
    assert last.name == "epoch_000003.npz"
    resumed = _train(keras, config, tmp_path / "interrupted", start=load_checkpoint(last))
    assert resumed[:2] == (weights, history)
    assert resumed[2].best_epoch == result.best_epoch
    assert len(history) == 6


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["compiled", "fit"])
def test_the_state_of_callbacks_is_restored_but_their_settings_are_new(keras, tiny, tmp_path, monkeypatch, engine):
    config = tiny("training.epochs=5", f"training.engine={engine}", "training.xla=off")
    averaging = {"use_ema": True, "ema_momentum": 0.8}
    monkeypatch.setattr(type(config.optimizer), "build", lambda _, rate: keras.optimizers.Adam(rate, **averaging))
    uninterrupted = _train(
        keras, config, tmp_path / "uninterrupted", callbacks=_build_callbacks(keras, tmp_path / "files/uninterrupted")
    )
    with pytest.raises(KeyboardInterrupt):
        _train(
            keras,
            config,
            tmp_path / "interrupted",
            stop_in=4,
            callbacks=_build_callbacks(keras, tmp_path / "files/interrupted"),
        )
    start = load_checkpoint(find_checkpoints(tmp_path / "interrupted")[0])
    callbacks = _build_callbacks(keras, tmp_path / "files/resumed")
    resumed = _train(keras, config, tmp_path / "interrupted", start=start, callbacks=callbacks)
    assert resumed[:2] == uninterrupted[:2]
    assert callbacks[-1]._seen == [0, 1, 2, 3, 4, 5]
    assert sorted(path.name[:7] for path in (tmp_path / "files/resumed").iterdir()) == ["epoch_4", "epoch_5"]
    assert (
        "checkpoint: Decaying.open_file is not saved: expected numbers, text, arrays, or lists, tuples and dicts of "
        "these, got object"
    ) in uninterrupted[3]


def test_the_global_seed_generator_and_half_precision_weights_are_restored(keras, tiny, tmp_path, monkeypatch):
    class Noise(keras.layers.Layer):
        def call(self, images, training=False):
            return images + 0.1 * keras.random.normal(keras.ops.shape(images)) if training else images

    def build(self, spec):
        layers = keras.layers
        return keras.Sequential(
            [
                layers.Input(spec.image_shape),
                layers.Flatten(),
                Noise(),
                layers.Dense(16, activation="relu", dtype="bfloat16"),
                layers.Dense(10, activation="softmax"),
            ]
        )

    config = tiny("training.epochs=3", "training.xla=off")
    monkeypatch.setattr(type(config.model), "build", build)
    uninterrupted = _train(keras, config, tmp_path / "uninterrupted")
    with pytest.raises(KeyboardInterrupt):
        _train(keras, config, tmp_path / "interrupted", stop_in=2)
    start = load_checkpoint(find_checkpoints(tmp_path / "interrupted")[0])
    assert _train(keras, config, tmp_path / "interrupted", start=start)[:2] == uninterrupted[:2]


def test_changed_numerics_are_reported(keras, tiny, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _train(keras, tiny("training.xla=on"), tmp_path / "interrupted", stop_in=2)
    start = load_checkpoint(find_checkpoints(tmp_path / "interrupted")[0])
    *_, details = _train(keras, tiny(), None, start=start)
    assert (
        "XLA: is off, was on in the resumed run. Results may differ in the last bits from an uninterrupted run"
    ) in details


def test_a_training_stopped_by_early_stopping_is_not_continued(keras, tiny, tmp_path):
    recipe = [
        "training.epochs=30", "optimizer.learning_rate=0.1", "dataset.validation_fraction=0.3",
        "training.early_stopping.patience=1",
    ]  # fmt: skip
    config = tiny(*recipe)
    weights, history, result, _ = _train(keras, config, tmp_path / "uninterrupted")
    assert len(history) < 30
    last = load_checkpoint(find_checkpoints(tmp_path / "uninterrupted")[0])
    assert last.stopped
    resumed = _train(keras, config, tmp_path / "resumed", start=last)
    assert resumed[:2] == (weights, history)
    assert resumed[2].best_epoch == result.best_epoch


@pytest.mark.slow
def test_a_different_model_or_different_callbacks_are_rejected(keras, tiny, tmp_path):
    callbacks = [keras.callbacks.ReduceLROnPlateau(monitor="loss")]
    _train(keras, tiny(), tmp_path / "checkpoints", callbacks=callbacks)
    start = load_checkpoint(find_checkpoints(tmp_path / "checkpoints")[0])
    with pytest.raises(TrainingError, match="the variables in the checkpoint differ from those of the model"):
        _train(keras, tiny("model.hidden_units=[17]"), None, start=start, callbacks=callbacks)
    with pytest.raises(
        TrainingError, match=r"callbacks: expected .* \(EpochLogger, ReduceLROnPlateau\), got EpochLogger, Ear"
    ):
        _train(keras, tiny("dataset.validation_fraction=0.1", "training.early_stopping.patience=1"), None, start=start)

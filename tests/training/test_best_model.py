"""The model of the best epoch is saved, also if the training is interrupted and resumed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from trainyard import ConfigError, run_experiment
from trainyard.config.compose import compose_config
from trainyard.config.serialization import hash_config
from trainyard.system import environment
from trainyard.system.progress import Progress
from trainyard.training.best_model import BestModel

# validation loss and accuracy are best in the third of six epochs
OVERRIDES = ["dataset.limit=300", "dataset.validation_fraction=0.3", "model.hidden_units=[16]", "training.epochs=6",
             "name=tiny", "optimizer=sgd_momentum", "optimizer.learning_rate=0.3", "training.keep_best=loss/val",
             "training.xla=off"]  # fmt: skip
BEST_EPOCH = 3


class StopIn(Progress):
    def __init__(self, epoch):
        self.stop_epoch = epoch

    def step(self, epoch, epochs, step, steps):
        if epoch == self.stop_epoch:
            raise KeyboardInterrupt


def loss_of(keras, file, dataset):
    model = keras.models.load_model(file)
    return model.evaluate(
        dataset.spec.scale(dataset.validation.images), dataset.validation.labels, batch_size=1024, verbose=0
    )[0]


@pytest.fixture(scope="module")
def interrupted(keras, tmp_path_factory):
    """The folder of a run that was interrupted in epoch 6, with checkpoints and a best model. It is copied by tests."""
    folder = tmp_path_factory.mktemp("best_model") / "interrupted"
    config = compose_config([*OVERRIDES, "training.checkpoint=true", "tracking=off"])
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, folder=folder, progress=StopIn(6))
    return folder


def test_the_model_of_the_best_epoch_is_saved_and_logged_and_a_tag_names_the_epoch(keras):
    from trainyard.tracking.connection import connect

    result = run_experiment(compose_config(OVERRIDES))
    losses = [metrics["loss/val"] for metrics in result.training.history]
    assert np.argmin(losses) + 1 == BEST_EPOCH  # otherwise this test would test nothing
    assert loss_of(keras, result.folder / "best.keras", result.dataset) == pytest.approx(min(losses), rel=1e-6)
    assert not list(result.folder.glob("partial.*"))
    client = connect(result.tracking_uri)
    tag = client.get_run(result.run_id).data.tags["best_epoch"]
    assert tag == result.best_model.describe(result.training.history)
    assert tag == f"{BEST_EPOCH}, by loss/val {min(losses):.6g}"
    assert "best.keras" in {item.path for item in client.list_artifacts(result.run_id)}


@pytest.mark.slow
def test_a_resumed_training_saves_the_same_best_model(keras):
    """The training is interrupted before the best epoch, directly after it, and later."""
    config = compose_config([*OVERRIDES, "training.checkpoint=true", "tracking=off"])

    def hash_best_model(folder):
        return environment.hash_weights(keras.models.load_model(Path(folder) / "best.keras"))

    expected = hash_best_model(run_experiment(config).folder)
    for stop in (BEST_EPOCH, BEST_EPOCH + 1, 6):
        with pytest.raises(KeyboardInterrupt):
            run_experiment(config, folder=f"outputs/stopped{stop}", progress=StopIn(stop))
        assert (hash_best_model(f"outputs/stopped{stop}") == expected) == (stop > BEST_EPOCH)
        config.resume = f"outputs/stopped{stop}"
    assert hash_best_model(run_experiment(config).folder) == expected


def test_a_missing_best_model_is_reported(interrupted):
    shutil.copytree(interrupted, "outputs/interrupted")
    Path("outputs/interrupted/best.keras").unlink()
    details = []

    class Listening(Progress):
        def detail(self, text):
            details.append(text)

    config = compose_config([*OVERRIDES, "training.checkpoint=true", "tracking=off"])
    config.resume = "outputs/interrupted"
    run_experiment(config, progress=Listening())
    assert any(f"best.keras: the best epoch so far is {BEST_EPOCH}, but its model is not available" in line
               for line in details)  # fmt: skip


def test_the_best_model_by_another_metric_is_not_reused(interrupted):
    shutil.copytree(interrupted, "outputs/interrupted")
    assert Path("outputs/interrupted/best.keras").exists()
    overrides = [*OVERRIDES, "training.checkpoint=true", "tracking=off", "training.keep_best=accuracy/val"]
    config = compose_config(overrides)
    config.resume = "outputs/interrupted"
    resumed = run_experiment(config)
    accuracies = [metrics["accuracy/val"] for metrics in resumed.training.history]
    assert np.argmax(accuracies) < 5  # before the interruption
    assert not (resumed.folder / "best.keras").exists()


def test_the_best_epoch_has_the_highest_accuracy():
    history = [{"accuracy/train": value} for value in (0.2, 0.9, 0.9, 0.5)]
    assert BestModel("accuracy/train", Path("best.keras")).find_best_epoch(history) == 2


def test_invalid_values_of_keep_best_are_rejected():
    with pytest.raises(ConfigError, match=r"training.keep_best: loss/val requires validation images"):
        compose_config(["training.keep_best=loss/val"])
    with pytest.raises(ConfigError, match=r"training.keep_best: .* before averaging"):
        compose_config(["training.keep_best=loss/train", "optimizer.use_ema=true"])
    with pytest.raises(ConfigError, match=r"training.keep_best: expected one of loss/val, .* got 'loss'"):
        compose_config(["training.keep_best=loss"])


def test_keep_best_does_not_change_the_config_hash():
    assert hash_config(compose_config(["training.keep_best=loss/train"])) == hash_config(compose_config([]))

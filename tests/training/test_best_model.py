"""The model of the best epoch is saved, also if the training is interrupted and resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainyard import ConfigError, run_experiment
from trainyard.config.compose import compose_config
from trainyard.config.serialization import hash_config
from trainyard.system import environment
from trainyard.system.progress import Progress
from trainyard.training.best_model import BestModel

# the validation loss falls, rises in the fourth of six epochs, and falls again, but less
OVERRIDES = ["dataset.limit=300", "dataset.validation_fraction=0.3", "model.hidden_units=[16]", "training.epochs=6",
             "name=tiny", "optimizer=sgd_momentum", "optimizer.learning_rate=0.3", "training.keep_best=loss/val",
             "tracking=off"]  # fmt: skip


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


def test_the_model_of_the_best_epoch_is_saved(keras):
    result = run_experiment(compose_config(OVERRIDES))
    losses = [metrics["loss/val"] for metrics in result.training.history]
    best = int(np.argmin(losses)) + 1
    assert 1 < best < len(losses)  # otherwise this test would test nothing
    assert loss_of(keras, result.folder / "best.keras", result.dataset) == pytest.approx(min(losses), rel=1e-6)
    assert result.best_model.describe(result.training.history) == f"{best}, by loss/val {min(losses):.6g}"
    assert not list(result.folder.glob("partial.*"))


def test_the_best_model_is_logged_and_a_tag_names_its_epoch(keras):
    from trainyard.tracking.connection import connect

    result = run_experiment(compose_config([*OVERRIDES[:-1], "training.epochs=2"]))
    client = connect(result.tracking_uri)
    tag = client.get_run(result.run_id).data.tags["best_epoch"]
    assert tag == result.best_model.describe(result.training.history)
    assert "best.keras" in {item.path for item in client.list_artifacts(result.run_id)}


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 4, 6])  # before the best epoch, directly after it, later
def test_a_resumed_training_saves_the_same_best_model(keras, stop):
    config = compose_config([*OVERRIDES, "training.checkpoint=true"])
    uninterrupted = run_experiment(config)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, folder="outputs/interrupted", progress=StopIn(stop))
    config.resume = "outputs/interrupted"
    resumed = run_experiment(config)
    models = [keras.models.load_model(result.folder / "best.keras") for result in (uninterrupted, resumed)]
    assert environment.hash_weights(models[0]) == environment.hash_weights(models[1])


def test_a_missing_best_model_is_reported(keras):
    config = compose_config([*OVERRIDES, "training.checkpoint=true"])
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, folder="outputs/interrupted", progress=StopIn(6))
    Path("outputs/interrupted/best.keras").unlink()
    details = []

    class Listening(Progress):
        def detail(self, text):
            details.append(text)

    config.resume = "outputs/interrupted"
    run_experiment(config, progress=Listening())
    assert any("best.keras: the best epoch so far is" in line and "not available" in line for line in details)


def test_the_best_model_by_another_metric_is_not_reused(keras):
    config = compose_config([*OVERRIDES, "training.checkpoint=true", "training.keep_best=accuracy/val"])
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, folder="outputs/interrupted", progress=StopIn(6))
    config.resume, config.training.keep_best = "outputs/interrupted", "loss/val"
    resumed = run_experiment(config)
    losses = [metrics["loss/val"] for metrics in resumed.training.history]
    assert np.argmin(losses) < 5  # before the interruption
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

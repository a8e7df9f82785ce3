"""The model of the best epoch is kept, whatever comes after it, resumed or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainyard import ConfigError, run_experiment
from trainyard.config.compose import compose_config, hash_config
from trainyard.system import environment
from trainyard.system.progress import Progress
from trainyard.training.best_model import BestModel

# the validation loss goes down, up at the fourth of six epochs, and down again, but not as far
OVERRIDES = ["dataset.limit=300", "dataset.validation_fraction=0.3", "model.hidden_units=[16]", "training.epochs=6",
             "name=tiny", "optimizer=sgd_momentum", "optimizer.learning_rate=0.3", "training.keep_best=loss/val",
             "tracking=off"]  # fmt: skip


class StopIn(Progress):
    def __init__(self, epoch):
        self.when = epoch

    def step(self, epoch, epochs, step, steps):
        if epoch == self.when:
            raise KeyboardInterrupt


def loss_of(keras, file, dataset):
    model = keras.models.load_model(file)
    return model.evaluate(
        dataset.spec.scale(dataset.validation.images), dataset.validation.labels, batch_size=1024, verbose=0
    )[0]


def test_the_best_epoch_is_kept(keras):
    result = run_experiment(compose_config(OVERRIDES))
    losses = [metrics["loss/val"] for metrics in result.training.history]
    best = int(np.argmin(losses)) + 1
    assert 1 < best < len(losses)  # or this would test nothing
    assert loss_of(keras, result.folder / "best.keras", result.dataset) == pytest.approx(min(losses), rel=1e-6)
    assert result.best_model.describe(result.training.history) == f"{best}, by loss/val {min(losses):.6g}"
    assert not list(result.folder.glob("partial.*"))


def test_in_the_store_a_tag_names_the_epoch_and_the_model_is_there(keras):
    from trainyard.tracking.connection import connect

    result = run_experiment(compose_config([*OVERRIDES[:-1], "training.epochs=2"]))
    client = connect(result.tracking_uri)
    told = client.get_run(result.run_id).data.tags["best_epoch"]
    assert told == result.best_model.describe(result.training.history)
    assert "best.keras" in {item.path for item in client.list_artifacts(result.run_id)}


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 4, 6])  # before the best, right after it, later
def test_a_resumed_training_keeps_the_same(keras, stop):
    config = compose_config([*OVERRIDES, "training.checkpoint=true"])
    whole = run_experiment(config)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, folder="outputs/interrupted", progress=StopIn(stop))
    config.resume = "outputs/interrupted"
    resumed = run_experiment(config)
    kept = [keras.models.load_model(result.folder / "best.keras") for result in (whole, resumed)]
    assert environment.digest_weights(kept[0]) == environment.digest_weights(kept[1])


def test_a_best_model_that_is_lost_is_said(keras):
    config = compose_config([*OVERRIDES, "training.checkpoint=true"])
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, folder="outputs/interrupted", progress=StopIn(6))
    Path("outputs/interrupted/best.keras").unlink()
    told = []

    class Listening(Progress):
        def detail(self, text):
            told.append(text)

    config.resume = "outputs/interrupted"
    run_experiment(config, progress=Listening())
    assert any("best.keras: the model of epoch" in line and "is lost" in line for line in told)


def test_a_model_that_was_best_by_another_metric_is_not_taken(keras):
    config = compose_config([*OVERRIDES, "training.checkpoint=true", "training.keep_best=accuracy/val"])
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, folder="outputs/interrupted", progress=StopIn(6))
    config.resume, config.training.keep_best = "outputs/interrupted", "loss/val"
    resumed = run_experiment(config)
    losses = [metrics["loss/val"] for metrics in resumed.training.history]
    assert np.argmin(losses) < 5  # before the interruption
    assert not (resumed.folder / "best.keras").exists()


def test_of_an_accuracy_the_highest_is_the_best():
    history = [{"accuracy/train": value} for value in (0.2, 0.9, 0.9, 0.5)]
    assert BestModel("accuracy/train", Path("best.keras")).epoch(history) == 2


def test_what_can_not_be_kept_is_refused():
    with pytest.raises(ConfigError, match=r"training.keep_best: loss/val needs validation images"):
        compose_config(["training.keep_best=loss/val"])
    with pytest.raises(ConfigError, match=r"training.keep_best: .* before averaging"):
        compose_config(["training.keep_best=loss/train", "optimizer.use_ema=true"])
    with pytest.raises(ConfigError, match=r"training.keep_best: expected one of loss/val, .* got 'loss'"):
        compose_config(["training.keep_best=loss"])


def test_it_changes_nothing_of_what_is_computed():
    assert hash_config(compose_config(["training.keep_best=loss/train"])) == hash_config(compose_config([]))

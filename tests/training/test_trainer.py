from __future__ import annotations

import numpy as np
import pytest

from trainyard.data import load_dataset
from trainyard.data.batches import BatchMaker
from trainyard.data.dataset import DataSpec, Split
from trainyard.errors import TrainingError
from trainyard.system import tensorflow_setup
from trainyard.system.environment import hash_weights
from trainyard.system.progress import Progress
from trainyard.training.engine import EpochPlan
from trainyard.training.fit_engine import stream_batches
from trainyard.training.trainer import compile_model, train


class Listener(Progress):
    def __init__(self):
        self.steps, self.epochs = [], []

    def step(self, epoch, epochs, step, steps):
        self.steps.append((epoch, step, steps))

    def epoch(self, epoch, epochs, metrics):
        self.epochs.append((epoch, epochs, dict(metrics)))


def test_the_image_order_depends_only_on_seed_and_epoch():
    plans = [EpochPlan(epochs=2, batch_size=8, seed=seed) for seed in (0, 1)]
    orders = [tuple(plans[seed].draw_image_order(epoch, 50)) for seed, epoch in [(0, 0), (0, 1), (1, 0), (0, 0)]]
    assert orders[0] == orders[3]
    assert len(set(orders)) == 3
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_batches_are_scaled_exactly_and_the_last_is_smaller(keras):
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 3), dtype=np.uint8)
    split = Split(images, np.arange(10, dtype=np.uint8))
    maker = BatchMaker(DataSpec(image_shape=(3, 3), class_names=tuple("0123456789"), pixel_max=255))
    orders = iter([np.arange(10, dtype=np.int32)[::-1], np.arange(10, dtype=np.int32)])
    stream = stream_batches(split, maker, 4, lambda: (np.int32(0), next(orders)))
    first, second = ([(x.numpy(), y.numpy()) for x, y in stream] for _ in range(2))
    assert [len(labels) for _, labels in first] == [4, 4, 2]
    assert np.concatenate([labels for _, labels in first]).tolist() == list(range(10))[::-1]
    assert np.concatenate([labels for _, labels in second]).tolist() == list(range(10))
    assert np.array_equal(np.concatenate([pixels for pixels, _ in second]), images / np.float32(255))
    assert len(stream) == 3


def test_training_reports_every_epoch_learns_and_completes_its_schedule(tiny, train_model):
    listener, logged = Listener(), []
    config = tiny("training.epochs=4", "dataset.validation_fraction=0.2", "schedule=cosine")
    *_, result = train_model(config, listener, lambda epoch, metrics: logged.append((epoch, metrics)))
    assert [epoch for epoch, _ in logged] == [1, 2, 3, 4]
    assert set(result.history[0]) == {
        "loss/train", "accuracy/train", "loss/val", "accuracy/val", "learning_rate/value", "time/epoch_seconds",
    }  # fmt: skip
    assert result.history[-1]["loss/train"] < result.history[0]["loss/train"]
    assert result.history == [metrics for _, metrics in logged] == [metrics for _, _, metrics in listener.epochs]
    assert listener.steps[-1] == (4, 8, 8)
    assert (result.engine, result.best_epoch) == ("compiled", None)
    assert result.compile_seconds > 0
    rates = [epoch["learning_rate/value"] for epoch in result.history]
    assert rates == pytest.approx([0.001 * (1 + np.cos(np.pi * step / 32)) / 2 for step in (7, 15, 23, 31)], abs=1e-9)


@pytest.mark.parametrize("engine", ["compiled", "fit"])
def test_each_epoch_uses_its_own_order(tiny, train_model, monkeypatch, engine):
    calls, image_order = [], EpochPlan.draw_image_order
    monkeypatch.setattr(
        EpochPlan, "draw_image_order", lambda plan, *key: calls.append((plan.seed, *key)) or image_order(plan, *key)
    )
    train_model(tiny("training.epochs=3", "seed=5", f"training.engine={engine}"))
    assert calls == [(5, 0, 300), (5, 1, 300), (5, 2, 300)]


def test_weights_equal_those_of_plain_keras_with_the_same_order(tiny, train_model):
    """The input pipeline and multi-step execution give the same weights as train_on_batch."""
    config = tiny("training.epochs=2", "optimizer=sgd", "training.engine=fit")
    model, dataset, _ = train_model(config)
    tensorflow_setup.configure_tensorflow(config.seed, None)
    plain = config.model.build(dataset.spec)
    compile_model(plain, config, batches_per_epoch=1)
    plain.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    for epoch in range(2):
        order = EpochPlan(2, 32, config.seed).draw_image_order(epoch, len(dataset.train))
        for start in range(0, len(order), 32):
            batch = dataset.train.take(order[start : start + 32])
            plain.train_on_batch(batch.images / np.float32(16), batch.labels)
    for weight, expected in zip(model.get_weights(), plain.get_weights(), strict=True):
        assert np.allclose(weight, expected, atol=1e-6)


def test_early_stopping_stops_and_restores_the_best_epoch(tiny, train_model):
    config = tiny(
        "training.epochs=50", "dataset.validation_fraction=0.3", "optimizer.learning_rate=0.05",
        "training.early_stopping.patience=2", "training.early_stopping.monitor=accuracy/val",
    )  # fmt: skip
    *_, result = train_model(config)
    accuracies = [epoch["accuracy/val"] for epoch in result.history]
    assert len(accuracies) < 50
    assert result.best_epoch == int(np.argmax(accuracies)) + 1 == len(accuracies) - 2


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_diverging_training_is_stopped_with_an_error(tiny, train_model, activation):
    config = tiny("optimizer=sgd", "optimizer.learning_rate=1e30", f"model.activation={activation}", "model.l2=1e10")
    with pytest.raises(TrainingError, match="training diverged in epoch 1: "):
        train_model(config)


@pytest.mark.parametrize(
    ("activation", "override"),
    [
        ("relu", "training.xla=on"),
        ("relu", "training.xla=off"),
        ("relu", "training.engine=fit"),
        ("tanh", "training.xla=off"),  # passes NaN on to the loss, unlike relu
    ],
)
def test_one_nan_pixel_stops_the_training(keras, tiny, monkeypatch, activation, override):
    """Pixels are uint8, so only scaling can give NaN: here, for the pixel value 99, which occurs once."""
    config = tiny("training.epochs=3", f"model.activation={activation}", override)
    tensorflow_setup.configure_tensorflow(0, None)
    dataset = load_dataset(config.dataset, 0)
    dataset.train.images[7, 3, 3] = 99
    table = dataset.spec.build_scale_table()
    table[99] = np.nan
    monkeypatch.setattr(DataSpec, "build_scale_table", lambda spec: table)
    with pytest.raises(TrainingError, match="training diverged in epoch 1: "):
        train(config.model.build(dataset.spec), dataset, config, Progress(), lambda epoch, metrics: None)


def test_nan_weights_are_detected_even_if_the_loss_is_finite(keras, tiny):
    class Poison(Progress):
        def step(self, epoch, epochs, step, steps):
            if epoch == 2:
                weights = model.get_weights()
                weights[1][0] = np.nan
                model.set_weights(weights)

    config = tiny("training.epochs=3", "model.activation=relu", "training.engine=fit")
    tensorflow_setup.configure_tensorflow(0, None)
    dataset = load_dataset(config.dataset, 0)
    model = config.model.build(dataset.spec)
    with pytest.raises(TrainingError, match=r"in epoch 2: weight mlp/hidden_1/bias contains NaN"):
        train(model, dataset, config, Poison(), lambda epoch, metrics: None)


def test_steps_per_epoch_include_the_last_smaller_batch(tiny):
    config = tiny()
    assert (
        EpochPlan(1, config.training.batch_size, 0).count_steps_per_epoch(len(load_dataset(config.dataset, 0).train))
        == 10
    )


def test_the_digest_of_weights_depends_on_every_weight(keras, tiny):
    config = tiny()
    model = config.model.build(load_dataset(config.dataset, 0).spec)
    before, weights = hash_weights(model), model.get_weights()
    assert hash_weights(model) == before
    for array in weights:
        original = array.flat[-1]
        array.flat[-1] += 1e-6
        model.set_weights(weights)
        assert hash_weights(model) != before
        array.flat[-1] = original
    model.set_weights(weights)
    assert hash_weights(model) == before

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from trainyard import run_experiment
from trainyard.config.compose import compose_config
from trainyard.data import Digits, load_dataset
from trainyard.data.batches import BatchMaker, build_batch_maker, compute_balanced_weights
from trainyard.data.dataset import Dataset, DataSpec, Split, standardise_dataset
from trainyard.errors import TrainingError

NAMES = ("cat", "dog", "owl")


def _colour_images(count=50):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 4, 5, 3), dtype=np.uint8) // np.array([1, 2, 4], np.uint8)
    split = Split(images, (np.arange(count) % 3).astype(np.uint8))
    return Dataset(name="colours", spec=DataSpec((4, 5, 3), NAMES, 255), train=split, test=split, source="here")


def test_standardised_channels_have_mean_0_and_standard_deviation_1():
    dataset = standardise_dataset(_colour_images())
    scaled = dataset.spec.scale(dataset.train.images)
    assert scaled.dtype == np.float32
    assert scaled.mean(axis=(0, 1, 2)) == pytest.approx([0, 0, 0], abs=1e-5)
    assert scaled.std(axis=(0, 1, 2)) == pytest.approx([1, 1, 1], abs=1e-5)


def test_a_constant_channel_is_shifted_and_not_divided_by_zero():
    dataset = _colour_images()
    dataset.train.images[..., 1] = 7
    spec = standardise_dataset(dataset).spec
    assert spec.std[1] == 1.0
    assert np.abs(spec.scale(dataset.train.images)[..., 1]).max() < 1e-6


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("make", [_colour_images, lambda: load_dataset(Digits(), 0)])
def test_batches_are_scaled_bit_for_bit_as_in_numpy(keras, make, standardise):
    dataset = standardise_dataset(make()) if standardise else make()
    images, _ = BatchMaker(dataset.spec).make(dataset.test.images, dataset.test.labels)
    assert np.array_equal(images.numpy(), dataset.spec.scale(dataset.test.images))


def test_targets_can_be_one_hot_and_only_training_batches_are_weighted(keras):
    dataset = _colour_images(4)
    batches = BatchMaker(dataset.spec, one_hot=True, class_weights=np.array([1, 2, 4], np.float32))
    _, targets, weights = batches.make(dataset.train.images, dataset.train.labels, (0, 0))
    assert targets.numpy().tolist() == np.eye(3)[[0, 1, 2, 0]].tolist()
    assert weights.numpy().tolist() == [1, 2, 4, 1]
    assert len(batches.make(dataset.train.images, dataset.train.labels)) == 2


def test_balanced_weights_give_each_class_the_same_total_weight():
    labels = np.array([0] * 6 + [1] * 3, np.uint8)
    split = Split(np.zeros((9, 2, 2), np.uint8), labels)
    assert compute_balanced_weights(split, 3) == pytest.approx([0.75, 1.5, 0.0])


def test_class_weights_must_match_the_classes():
    config = compose_config()
    dataset = load_dataset(config.dataset, 0)
    for weights in ([1.0, 2.0], [0.0] * 10):
        config.training.class_weights = weights
        expected = r"training\.class_weights: expected 10 numbers, one per class of digits"
        with pytest.raises(TrainingError, match=expected):
            build_batch_maker(config, dataset, 0)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["compiled", "fit"])
@pytest.mark.parametrize(
    "overrides",
    [
        ["training.precision=mixed_bfloat16", "optimizer.use_ema=true", "loss.label_smoothing=0.1",
         "training.balance_classes=true", "training.xla=off"],
        ["loss=focal", "dataset.standardise=true", "dataset.validation_fraction=0.2", "training.plateau.patience=1",
         "training.plateau.monitor=loss/train", "training.plateau.min_delta=10", "training.plateau.factor=0.5",
         "training.xla=off"],
        ["training.precision=mixed_float16", f"training.class_weights={[1.0] * 9 + [3.0]}",
         "optimizer.gradient_accumulation_steps=2", "schedule=cosine"],
    ],
    ids=["bfloat16", "focal", "float16"],
)  # fmt: skip
def test_both_engines_train_with_each_option(keras, engine, overrides):
    base = [f"training.engine={engine}", "training.epochs=4", "model.hidden_units=[64]", "tracking=off"]
    base.append("optimizer.learning_rate=0.01")
    result = run_experiment(compose_config([*base, *overrides]))
    assert result.training.engine == engine
    assert result.evaluation.accuracy > 0.85
    if "training.plateau.patience=1" in overrides:
        rates = [epoch["learning_rate/value"] for epoch in result.training.history]
        assert rates == pytest.approx([1e-2, 1e-2, 5e-3, 2.5e-3])  # the first epoch is always an improvement
    if "training.precision=mixed_bfloat16" in overrides:
        assert {layer.compute_dtype for layer in result.model.layers} == {"bfloat16", "float32"}
        assert result.evaluation.probabilities.dtype == np.float32


@pytest.mark.slow
def test_the_engines_agree_on_weighted_losses_with_label_smoothing(keras):
    def history(engine):
        overrides = ["training.xla=off", "loss.label_smoothing=0.2", "training.epochs=1", "dataset.standardise=true"]
        overrides += [
            "dataset.limit=300",
            f"training.class_weights={[0.5] * 5 + [2.0] * 5}",
            "model.hidden_units=[32]",
            "tracking=off",
        ]
        return run_experiment(compose_config([*overrides, f"training.engine={engine}"])).training.history[0]

    compiled, fit = history("compiled"), history("fit")
    assert compiled["loss/train"] == pytest.approx(fit["loss/train"], rel=2e-5)
    assert compiled["accuracy/train"] == fit["accuracy/train"]


def test_the_serving_model_standardises_raw_pixels(keras):
    from trainyard.models import build_serving_model

    dataset = standardise_dataset(_colour_images())
    layers = [keras.layers.Input((4, 5, 3)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential(layers)
    served = build_serving_model(model, dataset.spec)
    expected = model.predict_on_batch(dataset.spec.scale(dataset.test.images))
    assert np.allclose(served.predict_on_batch(dataset.test.images), expected, atol=1e-6)


def test_a_single_channel_has_a_one_dimensional_scale_table():
    spec = DataSpec((2, 2), NAMES, 255)
    assert np.array_equal(spec.build_scale_table(), np.arange(256, dtype=np.float32) / np.float32(255))
    assert dataclasses.replace(spec, mean=(0.5,), std=(0.25,)).build_scale_table()[255] == pytest.approx(2.0)

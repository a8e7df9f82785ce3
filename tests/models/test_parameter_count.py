from __future__ import annotations

import itertools
import random
import subprocess
import sys

import pytest

from trainyard.data import Digits, FashionMnist, ImageFolder, Kmnist, Mnist, Npz
from trainyard.data.dataset import DataSpec
from trainyard.errors import TrainingError
from trainyard.models import Cnn, Mlp, Sequential

GRAYSCALE = DataSpec((28, 28), tuple("0123456789"), 255)
COLOUR = DataSpec((32, 32, 3), ("cat", "dog", "bird"), 255)
OBLONG = DataSpec((30, 21), ("a", "b"), 255)


def _combinations(number, **options):
    """Returns a fixed random sample of all combinations, in which each value of each option occurs."""
    combinations = [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]
    sample = random.Random(0).sample(combinations, number)
    for option, values in options.items():
        assert all(any(each[option] == value for each in sample) for value in values), option
    return sample


def _count(model, spec):
    return model.count_parameters(spec.image_shape, spec.classes)


def _count_in_keras(model, spec):
    """Returns the number of parameters that Keras counts; None if the model can't be built."""
    try:
        return model.build(spec).count_params()
    except TrainingError:
        return None


def test_the_published_baseline_has_316810_parameters():
    assert Mlp().count_parameters((28, 28), 10) == 316_810


@pytest.mark.parametrize("spec", [GRAYSCALE, COLOUR, OBLONG], ids=["grayscale", "colour", "oblong"])
def test_the_count_of_an_mlp_equals_that_of_keras(keras, spec):
    for units, norm, dropout in itertools.product([[1], [300, 200, 100]], [False, True], [0.0, 0.5]):
        model = Mlp(hidden_units=units, batch_norm=norm, dropout=dropout)
        assert _count(model, spec) == model.build(spec).count_params(), model


@pytest.mark.parametrize("spec", [GRAYSCALE, COLOUR, OBLONG], ids=["grayscale", "colour", "oblong"])
def test_the_count_of_a_cnn_equals_that_of_keras(keras, spec):
    for fields in _combinations(
        8,
        filters=[[4], [8, 6]],
        kernel_size=[1, 2, 3],
        padding=["same", "valid"],
        convolutions=[1, 2],
        pooling=["max", "average"],
        pool_size=[1, 2, 3],
        global_pooling=["none", "max", "average"],
        dense_units=[[], [16], [12, 7]],
        batch_norm=[False, True],
    ):
        model = Cnn(**fields, dropout=0.1, dense_dropout=0.1)
        assert _count(model, spec) == _count_in_keras(model, spec), model
    model = Cnn(filters=[4, 8], kernel_size=[5, 3], padding="valid")
    assert _count(model, spec) == model.build(spec).count_params()


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_cnn_has_a_count_if_and_only_if_it_can_be_built(keras, padding):
    counts = []
    for side, blocks, pool in itertools.product([1, 2, 7, 8], [1, 2], [1, 2]):
        model, spec = Cnn(filters=[2] * blocks, padding=padding, pool_size=pool), DataSpec((side, 9), ("a", "b"), 1)
        counts.append(_count_in_keras(model, spec))
        assert _count(model, spec) == counts[-1], (side, blocks, pool)
    assert None in counts
    assert any(counts)


def test_the_known_shape_of_the_digits_is_their_shape():
    spec = Digits().load(progress=False).spec
    assert Digits().known_shape == (spec.image_shape, spec.classes) == ((8, 8), 10)


@pytest.mark.parametrize("published", [Mnist, FashionMnist, Kmnist])
def test_published_data_sets_have_a_known_shape(published):
    assert published().known_shape == ((28, 28), 10)


def test_the_known_shape_of_mnist_is_that_of_the_loaded_data(tiny_mnist):
    spec = Mnist(path=str(tiny_mnist)).load(progress=False).spec
    assert Mnist().known_shape == (spec.image_shape, spec.classes)


@pytest.mark.parametrize("dataset", [Npz, ImageFolder])
def test_the_shape_of_user_data_is_unknown_before_it_is_loaded(dataset):
    assert dataset(path="birds").known_shape is None


def test_a_model_of_listed_layers_has_no_count():
    assert Sequential().count_parameters((28, 28), 10) is None


def test_counting_does_not_import_tensorflow():
    program = """
import sys
from trainyard.config.compose import compose_config
for model in ("mlp", "cnn", "sequential"):
    config = compose_config(["dataset=mnist", f"model={model}"])
    print(config.model.count_parameters(*config.dataset.known_shape))
print([name for name in ("tensorflow", "keras", "sklearn") if name in sys.modules])
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines() == ["316810", "421642", "None", "[]"]

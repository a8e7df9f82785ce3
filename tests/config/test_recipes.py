"""Every shipped recipe has a header with description, command and expected result, and can be trained."""

from __future__ import annotations

import re

import pytest

from trainyard import run_experiment
from trainyard.config.compose import compose_config
from trainyard.config.registry import get_registered_components
from trainyard.config.search_path import find_shipped_config_folder
from trainyard.data import DownloadableDataset, Mnist

RECIPES = sorted(path.stem for path in (find_shipped_config_folder() / "experiment").glob("*.yaml"))


def _read(name):
    return (find_shipped_config_folder() / "experiment" / f"{name}.yaml").read_text()


def test_recipe_begins_with_description_command_and_expected_result():
    for name in RECIPES:
        lines = _read(name).splitlines()
        assert lines[:2] == ["# @package _global_", "#"], name
        assert len(lines[2]) > 40, name
        assert f"#   trainyard train experiment={name}" in lines[3:8]
        assert any(line.startswith("# Expected: ") for line in lines[3:10]), name


TRACED = ("mnist_cnn", "mnist_mlp_tuned")
"""The other recipes have the same components as one of these, or the default components. TensorFlow executes their
training without tracing it first, which would take most of the time."""


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_can_be_trained_for_one_step(keras, tiny_mnist, use_tiny_files_for, run_eagerly, name):
    run_eagerly(name not in TRACED)
    config = compose_config([f"experiment={name}", "tracking=off", "dataset.limit=30", "training.epochs=1"])
    assert config.name == name
    if isinstance(config.dataset, DownloadableDataset):
        if not isinstance(config.dataset, Mnist):
            use_tiny_files_for(type(config.dataset))
        config.dataset.path = str(tiny_mnist)
    config.training.batch_size = 40
    result = run_experiment(config)
    assert len(result.training.history) == 1
    assert (result.folder / "model.h5").exists()


@pytest.fixture
def run_eagerly():
    """Returns a function that sets whether TensorFlow executes functions without tracing them."""
    import tensorflow as tf

    yield tf.config.run_functions_eagerly
    tf.config.run_functions_eagerly(False)


def test_every_shipped_data_set_has_a_recipe():
    used = {re.search(r"- override /dataset: (\w+)", _read(name)).group(1) for name in RECIPES}
    own = {
        name for name, dataset in get_registered_components("dataset").items() if "path" in dataset.__dataclass_fields__
    }
    published = {
        name
        for name, dataset in get_registered_components("dataset").items()
        if issubclass(dataset, DownloadableDataset)
    }
    assert used == {"digits"} | published - {"emnist", "medmnist"}  # collections, without a recipe for each data set
    assert own - published == {"npz", "idx", "image_folder"}

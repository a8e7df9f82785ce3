"""Fixtures for tests of the training."""

from __future__ import annotations

import pytest

from trainyard.data import load_dataset
from trainyard.system import tensorflow_setup
from trainyard.system.progress import Progress
from trainyard.training.trainer import train


@pytest.fixture
def train_model(keras):
    """Returns a function that trains the model of a config, without a run: nothing is evaluated, saved or tracked.

    It returns the model, the dataset and the result of the training.
    """

    def train_model(config, progress=None, log_epoch=lambda epoch, metrics: None):
        tensorflow_setup.configure_tensorflow(config.seed, config.training.threads)
        dataset = load_dataset(config.dataset, config.seed)
        model = config.model.build(dataset.spec)
        return model, dataset, train(model, dataset, config, progress or Progress(), log_epoch)

    return train_model

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from trainyard import run_experiment
from trainyard.config.serialization import hash_config
from trainyard.errors import ConfigError, ModelError, TrainingError
from trainyard.runs.lookup import find_start_model
from trainyard.system import environment
from trainyard.tracking.connection import connect


@pytest.fixture
def trained(keras, quick, once):
    """A finished run, to which tests may add runs in its store."""

    def train():
        return run_experiment(quick("tracking.model=false"))

    return once(train)


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["id", "folder", "model.keras", "model.h5"])
def test_a_training_can_start_from_the_weights_of_another_run(trained, quick, reference):
    references = {"id": trained.run_id, "folder": os.path.relpath(trained.folder)}
    start = references.get(reference, str(trained.folder / reference))
    unchanged = ["optimizer.learning_rate=1e-12", f"tracking.uri={trained.tracking_uri}", "tracking.model=false"]
    config = quick(f"training.start_from='{start}'", "seed=5", *unchanged)
    result = run_experiment(config)
    for weight, expected in zip(result.model.get_weights(), trained.model.get_weights(), strict=True):
        assert np.allclose(weight, expected, atol=1e-6)
    tags = connect(result.tracking_uri).get_run(result.run_id).data.tags
    assert tags["started_from"] == start
    assert tags["initial_weights_digest"] == environment.hash_weights(trained.model)
    assert hash_config(config) != hash_config(quick(*unchanged))


@pytest.mark.slow
def test_a_different_architecture_is_rejected_with_the_first_different_weight(trained, quick):
    start = f"training.start_from='{trained.folder}'"
    with pytest.raises(
        TrainingError, match=r"for weight 0, expected .*hidden_1/kernel 64x8, got .*kernel 64x16\. Use the same"
    ):
        run_experiment(quick(start, "tracking=off", "model.hidden_units=[8]"))
    with pytest.raises(TrainingError, match="has another architecture: for weight 2, expected"):
        run_experiment(quick(start, "tracking=off", "model.hidden_units=[16,16]"))


def test_a_file_that_is_not_a_model_raises(keras, tiny):
    Path("text.keras").write_text("no")
    with pytest.raises(ModelError, match=r"training\.start_from: .*text\.keras can't be loaded as a Keras model"):
        run_experiment(tiny("training.start_from=text.keras", "tracking=off"))


def test_a_missing_model_is_reported_before_tensorflow_is_imported():
    Path("empty").mkdir()
    for reference, message in (
        ("nowhere.h5", "expected a model file, got nowhere.h5, which does not exist"),
        ("empty", "expected a run with a trained model, but .*model.keras does not exist"),
        ("0123", r"expected an existing folder of a run .*, got '0123'"),
    ):
        with pytest.raises(ConfigError, match=rf"training\.start_from: {message}"):
            find_start_model(reference, None)

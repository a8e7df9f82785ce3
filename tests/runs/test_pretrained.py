from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from trainyard import run_experiment
from trainyard.config.compose import hash_config
from trainyard.errors import ConfigError, ModelError, TrainingError
from trainyard.runs.pretrained import find_start_model
from trainyard.system import environment
from trainyard.tracking.connection import connect


@pytest.fixture
def trained(keras, tiny):
    return run_experiment(tiny("training.epochs=1"))


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["id", "folder", "model.keras", "model.h5"])
def test_a_training_starts_from_the_weights_of_another(trained, tiny, reference):
    named = {"id": trained.run_id, "folder": os.path.relpath(trained.folder)}
    start = named.get(reference, str(trained.folder / reference))
    config = tiny(f"training.start_from='{start}'", "training.epochs=1", "optimizer.learning_rate=1e-12", "seed=5")
    result = run_experiment(config)
    for ours, theirs in zip(result.model.get_weights(), trained.model.get_weights(), strict=True):
        assert np.allclose(ours, theirs, atol=1e-6)
    tags = connect(result.tracking_uri).get_run(result.run_id).data.tags
    assert tags["started_from"] == start
    assert tags["initial_weights_digest"] == environment.digest_weights(trained.model)
    assert hash_config(config) != hash_config(tiny("training.epochs=1", "optimizer.learning_rate=1e-12"))


@pytest.mark.slow
def test_another_architecture_is_refused_with_the_weight(trained, tiny):
    start = f"training.start_from='{trained.folder}'"
    with pytest.raises(
        TrainingError, match=r"its weight 0 is .*hidden_1/kernel 64x16, .*model's is .*kernel 64x8\. Describe"
    ):
        run_experiment(tiny(start, "model.hidden_units=[8]"))
    with pytest.raises(TrainingError, match="was trained with another architecture: its weight 2 is"):
        run_experiment(tiny(start, "model.hidden_units=[16,16]"))


def test_what_is_no_model_is_told(keras, tiny):
    Path("text.keras").write_text("no")
    with pytest.raises(ModelError, match=r"training\.start_from: .*text\.keras can't be loaded as a Keras model"):
        run_experiment(tiny("training.start_from=text.keras", "tracking=off"))


def test_what_is_not_there_is_told_before_tensorflow():
    Path("empty").mkdir()
    for reference, message in (
        ("nowhere.h5", "expected a model file, and there is none: nowhere.h5"),
        ("empty", "the run empty left no model.keras"),
        ("0123", "expected the folder of a run, as nothing is tracked, got '0123'"),
    ):
        with pytest.raises(ConfigError, match=rf"training\.start_from: {message}"):
            find_start_model(reference, None)

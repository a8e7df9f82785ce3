"""Finished runs that the tests in this folder only read. A test that changes one copies its folder first."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stand_ins import BLANK_VARIABLE, STORE_VARIABLE

from trainyard.config.compose import compose_config
from trainyard.runs.experiment import run_experiment


@pytest.fixture(scope="session")
def train_in(session_folder):
    """Returns a function that trains with the config of `tiny`, in a clean environment, and logs to a store there.

    It moves the folder of the run, so that a test that reads the run from the store cannot use the folder.
    """

    def train(root: Path, *overrides: str):
        small = ["dataset.limit=300", "model.hidden_units=[16]", "training.epochs=2", "name=tiny", "training.xla=off"]
        store = f"tracking.uri='sqlite:///{root}/mlflow.db'"
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(("MLFLOW_", "TRAINYARD_", "HYDRA_"))]:
                patch.delenv(name)
            patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
            patch.setenv("XDG_CACHE_HOME", str(session_folder / "cache"))
            patch.setenv(STORE_VARIABLE, str(session_folder / "mlflow.db"))
            patch.setenv(BLANK_VARIABLE, "true")
            patch.chdir(root)
            result = run_experiment(compose_config([*small, store, *overrides]))
        folder = Path(shutil.move(result.folder.absolute(), root / f"run{len(list(root.glob('run*')))}"))
        return dataclasses.replace(result, folder=folder)

    return train


@pytest.fixture(scope="session")
def trained_pair(train_in, tmp_path_factory):
    """Two runs with models in one store: without and with standardised pixels."""
    root = tmp_path_factory.mktemp("trained")
    return train_in(root), train_in(root, "dataset.standardise=true")


@pytest.fixture(scope="session")
def trained(trained_pair):
    """The run without standardised pixels. Next to its folder are an npz and a PNG file with its test images."""
    result, _ = trained_pair
    test = result.dataset.test
    np.savez(result.folder.parent / "test.npz", x_test=test.images, y_test=test.labels)
    scaled = (test.images[0] * 15.9375).astype(np.uint8)  # from 0..16 to 0..255
    Image.fromarray(scaled).save(result.folder.parent / "first.png")
    return result

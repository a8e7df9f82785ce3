"""Finished runs that the tests in this folder only read. A test that changes one copies its folder first."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest
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
def wide_and_thin(train_in, tmp_path_factory):
    """Two runs in one store: with 64 and with 2 hidden units, and with validation images."""
    root = tmp_path_factory.mktemp("wide_and_thin")
    return [
        train_in(root, f"model.hidden_units=[{units}]", "dataset.validation_fraction=0.2", "tracking.model=false")
        for units in (64, 2)
    ]

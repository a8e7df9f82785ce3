"""Saves a Keras file as an MLflow model, without importing Keras.

The folder has the same files as that of ``mlflow.keras.save_model`` (a test compares them), so MLflow's loaders and
``mlflow models serve`` accept it. That function requires the model object, and thus Keras, whose import would cost the
logging process several seconds.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.tracking.mlflow_internals import write_requirements

if TYPE_CHECKING:
    from mlflow.models import Model

MODEL_PACKAGES = ("tensorflow", "keras", "numpy")
"""The packages that serving requires, in addition to MLflow. If they were not given, MLflow would infer them slowly."""


@dataclass(frozen=True, slots=True)
class ServableModel:
    """A model that maps raw pixels, uint8 (n, *image_shape), to probabilities, float32 (n, classes).

    `file` is the ``.keras`` file, which is moved away when the model is logged. `label` describes the architecture.
    """

    file: Path
    label: str
    image_shape: tuple[int, ...]
    classes: int

    def save_model(self, folder: Path, mlflow_model: Model) -> None:
        """Writes the model's folder, and completes and saves `mlflow_model` in it."""
        import numpy as np
        from mlflow import pyfunc
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        (folder / "data").mkdir(parents=True)
        (folder / "data" / "keras_module.txt").write_text("keras")
        shutil.move(self.file, folder / "data" / "model.keras")
        mlflow_model.signature = ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, *self.image_shape))]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, self.classes))]),
        )
        mlflow_model.add_flavor(
            "keras",
            data="data",
            keras_version=version("keras"),
            keras_backend="tensorflow",
            save_exported_model=False,
        )
        pyfunc.add_to_model(
            mlflow_model, loader_module="mlflow.keras", conda_env="conda.yaml", python_env="python_env.yaml"
        )
        mlflow_model.model_size_bytes = sum(file.stat().st_size for file in (folder / "data").iterdir())
        mlflow_model.save(str(folder / "MLmodel"))
        write_requirements(folder, [_pin_version(name) for name in ("mlflow", *MODEL_PACKAGES)])


def _pin_version(name: str) -> str:
    """Returns ``name==version``, or only the name if another distribution provides it, such as tensorflow-cpu."""
    try:
        return f"{name}=={version(name)}"
    except PackageNotFoundError:
        return name

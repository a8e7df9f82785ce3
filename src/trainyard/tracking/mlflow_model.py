"""Saves a Keras file as an MLflow model, without importing Keras.

The folder has the same files as that of ``mlflow.keras.save_model`` (a test compares them), so MLflow's loaders and
``mlflow models serve`` accept it. That function requires the model object, and thus Keras, whose import would cost the
logging process several seconds.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from mlflow.models import Model

MODEL_PACKAGES = ("tensorflow", "keras", "numpy")
"""The packages that serving requires, in addition to MLflow. If they were not given, MLflow would infer them slowly."""

_BUILD_PACKAGES = ("pip", "setuptools", "wheel")


@dataclass(frozen=True, slots=True)
class ServableModel:
    """A model that maps raw pixels, uint8 (n, *image_shape), to probabilities, float32 (n, classes).

    `file` is the ``.keras`` file, which is moved away when the model is logged.
    """

    file: Path
    image_shape: tuple[int, ...]
    classes: int

    def save_model(self, path: str, mlflow_model: Model) -> None:
        """Writes the model's folder, and completes and saves `mlflow_model` in it. MLflow's `Model.log` calls this."""
        from mlflow import pyfunc

        folder = Path(path)
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "keras_module.txt").write_text("keras")
        shutil.move(self.file, folder / "data" / "model.keras")
        mlflow_model.signature = self._build_signature()
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
        mlflow_model.save(os.fspath(folder / "MLmodel"))
        _write_requirements(folder)

    def _build_signature(self) -> object:
        """Returns the MLflow signature: uint8 images (n, *image_shape) to float32 probabilities (n, classes)."""
        import numpy as np
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        return ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, *self.image_shape))]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, self.classes))]),
        )


def _write_requirements(folder: Path) -> None:
    """Writes the requirements of the model for pip, conda and virtualenv."""
    python, build = platform.python_version(), _pin_versions(_BUILD_PACKAGES)
    packages = _pin_versions(("mlflow", *MODEL_PACKAGES))
    pip = build[0].replace("==", "<=")
    environments = {
        "conda.yaml": {
            "channels": ["conda-forge"],
            "dependencies": [f"python={python}", pip, {"pip": packages}],
            "name": "mlflow-env",
        },
        "python_env.yaml": {"python": python, "build_dependencies": build, "dependencies": ["-r requirements.txt"]},
    }
    for name, content in environments.items():
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False))
    (folder / "requirements.txt").write_text("\n".join(packages))


def _pin_versions(names: Sequence[str]) -> list[str]:
    """Returns ``name==version`` for each package, or only the name if it is not installed (pip may be missing)."""
    pinned = []
    for name in names:
        try:
            pinned.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            pinned.append(name)
    return pinned

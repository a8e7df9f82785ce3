"""Trainyard: Keras experiments that are configured in YAML, not programmed.

    >>> from trainyard import compose_config, run_experiment
    >>> result = run_experiment(compose_config(["experiment=quickstart"]))  # doctest: +SKIP

Each public name is imported from its module on first access, so ``import trainyard`` and ``trainyard --help`` are fast.
Running an experiment imports TensorFlow, Keras and MLflow.
"""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainyard.config import RunConfig, compose_config, dump_config, load_config
    from trainyard.errors import (
        ConfigError,
        DatasetError,
        ModelError,
        Terminated,
        TrackingError,
        TrainingError,
        TrainyardError,
    )
    from trainyard.runs import RunResult, run_experiment
    from trainyard.serving import Predictor, load_predictor
    from trainyard.system import Progress

__version__ = version("trainyard")

__all__ = [
    "ConfigError",
    "DatasetError",
    "ModelError",
    "Predictor",
    "Progress",
    "RunConfig",
    "RunResult",
    "Terminated",
    "TrackingError",
    "TrainingError",
    "TrainyardError",
    "compose_config",
    "dump_config",
    "load_config",
    "load_predictor",
    "run_experiment",
]

_MODULES = {
    "config": ("RunConfig", "compose_config", "dump_config", "load_config"),
    "errors": (
        "ConfigError", "DatasetError", "ModelError", "Terminated", "TrackingError", "TrainingError", "TrainyardError",
    ),
    "runs": ("RunResult", "run_experiment"),
    "serving": ("Predictor", "load_predictor"),
    "system": ("Progress",),
}  # fmt: skip


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a public name can be of any type
    """Imports a public name from its module on first access."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"trainyard.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]

"""Trainyard: Keras experiments that are configured in YAML, not programmed.

    >>> from trainyard import compose_config, run_experiment
    >>> result = run_experiment(compose_config(["experiment=quickstart"]))  # doctest: +SKIP

Each public name is imported from its module on first access, so ``import trainyard`` and ``trainyard --help`` are fast.
Running an experiment imports TensorFlow, Keras and MLflow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainyard.analysis import ClaimResult, Comparison, RerunResult, Run, RunCollection
    from trainyard.api import compare, export, load_run, load_runs, promote, reproduce, rerun
    from trainyard.config import RunConfig, compose_config, dump_config, load_config
    from trainyard.errors import (
        ConfigError,
        DatasetError,
        ModelError,
        Terminated,
        TrackingError,
        TrainingError,
        TrainyardError,
        TrialError,
    )
    from trainyard.runs import RunResult, run_experiment
    from trainyard.serving import Predictor, RegisteredVersion, load_predictor
    from trainyard.sweep import SweepResult, run_sweep
    from trainyard.system import Progress

    __version__: str

_NAMES_BY_MODULE = {
    "analysis": ("ClaimResult", "Comparison", "RerunResult", "Run", "RunCollection"),
    "api": ("compare", "export", "load_run", "load_runs", "promote", "reproduce", "rerun"),
    "config": ("RunConfig", "compose_config", "dump_config", "load_config"),
    "errors": (
        "ConfigError",
        "DatasetError",
        "ModelError",
        "Terminated",
        "TrackingError",
        "TrainingError",
        "TrainyardError",
        "TrialError",
    ),
    "runs": ("RunResult", "run_experiment"),
    "serving": ("Predictor", "RegisteredVersion", "load_predictor"),
    "sweep": ("SweepResult", "run_sweep"),
    "system": ("Progress",),
}
_MODULES = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = [
    "ClaimResult",
    "Comparison",
    "ConfigError",
    "DatasetError",
    "ModelError",
    "Predictor",
    "Progress",
    "RegisteredVersion",
    "RerunResult",
    "Run",
    "RunCollection",
    "RunConfig",
    "RunResult",
    "SweepResult",
    "Terminated",
    "TrackingError",
    "TrainingError",
    "TrainyardError",
    "TrialError",
    "compare",
    "compose_config",
    "dump_config",
    "export",
    "load_config",
    "load_predictor",
    "load_run",
    "load_runs",
    "promote",
    "reproduce",
    "rerun",
    "run_experiment",
    "run_sweep",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a public name can be of any type
    """Imports a public name from its module on first access; reads the version from the installed package."""
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("trainyard")
    if name in _MODULES:
        return getattr(importlib.import_module(f"trainyard.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

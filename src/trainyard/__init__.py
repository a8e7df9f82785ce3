"""Trainyard runs Keras experiments that are described, not programmed.

    >>> from trainyard import compose_config, run_experiment
    >>> result = run_experiment(compose_config(["experiment=quickstart"]))  # doctest: +SKIP

Importing this package imports none of TensorFlow, Keras and MLflow; running an experiment does.
"""

from importlib.metadata import version

from trainyard.compose import compose_config, dump_config, load_config
from trainyard.errors import (
    ConfigError,
    DatasetError,
    ModelError,
    Terminated,
    TrackingError,
    TrainingError,
    TrainyardError,
)
from trainyard.outcome import RunResult
from trainyard.predict import Predictor, load_predictor
from trainyard.progress import Progress
from trainyard.run import run_experiment
from trainyard.schema import RunConfig

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

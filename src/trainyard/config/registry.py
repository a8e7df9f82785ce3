"""Components by name: register them, look them up, and guess what a mistyped name meant.

Registering a component stores it in Hydra's ConfigStore as ``model/base_mlp``, which ``conf/model/mlp.yaml`` extends.
A component without a YAML file of its own is selectable by its name all the same (compose sees to that).
"""

from __future__ import annotations

import difflib
import functools
import importlib
import os
import re
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from hydra.core.config_store import ConfigStore

from trainyard.config.schema import (
    COMPONENT_GROUPS,
    AugmentationConfig,
    ComponentConfig,
    DatasetConfig,
    DebugConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrackingConfig,
)
from trainyard.errors import ConfigError, in_one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

C = TypeVar("C", bound=ComponentConfig)

BASE_PREFIX = "base_"
"""Marks the ConfigStore entries that YAML files extend; never shown to a user."""

_components: dict[str, dict[str, type[ComponentConfig]]] = {group: {} for group in COMPONENT_GROUPS}


def _registrar(group: str, base: type[C]) -> Callable[[str], Callable[[type[C]], type[C]]]:
    def register(name: str) -> Callable[[type[C]], type[C]]:
        def decorate(cls: type[C]) -> type[C]:
            if not issubclass(cls, base):
                raise ConfigError(f"{group}/{name}: expected a subclass of {base.__name__}, got {cls.__qualname__}")
            earlier = _components[group].get(name)
            if earlier is not None and _identity(earlier) != _identity(cls):
                raise ConfigError(f"{group}/{name}: registered twice, by {earlier.__module__} and {cls.__module__}")
            cls.registered_name = name
            _components[group][name] = cls
            ConfigStore.instance().store(group=group, name=BASE_PREFIX + name, node=cls(), provider="trainyard")
            return cls

        return decorate

    return register


register_dataset = _registrar("dataset", DatasetConfig)
register_model = _registrar("model", ModelConfig)
register_optimizer = _registrar("optimizer", OptimizerConfig)
register_schedule = _registrar("schedule", ScheduleConfig)
register_loss = _registrar("loss", LossConfig)
register_augmentation = _registrar("augmentation", AugmentationConfig)
register_tracking = _registrar("tracking", TrackingConfig)
register_debug = _registrar("debug", DebugConfig)


Metric = Callable[["NDArray[np.float32]", "NDArray[np.uint8]"], float]
"""Scores probabilities, float32 (n, classes), against labels, uint8 (n,); returns a finite number."""

_metrics: dict[str, Metric] = {}
_TAKEN_METRICS = ("loss", "accuracy", "f1_macro", "precision_macro", "recall_macro", "ece", "roc_auc")


def register_metric(name: str) -> Callable[[Metric], Metric]:
    """Registers a metric under a name, which ``evaluation.metrics`` may list and MLflow shows as ``<name>/test``."""

    def decorate(metric: Metric) -> Metric:
        if not re.fullmatch(r"[A-Za-z]\w*", name):
            raise ConfigError(f"metric {name!r}: expected a name of letters, digits and underscores")
        if name in _TAKEN_METRICS or name.startswith("accuracy_top"):
            raise ConfigError(f"metric {name}: every run has one of that name. Choose another")
        earlier = _metrics.get(name)
        if earlier is not None and _identity(earlier) != _identity(metric):
            raise ConfigError(f"metric {name}: registered twice, by {earlier.__module__} and {metric.__module__}")
        _metrics[name] = metric
        return metric

    return decorate


def registered_metrics() -> dict[str, Metric]:
    """Returns the registered metrics, by name."""
    return dict(_metrics)


# ---------------------------------------------------------------------------------------------------------------
# Plugins: packages of a user's own, which register components when they are imported

PLUGIN_GROUP = "trainyard.plugins"
"""The group of entry points that name a module to import."""
PLUGIN_VARIABLE = "TRAINYARD_PLUGINS"
"""Names of further modules, with commas between them."""


@functools.cache
def load_plugins() -> None:
    """Imports the modules that installed packages and the environment name, once per process.

    A config can't name code; what is installed and what the environment says is up to the user.

    Raises:
        ConfigError: If one can't be imported; says which and who named it.
    """
    named = [(point.value, f"entry point of {point.dist.name if point.dist else 'a package'}")
             for point in entry_points(group=PLUGIN_GROUP)]  # fmt: skip
    listed = os.environ.get(PLUGIN_VARIABLE, "").split(",")
    named += [(module.strip(), PLUGIN_VARIABLE) for module in listed if module.strip()]
    for module, origin in dict(named).items():
        try:
            importlib.import_module(module.partition(":")[0])
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"plugin {module} ({origin}): it can't be imported: {type(error).__name__}: {in_one_line(error)}. "
                "Mend it, uninstall it, or put it where Python finds it (PYTHONPATH)"
            ) from error


def components(group: str) -> dict[str, type[ComponentConfig]]:
    """Returns the registered components of a group, by name; none where it is no group of components."""
    return dict(_components.get(group, {}))


def look_up(group: str, name: str) -> type[ComponentConfig]:
    """Returns the component of that name.

    Raises:
        ConfigError: If there is none; names the nearest and all there are.
    """
    if name not in _components[group]:
        raise ConfigError(unknown(group, f"unknown {group}", name, _components[group]))
    return _components[group][name]


def _identity(registered: Any) -> tuple[str, str]:  # noqa: ANN401 - a class or a function
    """Returns what stays the same when a module is imported anew, as a notebook does."""
    return registered.__module__, registered.__qualname__


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Returns ``" Did you mean 'adam'?"`` for the nearest option, or nothing where none is near.

    Letters in the wrong order are the commonest slip, so an option with the same letters comes first.
    """
    near = difflib.get_close_matches(word, list(options), n=5, cutoff=0.6)
    near.sort(key=lambda option: sorted(option) != sorted(word))
    return f" Did you mean {near[0]!r}?" if near else ""


def unknown(path: str, what: str, word: str, options: Iterable[str]) -> str:
    """Returns the message for a name that is not there: the path, the nearest name and all there are."""
    names = sorted(options)
    return f"{path}: {what} {word!r}.{did_you_mean(word, names)} Available: {', '.join(names)}"

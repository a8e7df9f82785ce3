"""Registers components by name, finds them, loads plugins, and suggests names for typing mistakes.

A registered component is stored in Hydra's ConfigStore as ``model/base_mlp``, which ``conf/model/mlp.yaml`` extends. A
component without a YAML file can be selected by its name as well; see `search_path.prepare_hydra`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hydra.core.config_store import ConfigStore

from trainyard.config.fields import format_unknown_name
from trainyard.config.plugins import load_built_in_components
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
from trainyard.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

C = TypeVar("C", bound=ComponentConfig)

BASE_PREFIX = "base_"
"""Prefix of the ConfigStore entries that YAML files extend. It is never shown to users."""

_components: dict[str, dict[str, type[ComponentConfig]]] = {group: {} for group in COMPONENT_GROUPS}


def _make_decorator(group: str, base: type[C]) -> Callable[[str], Callable[[type[C]], type[C]]]:
    """Returns the public ``register_...`` function of a config group, whose components must be subclasses of `base`."""

    def register(name: str) -> Callable[[type[C]], type[C]]:
        """Returns a class decorator that registers a component under a name."""

        def decorate(cls: type[C]) -> type[C]:
            """Registers a class and returns it. Raises ConfigError if its base is wrong or its name is already used."""
            if not issubclass(cls, base):
                raise ConfigError(f"{group}/{name}: expected a subclass of {base.__name__}, got {cls.__qualname__}")
            existing = _components[group].get(name)
            if existing is not None and _get_identity(existing) != _get_identity(cls):
                raise ConfigError(f"{group}/{name}: registered twice, by {existing.__module__} and {cls.__module__}")
            cls.registered_name = name
            _components[group][name] = cls
            ConfigStore.instance().store(group=group, name=BASE_PREFIX + name, node=cls(), provider="trainyard")
            return cls

        return decorate

    return register


register_dataset = _make_decorator("dataset", DatasetConfig)
register_model = _make_decorator("model", ModelConfig)
register_optimizer = _make_decorator("optimizer", OptimizerConfig)
register_schedule = _make_decorator("schedule", ScheduleConfig)
register_loss = _make_decorator("loss", LossConfig)
register_augmentation = _make_decorator("augmentation", AugmentationConfig)
register_tracking = _make_decorator("tracking", TrackingConfig)
register_debug = _make_decorator("debug", DebugConfig)


MetricFunction = Callable[["NDArray[np.float32]", "NDArray[np.uint8]"], float]
"""Computes a metric from probabilities, float32 (n, classes), and labels, uint8 (n,). Returns a finite number."""

_metrics: dict[str, MetricFunction] = {}
_RESERVED_METRICS = ("loss", "accuracy", "f1_macro", "precision_macro", "recall_macro", "ece", "roc_auc")


def register_metric(name: str) -> Callable[[MetricFunction], MetricFunction]:
    """Registers a metric. Its name can be used in ``evaluation.metrics``; it is logged as ``<name>/test``."""

    def decorate(metric: MetricFunction) -> MetricFunction:
        """Registers a metric and returns it. Raises ConfigError if its name is invalid, reserved or already used."""
        if not re.fullmatch(r"[A-Za-z]\w*", name):
            raise ConfigError(f"metric {name!r}: expected a name of letters, digits and underscores")
        if name in _RESERVED_METRICS or name.startswith("accuracy_top"):
            raise ConfigError(f"metric {name}: this name is reserved for a built-in metric. Choose another name")
        existing = _metrics.get(name)
        if existing is not None and _get_identity(existing) != _get_identity(metric):
            raise ConfigError(f"metric {name}: registered twice, by {existing.__module__} and {metric.__module__}")
        _metrics[name] = metric
        return metric

    return decorate


def get_registered_metrics() -> dict[str, MetricFunction]:
    """Returns the registered metrics by name."""
    load_built_in_components()
    return dict(_metrics)


def get_registered_components(group: str) -> dict[str, type[ComponentConfig]]:
    """Returns the registered components of a group by name; empty if the group has no components."""
    load_built_in_components()
    return dict(_components.get(group, {}))


def find_component(group: str, name: str) -> type[ComponentConfig]:
    """Returns the component with a name.

    Raises:
        ConfigError: If the name is unknown. The message contains the most similar name and all names.
    """
    load_built_in_components()
    if name not in _components[group]:
        raise ConfigError(format_unknown_name(group, f"unknown {group}", name, _components[group]))
    return _components[group][name]


def _get_identity(registered: Any) -> tuple[str, str]:  # noqa: ANN401 - a class or a function
    """Returns a key that is the same when a module is imported again, for example in a notebook."""
    return registered.__module__, registered.__qualname__

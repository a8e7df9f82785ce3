"""Registers components by name, finds them, loads plugins, and suggests names for typing mistakes.

A registered component is stored in Hydra's ConfigStore as ``model/base_mlp``, which ``conf/model/mlp.yaml`` extends. A
component without a YAML file can be selected by its name as well; see `conffiles.prepare_hydra`.
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
from trainyard.errors import ConfigError, summarize_error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

C = TypeVar("C", bound=ComponentConfig)

BASE_PREFIX = "base_"
"""Prefix of the ConfigStore entries that YAML files extend. It is never shown to users."""

_components: dict[str, dict[str, type[ComponentConfig]]] = {group: {} for group in COMPONENT_GROUPS}


def _make_decorator(group: str, base: type[C]) -> Callable[[str], Callable[[type[C]], type[C]]]:
    def register(name: str) -> Callable[[type[C]], type[C]]:
        def decorate(cls: type[C]) -> type[C]:
            if not issubclass(cls, base):
                raise ConfigError(f"{group}/{name}: expected a subclass of {base.__name__}, got {cls.__qualname__}")
            existing = _components[group].get(name)
            if existing is not None and _identity(existing) != _identity(cls):
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
        if not re.fullmatch(r"[A-Za-z]\w*", name):
            raise ConfigError(f"metric {name!r}: expected a name of letters, digits and underscores")
        if name in _RESERVED_METRICS or name.startswith("accuracy_top"):
            raise ConfigError(f"metric {name}: this name is reserved for a built-in metric. Choose another name")
        existing = _metrics.get(name)
        if existing is not None and _identity(existing) != _identity(metric):
            raise ConfigError(f"metric {name}: registered twice, by {existing.__module__} and {metric.__module__}")
        _metrics[name] = metric
        return metric

    return decorate


def registered_metrics() -> dict[str, MetricFunction]:
    """Returns the registered metrics by name."""
    return dict(_metrics)


# ---------------------------------------------------------------------------------------------------------------
# Plugins: packages of users, which register components when they are imported

PLUGIN_GROUP = "trainyard.plugins"
"""The group of the entry points that specify plugin modules."""
PLUGIN_VARIABLE = "TRAINYARD_PLUGINS"
"""The environment variable with the names of additional plugin modules, separated by commas."""


@functools.cache
def load_plugins() -> None:
    """Imports the plugin modules of installed packages and of ``TRAINYARD_PLUGINS``, once per process.

    A config cannot specify plugins, because it must not execute code.

    Raises:
        ConfigError: If a plugin cannot be imported. The message contains its module and where it is specified.
    """
    plugins = [(point.value, f"entry point of {point.dist.name if point.dist else 'a package'}")
               for point in entry_points(group=PLUGIN_GROUP)]  # fmt: skip
    modules = os.environ.get(PLUGIN_VARIABLE, "").split(",")
    plugins += [(module.strip(), PLUGIN_VARIABLE) for module in modules if module.strip()]
    for module, origin in dict(plugins).items():
        try:
            importlib.import_module(module.partition(":")[0])
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"plugin {module} ({origin}): it cannot be imported: {type(error).__name__}: {summarize_error(error)}. "
                "Fix the plugin, uninstall it, or make it importable (PYTHONPATH)"
            ) from error


def registered_components(group: str) -> dict[str, type[ComponentConfig]]:
    """Returns the registered components of a group by name; empty if the group has no components."""
    return dict(_components.get(group, {}))


def find_component(group: str, name: str) -> type[ComponentConfig]:
    """Returns the component with a name.

    Raises:
        ConfigError: If the name is unknown. The message contains the most similar name and all names.
    """
    if name not in _components[group]:
        raise ConfigError(unknown_name_message(group, f"unknown {group}", name, _components[group]))
    return _components[group][name]


def _identity(registered: Any) -> tuple[str, str]:  # noqa: ANN401 - a class or a function
    """Returns a key that is the same when a module is imported again, for example in a notebook."""
    return registered.__module__, registered.__qualname__


def format_suggestion(word: str, options: Iterable[str]) -> str:
    """Returns ``" Did you mean 'adam'?"`` with the most similar option, or an empty string if none is similar.

    Options with the same letters are preferred, because swapped letters are the most frequent typing mistake.
    """
    similar = difflib.get_close_matches(word, list(options), n=5, cutoff=0.6)
    similar.sort(key=lambda option: sorted(option) != sorted(word))
    return f" Did you mean {similar[0]!r}?" if similar else ""


def unknown_name_message(path: str, description: str, word: str, options: Iterable[str]) -> str:
    """Returns the message for an unknown name, with the path, the most similar name and all names."""
    names = sorted(options)
    return f"{path}: {description} {word!r}.{format_suggestion(word, names)} Available: {', '.join(names)}"

"""Registers components by name, finds them, and loads the modules that register them: Trainyard's own, and plugins.

A registered component is stored in Hydra's ConfigStore as ``model/base_mlp``, which ``conf/model/mlp.yaml`` extends. A
component without a YAML file can be selected by its name as well; see `search_path.prepare_hydra`.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hydra.core.config_store import ConfigStore

from trainyard.config.fields import format_unknown_name
from trainyard.config.plugins import find_plugins, locate_error
from trainyard.config.schema import COMPONENT_GROUPS, ComponentConfig
from trainyard.errors import ConfigError, summarize_error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

C = TypeVar("C", bound=type[ComponentConfig])

BUILT_IN_MODULES = (
    "trainyard.data.datasets.digits",
    "trainyard.data.datasets.emnist",
    "trainyard.data.datasets.image_folder",
    "trainyard.data.datasets.medmnist",
    "trainyard.data.datasets.mnist_family",
    "trainyard.data.datasets.user_arrays",
    "trainyard.data.augmentation",
    "trainyard.models.mlp",
    "trainyard.models.cnn",
    "trainyard.models.sequential",
    "trainyard.training.optimizers",
    "trainyard.training.schedules",
    "trainyard.training.losses",
    "trainyard.training.debug",
    "trainyard.evaluation.optional_metrics",
    "trainyard.tracking.stores",
)
"""The modules of Trainyard that register components. A new component in another module is listed here."""


@functools.cache
def load_built_in_components() -> None:
    """Imports the modules that register Trainyard's own components, once per process."""
    for module in BUILT_IN_MODULES:
        importlib.import_module(module)


@functools.cache
def load_plugins() -> None:
    """Imports the plugin modules of installed packages and of ``TRAINYARD_PLUGINS``, once per process.

    A config cannot specify plugins, because it must not execute code. Raises a ConfigError, with the module and where
    it is specified, if a plugin cannot be imported.
    """
    load_built_in_components()
    for module, origin in find_plugins().items():
        try:
            importlib.import_module(module.partition(":")[0])
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"plugin {module} ({origin}): it cannot be imported: {type(error).__name__}: {summarize_error(error)}"
                f"{locate_error(error)}. "
                "Fix the plugin, uninstall it, or make it importable (PYTHONPATH)"
            ) from error


BASE_PREFIX = "base_"
"""Prefix of the ConfigStore entries that YAML files extend. It is never shown to users."""

_components: dict[str, dict[str, type[ComponentConfig]]] = {group: {} for group in COMPONENT_GROUPS}


def _make_decorator(group: str) -> Callable[[str], Callable[[C], C]]:
    """Returns the public ``register_...`` function of a config group."""
    base = COMPONENT_GROUPS[group]

    def register(name: str) -> Callable[[C], C]:
        """Returns a class decorator that registers a component under a name."""

        def decorate(cls: C) -> C:
            """Registers a class and returns it. Raises ConfigError if its base is wrong or its name is already used."""
            if not issubclass(cls, base):
                raise ConfigError(f"{group}/{name}: expected a subclass of {base.__name__}, got {cls.__qualname__}")
            _check_unique(f"{group}/{name}", _components[group].get(name), cls)
            cls.registered_name = name
            _components[group][name] = cls
            ConfigStore.instance().store(group=group, name=BASE_PREFIX + name, node=cls(), provider="trainyard")
            return cls

        return decorate

    return register


register_dataset = _make_decorator("dataset")
register_model = _make_decorator("model")
register_optimizer = _make_decorator("optimizer")
register_schedule = _make_decorator("schedule")
register_loss = _make_decorator("loss")
register_augmentation = _make_decorator("augmentation")
register_tracking = _make_decorator("tracking")
register_debug = _make_decorator("debug")


MetricFunction = Callable[["NDArray[np.float32]", "NDArray[np.unsignedinteger[Any]]"], float]
"""Computes a metric from probabilities, float32 (n, classes), and labels, uint8 or uint16 (n,); NaN if undefined."""

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
        _check_unique(f"metric {name}", _metrics.get(name), metric)
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
    """Returns the component with a name. Raises a ConfigError, with a similar name and all names, if it is unknown."""
    load_built_in_components()
    if name not in _components[group]:
        raise ConfigError(format_unknown_name(group, f"unknown {group}", name, _components[group]))
    return _components[group][name]


def _check_unique(path: str, existing: Any, registered: Any) -> None:  # noqa: ANN401 - classes or functions
    """Raises ConfigError if a name is registered twice, unless its module is imported again, as in a notebook."""
    identity = registered.__module__, registered.__qualname__
    if existing is not None and (existing.__module__, existing.__qualname__) != identity:
        raise ConfigError(f"{path}: registered twice, by {existing.__module__} and {registered.__module__}")

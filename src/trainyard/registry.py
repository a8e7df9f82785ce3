"""Components by name: register them, look them up, and guess what a mistyped name meant.

Registering a component stores it in Hydra's ConfigStore as ``model/base_mlp``, which ``conf/model/mlp.yaml`` extends.
A component without a YAML file of its own is selectable by its name all the same (compose sees to that).

Before it: schema. After it: the modules that define components, which register them when they are imported.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import TypeVar

from hydra.core.config_store import ConfigStore

from trainyard.errors import ConfigError
from trainyard.schema import (
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
            if earlier is not None and earlier.__qualname__ != cls.__qualname__:
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


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Returns ``" Did you mean 'adam'?"`` for the nearest option, or nothing where none is near."""
    near = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def unknown(path: str, what: str, word: str, options: Iterable[str]) -> str:
    """Returns the message for a name that is not there: the path, the nearest name and all there are."""
    names = sorted(options)
    return f"{path}: {what} {word!r}.{did_you_mean(word, names)} Available: {', '.join(names)}"

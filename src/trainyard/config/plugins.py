"""Loads the modules that register components: those of Trainyard, and the plugins of users."""

from __future__ import annotations

import functools
import importlib
import os
from importlib.metadata import entry_points

from trainyard.errors import ConfigError, summarize_error

BUILT_IN_MODULES = (
    "trainyard.data.datasets.digits",
    "trainyard.data.datasets.image_folder",
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

PLUGIN_GROUP = "trainyard.plugins"
"""The group of the entry points that specify plugin modules."""
PLUGIN_VARIABLE = "TRAINYARD_PLUGINS"
"""The environment variable with the names of additional plugin modules, separated by commas."""


@functools.cache
def load_built_in_components() -> None:
    """Imports the modules that register Trainyard's own components, once per process."""
    for module in BUILT_IN_MODULES:
        importlib.import_module(module)


@functools.cache
def load_plugins() -> None:
    """Imports the plugin modules of installed packages and of ``TRAINYARD_PLUGINS``, once per process.

    A config cannot specify plugins, because it must not execute code.

    Raises:
        ConfigError: If a plugin cannot be imported. The message contains its module and where it is specified.
    """
    load_built_in_components()
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

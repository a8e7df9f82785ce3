"""The private parts of Hydra and OmegaConf that Trainyard uses. No other module uses them.

Hydra has no public functions for this. The functions are tested with the pinned versions of Hydra and OmegaConf.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Glob, Override, Transformer
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import OmegaConf

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.plugins.sweeper import Sweeper

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
"""The ``_target_`` of Hydra's own launcher, which runs jobs one after another in this process."""

build_argument_parser = get_args_parser
"""Returns a new parser of Hydra's command line flags and overrides."""


def build_basic_sweeper(max_batch_size: int | None, params: dict[str, str] | None) -> Sweeper:
    """Builds Hydra's own sweeper, which runs all combinations of the swept values."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    return BasicSweeper(max_batch_size, params)


def build_hydra_context(config_loader: ConfigLoader) -> HydraContext:
    """Returns the context of a launcher: the loader that provides the configs of its jobs, and no callbacks."""
    from hydra._internal.callbacks import Callbacks

    return HydraContext(config_loader=config_loader, callbacks=Callbacks())


def get_job_error(job: JobReturn) -> BaseException | None:
    """Returns the exception of a failed job, or None. The public `JobReturn.return_value` would raise it."""
    return job._return_value if job.status == JobStatus.FAILED else None  # noqa: SLF001


def iterate_sweep_values(override: Override, options: Sequence[str]) -> Iterator[tuple[Any, str]]:
    """Yields the values of a sweep, each with its text in Hydra's grammar. ``glob(...)`` selects from the options."""
    sweep: Any = override.value()
    if isinstance(sweep, Glob):
        yield from ((name, name) for name in sweep.filter(list(options)))
    else:
        for item in override.sweep_iterator():
            yield Override._convert_value(item), Transformer.str(item)  # noqa: SLF001


def store_config(group: str, name: str, component: type) -> None:
    """Registers the defaults of a component as a config in Hydra, unless it is already registered."""
    store = ConfigStore.instance()
    stored = store.repo.get(group, {}).get(f"{name}.yaml")
    if stored is None or OmegaConf.get_type(stored.node) is not component:
        store.store(group=group, name=name, node=component(), provider="trainyard")


def remove_stored_config(group: str, name: str) -> None:
    """Removes a registered config from Hydra, which would use it as the schema of a YAML file with the same name."""
    ConfigStore.instance().repo.get(group, {}).pop(f"{name}.yaml", None)


def list_stored_configs(group: str) -> list[dict[str, Any]]:
    """Returns the configs that are registered in Hydra under a group, such as ``hydra/launcher``, without resolving."""
    store = ConfigStore.instance()
    nodes = (store.load(f"{group}/{name}").node for name in store.list(group))
    return [OmegaConf.to_container(node, resolve=False) for node in nodes]  # type: ignore[misc]

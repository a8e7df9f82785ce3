"""``trainyard data``: which data sets there are, where they lie, and whether they are whole."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainyard.config.registry import components, look_up
from trainyard.config.search_path import prepare_hydra
from trainyard.data import PublishedSet
from trainyard.data.dataset import Dataset
from trainyard.data.user_arrays import OwnData
from trainyard.errors import ConfigError, DatasetError


def list_data() -> None:
    """Prints a table of the data sets: name, what it is, where it lies."""
    prepare_hydra()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("dataset", "what it is", "where it lies"):
        table.add_column(column, overflow="fold")
    for name, component in sorted(components("dataset").items()):
        purpose = (component.__doc__ or "").partition("\n")[0]
        if issubclass(component, OwnData):
            place = "yours: dataset.path=..."
        elif issubclass(component, PublishedSet):
            place = _place(component())
        else:
            place = "comes along"
        table.add_row(Text(name, style="bold"), Text(purpose), Text(place))
    Console(highlight=False).print(table)


def fetch_data(names: list[str]) -> None:
    """Downloads published data sets that are not on this machine, and says where they lie.

    Args:
        names: Which; none: all.

    Raises:
        ConfigError: If a name is none of a published data set.
        DatasetError: If one can't be had.
    """
    console = Console(soft_wrap=True, highlight=False)
    for dataset in _published(names):
        found = dataset.find()
        _, place = found or dataset.complete_cache(progress=sys.stderr.isatty())
        console.print(Text(f"{dataset.name}: {'is' if found else 'downloaded, and is'} in {place}, verified"))


def verify_data(names: list[str]) -> None:
    """Reads data sets where they lie, holds them against their published digests, and tells what they hold.

    Args:
        names: Which; none: all that are on this machine.

    Raises:
        ConfigError: If a name is none of a published data set.
        DatasetError: If one that was named is not on this machine, or one is damaged.
    """
    console = Console(soft_wrap=True, highlight=False)
    for config in _published(names):
        if config.find() is not None:
            console.print(Text(f"{config.name}: {_describe(config.load(progress=False))}"))
        elif names:
            raise DatasetError(f"{config.name}: not on this machine. Fetch it: trainyard data fetch {config.name}")
        else:
            console.print(Text(f"{config.name}: not on this machine"))


def published_sets() -> list[str]:
    """Returns the names of the published data sets, which can be downloaded and verified."""
    prepare_hydra()
    return [name for name, kind in components("dataset").items() if issubclass(kind, PublishedSet)]


def _published(names: list[str]) -> list[PublishedSet]:
    available = published_sets()
    chosen = []
    for name in names or available:
        config = look_up("dataset", name)()
        if not isinstance(config, PublishedSet):
            raise ConfigError(
                f"{name}: expected a published data set ({', '.join(sorted(available))}); this one is not downloaded"
            )
        chosen.append(config)
    return chosen


def _place(config: PublishedSet) -> str:
    try:
        found = config.find()
    except DatasetError as error:
        return f"damaged: {error}"
    return str(found[1]) if found else f"not here: trainyard data fetch {config.name}"


def _describe(dataset: Dataset) -> str:
    shape = " x ".join(map(str, dataset.spec.image_shape))
    return (
        f"{len(dataset.train):,} images to train and {len(dataset.test):,} to test, {shape}, "
        f"{dataset.spec.classes} classes, whole, in {dataset.source}\n  digest {dataset.digest}"
    )

"""``trainyard data``: lists, downloads and verifies data sets."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainyard.config import find_component, get_registered_components, prepare_hydra
from trainyard.data import Dataset, DownloadableDataset, UserData
from trainyard.errors import ConfigError, DatasetError


def list_data() -> None:
    """Prints a table of the data sets: name, description and location."""
    prepare_hydra()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("dataset", "description", "location"):
        table.add_column(column, overflow="fold")
    for name, component in sorted(get_registered_components("dataset").items()):
        description = (component.__doc__ or "").partition("\n")[0]
        if issubclass(component, UserData):
            location = "your files: dataset.path=..."
        elif issubclass(component, DownloadableDataset):
            location = _describe_location(component())
        else:
            location = "no download needed"
        table.add_row(Text(name, style="bold"), Text(description), Text(location))
    Console(highlight=False).print(table)


def fetch_data(names: list[str]) -> None:
    """Downloads published data sets that are not on this machine yet, and prints where they are.

    Args:
        names: The data sets; an empty list selects all published ones.

    Raises:
        ConfigError: If a name is not that of a published data set.
        DatasetError: If a data set cannot be downloaded, or is damaged.
    """
    console = Console(soft_wrap=True, highlight=False)
    for dataset in _select_published(names):
        local_copy = dataset.load_local()
        _, location = local_copy or dataset.download_missing(progress=sys.stderr.isatty())
        console.print(Text(f"{dataset.name}: {'already' if local_copy else 'downloaded, now'} in {location}, verified"))


def verify_data(names: list[str]) -> None:
    """Checks data sets on this machine against their published digests, and prints their sizes and digests.

    Args:
        names: The data sets; an empty list selects all that are on this machine.

    Raises:
        ConfigError: If a name is not that of a published data set.
        DatasetError: If a named data set is not on this machine, or a data set is damaged.
    """
    console = Console(soft_wrap=True, highlight=False)
    for config in _select_published(names):
        if config.load_local() is not None:
            console.print(Text(f"{config.name}: {_describe_dataset(config.load(progress=False))}"))
        elif names:
            raise DatasetError(f"{config.name}: not on this machine. Download it: trainyard data fetch {config.name}")
        else:
            console.print(Text(f"{config.name}: not on this machine"))


def list_published_sets() -> list[str]:
    """Returns the names of the published data sets, which can be downloaded and verified."""
    prepare_hydra()
    return [
        name
        for name, component in get_registered_components("dataset").items()
        if issubclass(component, DownloadableDataset)
    ]


def _select_published(names: list[str]) -> list[DownloadableDataset]:
    """Returns the configs of published data sets, all if `names` is empty. Raises ConfigError for other names."""
    available = list_published_sets()
    chosen = []
    for name in names or available:
        config = find_component("dataset", name)()
        if not isinstance(config, DownloadableDataset):
            raise ConfigError(
                f"{name}: expected a published data set ({', '.join(sorted(available))}), got one without a download"
            )
        chosen.append(config)
    return chosen


def _describe_location(config: DownloadableDataset) -> str:
    """Returns the path of a data set's local copy, or a message if it is damaged or not downloaded."""
    try:
        local_copy = config.load_local()
    except DatasetError as error:
        return f"damaged: {error}"
    return str(local_copy[1]) if local_copy else f"not downloaded: trainyard data fetch {config.name}"


def _describe_dataset(dataset: Dataset) -> str:
    """Returns the sizes of the splits, the image shape, the classes and the source, and in a second line the digest."""
    shape = " x ".join(map(str, dataset.spec.image_shape))
    return (
        f"{len(dataset.train):,} training and {len(dataset.test):,} test images, {shape}, "
        f"{dataset.spec.classes} classes, complete, in {dataset.source}\n  digest {dataset.digest}"
    )

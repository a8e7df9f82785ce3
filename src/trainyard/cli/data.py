"""``trainyard data``: lists, downloads and verifies data sets."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from trainyard.cli.image_data import verify_cache
from trainyard.errors import ConfigError, DatasetError
from trainyard.system import print_next_steps, print_rows, print_styled

if TYPE_CHECKING:
    from trainyard.data import DownloadableDataset


def _list_published() -> dict[str, DownloadableDataset]:
    """Returns the configs of the published data sets, which can be downloaded and verified, by name."""
    from trainyard.config import get_registered_components, prepare_hydra
    from trainyard.data import DownloadableDataset

    prepare_hydra()
    components = get_registered_components("dataset")
    return {name: config() for name, config in components.items() if issubclass(config, DownloadableDataset)}


Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Published data sets, such as `mnist`. [default: all]",
        metavar="NAME",
        autocompletion=lambda: list(_list_published()),
    ),
]


def list_data() -> None:
    """List the data sets and their locations on this machine."""
    from trainyard.config import get_registered_components, prepare_hydra
    from trainyard.data import DownloadableDataset, UserData

    prepare_hydra()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("dataset", "description", "location"):
        table.add_column(column, overflow="fold")
    for name, component in sorted(get_registered_components("dataset").items()):
        description = (component.__doc__ or "").partition("\n")[0]
        location = "your files: dataset.path=..." if issubclass(component, UserData) else "no download needed"
        if issubclass(component, DownloadableDataset):
            location = _describe_location(component())
        table.add_row(Text(name, style="bold"), Text(description), Text(location))
    print_rows(table)
    print_next_steps({"train": "trainyard train dataset=digits"})


def fetch_data(names: Names = None) -> None:
    """Download published data sets that are not on this machine yet.

    Examples:
      trainyard data fetch mnist
    """
    for dataset in _select_published(names):
        local_copy = dataset.load_local()
        _, location = local_copy or dataset.download_missing(progress=sys.stderr.isatty())
        print_styled(f"{dataset.name}: {'already' if local_copy else 'downloaded, now'} in {location}, verified")
    _print_next_steps(names)


def verify_data(names: Names = None) -> None:
    """Verify downloaded data sets against their published digests, and the cache of decoded images.

    With names, only these data sets are verified.

    Examples:
      trainyard data verify
      trainyard data verify mnist
    """
    for config in _select_published(names):
        if config.load_local() is not None:
            dataset = config.load(progress=False)
            shape = " x ".join(map(str, dataset.spec.image_shape))
            print_styled(
                f"{config.name}: {len(dataset.train):,} training and {len(dataset.test):,} test images, {shape}, "
                f"{dataset.spec.classes} classes, complete, in {dataset.source}\n  digest {dataset.digest}"
            )
        elif names:
            raise DatasetError(f"{config.name}: not on this machine. Download it: trainyard data fetch {config.name}")
        else:
            print_styled(f"{config.name}: not on this machine")
    if not names:
        verify_cache()
    _print_next_steps(names)


def _print_next_steps(names: list[str] | None) -> None:
    """Prints the command that trains with the first of some data sets, which are on this machine."""
    for name in (names or ())[:1]:
        print_next_steps({"train": f"trainyard train dataset={name}"})


def _select_published(names: list[str] | None) -> list[DownloadableDataset]:
    """Returns the configs of published data sets, all if `names` is empty. Raises ConfigError for other names."""
    from trainyard.config import find_component

    published = _list_published()
    for name in names or ():
        find_component("dataset", name)  # raises the error if the name is unknown
        if name not in published:
            raise ConfigError(
                f"{name}: expected a published data set ({', '.join(sorted(published))}), got one without a download"
            )
    return [published[name] for name in names or published]


def _describe_location(config: DownloadableDataset) -> str:
    """Returns the path of a data set's local copy, or a message if it is damaged or not downloaded."""
    try:
        local_copy = config.load_local()
    except DatasetError as error:
        return f"damaged: {error}"
    return str(local_copy[1]) if local_copy else f"not downloaded: trainyard data fetch {config.name}"

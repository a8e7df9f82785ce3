"""A run that is to be had again: what it left, and the config that has it again."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainyard.config.compose import compose_config, expand_sweep, key_of, literal, load_config, to_tree
from trainyard.config.schema import COMPONENT_GROUPS, RunConfig
from trainyard.errors import ConfigError, TrackingError
from trainyard.tracking import Account, download_files, find_run, read_account
from trainyard.tracking.history import stored_account

SETTING = "rerun"
CONFIG, ENVIRONMENT = "config.yaml", "environment"
RERUN_TAG = "rerun_of"
_PRESETS = {"experiment", "training"}
"""Groups that say what stands in sections, and not of what kind those are."""
_ENGINE_DEPENDS_ON = (
    "dataset", "model", "optimizer", "schedule", "loss", "augmentation", "debug",
    "training.engine", "training.xla", "training.precision", "training.determinism", "training.class_weights",
    "training.balance_classes",
)  # fmt: skip
_NOT_REPEATED = ("tracking", "sweep", "resume")
"""Sections that say where a run was logged and what it belonged to, and not what it was."""


@dataclass(frozen=True, slots=True)
class Original:
    """What is known of a run.

    Attributes:
        reference: Its id, or its folder where it was named by that.
        config: What it ran.
        account: What it told.
        machine: What it was computed on, as `provenance.describe_machine` tells; empty where it did not get that far.
        versions: Of all packages that were installed, by name.
    """

    reference: str
    config: RunConfig
    account: Account
    machine: Mapping[str, Any]
    versions: Mapping[str, str]


def read_original(reference: str, uri: str | None) -> Original:
    """Reads a run.

    Args:
        reference: Its id in the store, or its folder.
        uri: Of the store, or None where nothing is tracked.

    Raises:
        ConfigError: If there is no such run, or its config can't be read.
        TrackingError: If the store can't be reached, or lacks what the run logged.
    """
    if (folder := Path(reference)).is_dir():
        account = read_account(folder)
        return Original(reference, load_config(folder / CONFIG), account, *_read_environment(folder))
    if uri is None:
        raise ConfigError(f"{SETTING}: expected the folder of a run, as nothing is tracked, got {reference!r}")
    try:
        find_run(uri, reference)
    except TrackingError as error:
        raise ConfigError(f"{SETTING}: {error}") from error
    with tempfile.TemporaryDirectory() as place:
        download_files(uri, reference, (CONFIG, ENVIRONMENT), Path(place))
        config = load_config(Path(place) / CONFIG)
        return Original(reference, config, stored_account(uri, reference), *_read_environment(Path(place)))


def restore(
    original: Original, changes: tuple[str, ...] = (), *, keep_engine: bool | None = None
) -> tuple[RunConfig, list[str]]:
    """Returns the config that has a run again, and the overrides that it is composed with, every value among them.

    Threads are as many as there were. Engine and XLA are what they came to, too, unless something is changed that they
    depend on: then what can do the job is for them to find out.

    Args:
        original: The run.
        changes: Overrides, as ``trainyard train`` takes them. One that chooses a component takes the place of the
            run's own with all its fields.
        keep_engine: Whether engine and XLA are what they came to; None: as the changes are.

    Raises:
        ConfigError: If a change is wrong.
    """
    tree, tags = to_tree(original.config), original.account.tags
    kept = keeps_engine(changes) if keep_engine is None else keep_engine
    for name in ("threads", *(("engine", "xla") if kept else ())):
        if name in tags:
            tree["training"][name] = int(tags[name]) if name == "threads" else tags[name].partition(":")[0]
    dataset = tree["dataset"]
    if "mirrors" in dataset and dataset["path"] and not Path(dataset["path"]).exists():
        dataset["path"] = None  # it lay there on another machine; published sets are found, and known by their digests
    keys = {key_of(change) for change in changes}
    for group in _PRESETS & keys:
        raise ConfigError(
            f"{group}: a rerun has every value of the run, which a choice would not change. Set the fields"
        )
    if len(expand_sweep(changes)) > 1:
        raise ConfigError(f"{SETTING}: expected one value of each field, got several: {' '.join(changes)}")
    overrides = [*_to_overrides(tree, keys), *changes]
    config = compose_config(overrides)
    config.tracking.tags[RERUN_TAG] = next(iter(original.account.stores.values()), original.reference)
    return config, overrides


def keeps_engine(changes: Iterable[str]) -> bool:
    """Tells whether changes leave engine and XLA as they came to be."""
    keys = [key_of(change).replace("/", ".") for change in changes]
    return not any(f"{key}.".startswith(f"{path}.") for key in keys for path in _ENGINE_DEPENDS_ON)


def _to_overrides(tree: dict[str, Any], without: Collection[str]) -> list[str]:
    """Returns the tree of a config as overrides that compose it: every component, every value.

    Args:
        tree: Of the config.
        without: Groups that are left out, as something else is chosen.
    """
    kept = {key: value for key, value in literal(tree).items() if key not in (*_NOT_REPEATED, *without)}
    chosen = [f"{group}={kept[group].pop('name')}" for group in COMPONENT_GROUPS if group in kept]
    return [*chosen, *(f"{path}={_written(value)}" for path, value in _leaves(kept))]


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield (f"++{prefix}{key}" if prefix else key), value  # ++: a field may hold names of its own


def _written(value: Any) -> str:  # noqa: ANN401 - any value of a config
    """Returns a value in Hydra's grammar."""
    match value:
        case None | bool():
            return json.dumps(value)
        case list() | tuple():
            return f"[{','.join(map(_written, value))}]"
        case dict():
            return f"{{{','.join(f'{key}:{_written(inner)}' for key, inner in value.items())}}}"
        case str():
            doubled = re.sub(r"(\\+)(?='|$)", r"\1\1", value)  # Hydra takes one before a quote for that quote's own
            return "'" + doubled.replace("'", "\\'") + "'"
        case _:
            return repr(value)


def _read_environment(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the machine and the versions that a run's folder tells."""
    environment = folder / ENVIRONMENT
    machine, versions = environment / "machine.json", environment / "versions.txt"
    lines = versions.read_text().splitlines() if versions.exists() else []
    pairs = (line.partition("==") for line in lines)
    return json.loads(machine.read_text()) if machine.exists() else {}, {name: found for name, _, found in pairs}

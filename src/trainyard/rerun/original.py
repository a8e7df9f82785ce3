"""A run that is to be had again: what it left, and the config that has it again.

Before it: compose, resume, tracking. After it: comparison, ``trainyard rerun``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainyard.compose import compose_config, load_config, to_tree
from trainyard.errors import ConfigError, TrackingError
from trainyard.schema import COMPONENT_GROUPS, RunConfig
from trainyard.tracking import Account, download_files, find_run, read_account
from trainyard.tracking.stored import stored_account

SETTING = "rerun"
CONFIG, ENVIRONMENT = "config.yaml", "environment"
RERUN_TAG = "rerun_of"
_FIXED = {"threads": "threads", "engine": "engine", "xla": "xla"}
"""Fields of the training that may have been chosen by themselves, and the tags that tell what came of it."""
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


def restore(original: Original, changes: tuple[str, ...] = ()) -> tuple[RunConfig, list[str]]:
    """Returns the config that has a run again, and the overrides that it is composed with, every value among them.

    What was chosen by itself is fixed as it was: threads, engine, XLA, and a seed that was drawn.

    Args:
        original: The run.
        changes: Overrides, as ``trainyard train`` takes them.

    Raises:
        ConfigError: If a change is wrong.
    """
    tree, tags = to_tree(original.config), original.account.tags
    tree["seed"] = int(tags.get("drawn_seed", original.config.seed))
    for name, tag in _FIXED.items():
        if tag in tags:
            tree["training"][name] = int(tags[tag]) if name == "threads" else tags[tag].partition(":")[0]
    dataset = tree["dataset"]
    if "mirrors" in dataset and dataset["path"] and not Path(dataset["path"]).exists():
        dataset["path"] = None  # it lay there on another machine; published sets are found, and known by their digests
    overrides = [*_to_overrides(tree), *changes]
    config = compose_config(overrides)
    config.tracking.tags[RERUN_TAG] = original.reference
    return config, overrides


def _to_overrides(tree: dict[str, Any]) -> list[str]:
    """Returns the tree of a config as overrides that compose it: every component, every value."""
    groups = [group for group in COMPONENT_GROUPS if group not in _NOT_REPEATED]
    chosen = [f"{group}={tree[group]['name']}" for group in groups]
    kept = {key: value for key, value in tree.items() if key not in _NOT_REPEATED}
    for group in groups:
        kept[group] = {key: value for key, value in kept[group].items() if key != "name"}
    return [*chosen, *(f"{path}={_written(value)}" for path, value in _leaves(kept))]


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


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
            return "'" + value.replace("\\'", "\\\\\\'").replace("'", "\\'") + "'"
        case _:
            return repr(value)


def _read_environment(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the machine and the versions that a run's folder tells."""
    environment = folder / ENVIRONMENT
    machine, versions = environment / "machine.json", environment / "versions.txt"
    lines = versions.read_text().splitlines() if versions.exists() else []
    pairs = (line.partition("==") for line in lines)
    return json.loads(machine.read_text()) if machine.exists() else {}, {name: found for name, _, found in pairs}

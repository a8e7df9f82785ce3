"""The original run of a rerun: loads its artifacts, and restores the config that repeats it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainyard.analysis.compare.predictions import Predictions, load_predictions
from trainyard.config import (
    COMPONENT_GROUPS,
    RunConfig,
    compose_config,
    config_to_dict,
    escape_interpolations,
    expand_sweep,
    flatten_tree,
    get_override_key,
    load_config,
)
from trainyard.errors import ConfigError, TrackingError
from trainyard.runs import find_run
from trainyard.tracking import RunRecord, TrackingStore, names

_COMMAND = "rerun"
CONFIG, ENVIRONMENT = names.CONFIG_FILE, "environment"
_PRESETS = {"experiment", "training"}
"""Config groups whose options are sets of values. They do not choose a component."""
_ENGINE_DEPENDS_ON = (
    "dataset", "model", "optimizer", "schedule", "loss", "augmentation", "debug",
    "training.engine", "training.xla", "training.precision", "training.determinism", "training.class_weights",
    "training.balance_classes", "training.batch_size",
)  # fmt: skip
"""Paths of the settings that can change which engine is chosen and whether XLA is used.

The number of epochs is not one of them, although the choice of XLA depends on it, so that the first epochs of a longer
rerun are those of the original run.
"""
_NOT_REPEATED = ("tracking", "sweep", "resume")
"""Sections that a rerun does not restore: where the run was logged, and the sweep it belonged to."""


@dataclass(frozen=True, slots=True)
class OriginalRun:
    """A logged run with its resolved config and its environment.

    Attributes:
        epochs: Metrics of the run by epoch, from 1.
        machine: Description of the machine, as returned by `collect_machine_info`; empty if the run ended before it was
            written.
        versions: Versions of all installed packages, by name.
        predictions: Predictions on the test images; None if the run did not finish, or they can't be read.
    """

    run: RunRecord
    config: RunConfig
    epochs: Mapping[int, Mapping[str, float]]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    predictions: Predictions | None


def load_original(reference: str, store: TrackingStore | None) -> OriginalRun:
    """Loads a logged run by its folder or its run ID. The store is None if tracking is off.

    Raises:
        ConfigError: If the run does not exist, or its config cannot be read.
        TrackingError: If the store cannot be reached, or does not have the artifacts of the run.
    """
    run = find_run(reference, store, _COMMAND)
    with run.open_files(CONFIG, ENVIRONMENT) as folder:
        config, environment = load_config(folder / CONFIG), load_environment(folder)
    return OriginalRun(run, config, run.load_history(), *environment, _load_predictions(run))


def _load_predictions(run: RunRecord) -> Predictions | None:
    """Returns the predictions of a run on the test images; None if it did not finish, or they can't be read."""
    if run.status != "FINISHED":
        return None
    try:
        return load_predictions(run)
    except (ConfigError, TrackingError):
        return None


def restore_config(
    original: OriginalRun, changes: tuple[str, ...] = (), *, keep_engine: bool | None = None
) -> tuple[RunConfig, list[str]]:
    """Returns the config that repeats a run, and the overrides that compose it. The overrides set every value.

    The number of threads, the engine and the use of XLA are those of the original run. If `changes` has a setting that
    the choice of engine and XLA depends on, these two are chosen again. A path of a published data set that does not
    exist on this machine is dropped. The config, but not the overrides, has the tag `rerun_of`.

    Args:
        original: The run to repeat.
        changes: Overrides, as for ``trainyard train``. An override that chooses a component replaces the run's
            component with all its fields.
        keep_engine: Whether to use the engine and XLA of the original run. None decides by `changes`.

    Raises:
        ConfigError: If a change is invalid.
    """
    tree, tags = config_to_dict(original.config), original.run.tags
    repeats_engine = keeps_engine(changes) if keep_engine is None else keep_engine
    for name in ("threads", *(("engine", "xla") if repeats_engine else ())):
        if name in tags:
            tree["training"][name] = int(tags[name]) if name == "threads" else tags[name].partition(":")[0]
    dataset = tree["dataset"]
    if "mirrors" in dataset and dataset["path"] and not Path(dataset["path"]).exists():
        dataset["path"] = None  # a path on another machine; published data sets are found here and verified by digest
    keys = {get_override_key(change) for change in changes}
    for group in _PRESETS & keys:
        raise ConfigError(
            f"{group}: a rerun sets every field of the run, so choosing {group} has no effect. Override single fields"
        )
    if len(expand_sweep(changes)) > 1:
        raise ConfigError(f"{_COMMAND}: expected one value for each field, got several: {' '.join(changes)}")
    overrides = [*_build_overrides(tree, keys), *changes]
    config = compose_config(overrides)
    config.tracking.tags[names.RERUN_OF] = original.run.identity
    return config, overrides


def keeps_engine(changes: Iterable[str]) -> bool:
    """Returns whether no change affects a setting that the choice of the engine and XLA depends on."""
    keys = [get_override_key(change).replace("/", ".") for change in changes]
    return not any(f"{key}.".startswith(f"{path}.") for key in keys for path in _ENGINE_DEPENDS_ON)


def _build_overrides(tree: dict[str, Any], without: Collection[str]) -> list[str]:
    """Returns the overrides that compose a config, with every component and every value, but without some groups."""
    values = {key: value for key, value in escape_interpolations(tree).items() if key not in (*_NOT_REPEATED, *without)}
    components = [f"{group}={values[group].pop('name')}" for group in COMPONENT_GROUPS if group in values]
    settings = [
        f"{'++' if '.' in path else ''}{path}={_format_value(value)}"  # ++ because users choose the keys of dict fields
        for path, value in flatten_tree(values).items()
        if value != {}
    ]
    return [*components, *settings]


def _format_value(value: Any) -> str:  # noqa: ANN401 - any value of a config
    """Returns a value in Hydra's override grammar."""
    match value:
        case None | bool():
            return json.dumps(value)
        case list() | tuple():
            return f"[{','.join(map(_format_value, value))}]"
        case dict():
            return f"{{{','.join(f'{key}:{_format_value(inner)}' for key, inner in value.items())}}}"
        case str():
            doubled = re.sub(r"(\\+)(?='|$)", r"\1\1", value)  # Hydra reads a backslash before a quote as an escape
            return "'" + doubled.replace("'", "\\'") + "'"
        case _:
            return repr(value)


def load_environment(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the machine and the package versions from a run's folder; empty where the files do not exist."""
    environment = folder / ENVIRONMENT
    machine, versions = environment / "machine.json", environment / "versions.txt"
    lines = versions.read_text().splitlines() if versions.exists() else []
    return json.loads(machine.read_text()) if machine.exists() else {}, dict(line.split("==", 1) for line in lines)

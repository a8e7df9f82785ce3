"""Describes the provenance of a run for pages: run, command, code, seed, digests, data set, machine and versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainyard.data import PREPROCESSING_FILE, load_preprocessing
from trainyard.reporting import DatasetSummary
from trainyard.runs import artifacts
from trainyard.system import REPORTED_PACKAGES
from trainyard.tracking import RunRecord, names

_TAGS = {
    "Config hash": names.CONFIG_HASH,
    "Seed": names.SEED,
    "Dataset digest": names.DATASET_DIGEST,
    "Weights digest": names.WEIGHTS_DIGEST,
    "XLA": names.XLA,
    "Threads": names.THREADS,
}
"""The tags that are part of the provenance, by label."""


def describe_run_provenance(folder: Path, tags: Mapping[str, str], name: str, run_id: str | None) -> dict[str, str]:
    """Returns the provenance of the run in a folder, as text by label. What a failed run did not log is left out.

    `name` is the name of the run. None as `run_id` means that it is unknown, or the run is not tracked.
    """
    lines = (folder / artifacts.VERSIONS).read_text().splitlines()
    versions = dict(line.split("==", 1) for line in lines)
    commit = tags.get(names.GIT_COMMIT)
    changes = ", with local changes" if tags.get(names.GIT_DIRTY) == "true" else ""
    return {
        "Run": f"{name}, {run_id}" if run_id else name,
        "Command": tags[names.COMMAND],
        "Commit": f"{commit}{changes}" if commit else "not in a git repository",
        **{label: tags[tag] for label, tag in _TAGS.items() if tag in tags},
        **_describe_machine(folder),
        "Versions": ", ".join(f"{name} {versions[name]}" for name in REPORTED_PACKAGES if name in versions),
    }


def has_loaded_data(run: RunRecord, folder: Path) -> bool:
    """Returns whether the run in a folder loaded its data set, so that `load_dataset_summary` can describe it."""
    return bool(run.inputs) and (folder / PREPROCESSING_FILE).is_file()


def load_dataset_summary(run: RunRecord, folder: Path) -> DatasetSummary:
    """Returns the data set of the run in a folder.

    Raises:
        LookupError: If the run did not log its training or test images.
        ModelError: If its preprocessing.json can't be read.
    """
    counts = {split.context: split.images for split in run.inputs}
    first = run.inputs[0]
    return DatasetSummary(
        first.name,
        first.source,
        load_preprocessing(folder / PREPROCESSING_FILE).spec,
        counts["train"],
        counts.get("validation"),
        counts["test"],
    )


def _describe_machine(folder: Path) -> dict[str, str]:
    """Returns the machine and the version of Python of a run. Empty if the run failed before it recorded them."""
    file = folder / artifacts.MACHINE
    if not file.is_file():
        return {}
    machine: dict[str, Any] = json.loads(file.read_text())
    return {
        "Machine": "{cpu}, {cores} cores, {memory_gib} GiB, {platform}".format(**machine),
        "Python": machine["python"],
    }

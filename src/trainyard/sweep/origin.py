"""Describes the origin of the results of a sweep for its card: data set, epochs, start, code, machine and versions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.errors import TrainyardError
from trainyard.reporting import format_range, format_time
from trainyard.runs import build_model_commands, describe_run_provenance, load_dataset_summary
from trainyard.tracking import load_operations, load_run_record, names

if TYPE_CHECKING:
    from trainyard.evaluation import RankedPoint, Trial
    from trainyard.sweep.ledger import Ledger
    from trainyard.sweep.recorder import TrialOutcomes

_COMMON = ("Commit", "Threads", "Machine", "Python", "Versions")
"""The provenance of a run that the other trials of its sweep usually have in common with it, by title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOrigin:
    """Where the results of a sweep come from.

    Attributes:
        summary: Data set, epochs, start and version of Trainyard, as short texts.
        run: Description of the trial from which the rest is read.
        provenance: Code, machine and versions of that trial, by title.
        model_commands: Commands that use its model, by title.
    """

    summary: Sequence[str] = ()
    run: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)
    model_commands: Mapping[str, str] = field(default_factory=dict)


def load_origin(
    ledger: Ledger, trials: Sequence[Trial], outcomes: TrialOutcomes, best: RankedPoint | None
) -> SweepOrigin:
    """Returns the origin of the results. Its details are read from the first run of the best point.

    They are left out if there is no such run, or its folder is not on this machine.
    """
    datasets = " and ".join(dict.fromkeys(trial.config["dataset"]["name"] for trial in trials))
    summary = [datasets, _describe_epochs(trials)]
    if ledger.sessions:
        summary.append(f"started {format_time(datetime.fromisoformat(ledger.sessions[0].time))}")
    if best is None:
        return SweepOrigin(summary=summary)
    number = best.runs[0].number
    folder = Path(outcomes.done[number].folder)
    try:
        run, uri = load_run_record(folder), load_operations(folder).uri
        images = load_dataset_summary(run, folder).describe_images()
        provenance = describe_run_provenance(folder, run.tags, run.name, run.run_id)
    except (OSError, LookupError, ValueError, TrainyardError):
        return SweepOrigin(summary=summary)
    is_varied = any(path.partition(".")[0] == "dataset" for trial in trials for path in trial.varied)
    summary[0] += f" images: {images}{' in the best point' if is_varied else ''}"
    return SweepOrigin(
        summary=[*summary, f"Trainyard {run.tags[names.VERSION]}"],
        run=f"Of trial {number}, the first run of the best point.",
        provenance={title: provenance[title] for title in _COMMON if title in provenance},
        model_commands=build_model_commands(run.run_id or os.path.relpath(folder), uri=uri),
    )


def _describe_epochs(trials: Sequence[Trial]) -> str:
    """Returns the number of epochs in the configs of the trials: ``20 epochs``, ``at most 5 to 20 epochs``."""
    epochs = {trial.config["training"]["epochs"] for trial in trials}
    is_limit = any(trial.config["training"]["early_stopping"]["patience"] is not None for trial in trials)
    return f"{'at most ' if is_limit else ''}{format_range(epochs)} epoch{'' if epochs == {1} else 's'}"

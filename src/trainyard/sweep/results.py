"""What a trial leaves in its folder just before its run is FINISHED, from which its sweep learns what it came to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.errors import ConfigError
from trainyard.evaluation.trials import TrialResult
from trainyard.system.files import whole_file
from trainyard.tracking import read_account

if TYPE_CHECKING:
    from trainyard.runs.result import RunResult

RESULT = "result.json"


def write_result(run: RunResult, objective: str | None) -> TrialResult:
    """Writes what a run came to into its folder, whole or not at all.

    Args:
        run: All of it is logged.
        objective: The metric that its sweep compares, or None.
    """
    history = run.training.history
    kept = history[(run.training.best_epoch or len(history)) - 1]  # the epoch whose weights the model has
    result = TrialResult(
        objective=None if objective is None else kept[objective],
        metrics={**kept, **run.evaluation.metrics()},
        epochs=len(history),
        history=tuple(history),
        seconds=run.timings["total"],
        run_id=run.run_id,
        folder=str(run.folder),
        parameters=run.model.count_params(),
    )
    with whole_file(run.folder / RESULT) as partial:
        partial.write_text(json.dumps(dataclasses.asdict(result)))
    return result


def has_finished(folder: Path) -> bool:
    """Tells whether the run in a folder finished, whatever the store may know of it."""
    try:
        return read_account(folder).status == "FINISHED"
    except ConfigError:
        return False


def read_result(folder: Path) -> TrialResult | None:
    """Returns what the trial in a folder came to, or None where it did not get that far."""
    try:
        content = json.loads((folder / RESULT).read_text())
    except (OSError, ValueError):
        return None
    return TrialResult(**{**content, "history": tuple(content["history"])})

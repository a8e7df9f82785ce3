"""The result file of a trial. The trial writes it just before its run is marked FINISHED; the sweep reads it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.errors import ConfigError
from trainyard.evaluation import TrialResult
from trainyard.system import atomic_write
from trainyard.tracking import load_run_record

if TYPE_CHECKING:
    from trainyard.runs import RunResult

RESULT = "result.json"


def write_result(run: RunResult, objective: str | None) -> TrialResult:
    """Writes the result of a run, of which everything has been logged, into its folder atomically and returns it."""
    history = run.training.history
    final_epoch = history[(run.training.best_epoch or len(history)) - 1]  # of the epoch whose weights the model has
    result = TrialResult(
        objective=None if objective is None else final_epoch[objective],
        metrics={**final_epoch, **run.evaluation.metrics()},
        epochs=len(history),
        history=tuple(history),
        seconds=run.timings["total"],
        run_id=run.run_id,
        folder=str(run.folder),
        parameters=run.model.count_params(),
    )
    with atomic_write(run.folder / RESULT) as partial:
        partial.write_text(json.dumps(dataclasses.asdict(result)))
    return result


def has_finished(folder: Path) -> bool:
    """Returns whether the run in a folder has finished, according to its files, not to the tracking store."""
    try:
        return load_run_record(folder).status == "FINISHED"
    except ConfigError:
        return False


def load_result(folder: Path) -> TrialResult | None:
    """Loads the result of the trial in a folder. Returns None if the file is missing or damaged."""
    try:
        content = json.loads((folder / RESULT).read_text())
    except (OSError, ValueError):
        return None
    return TrialResult(**{**content, "history": tuple(content["history"])})

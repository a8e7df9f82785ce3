"""The result file of a trial. The trial writes it just before its run is marked FINISHED; the sweep reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.errors import ConfigError
from trainyard.evaluation import TrialResult
from trainyard.system import atomic_write, build_from_json
from trainyard.tracking import load_operations, names

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
    content = asdict(result)
    del content["folder"]  # that of the file, also after it was moved
    with atomic_write(run.folder / RESULT) as partial:
        partial.write_text(json.dumps(content))
    return result


def has_finished(folder: Path) -> bool:
    """Returns whether the run in a folder has finished, according to its files, not to the tracking store."""
    try:
        return load_operations(folder).status == "FINISHED"
    except ConfigError:
        return False


def load_result(folder: Path) -> TrialResult | None:
    """Loads the result of the trial in a folder. Returns None if the file is missing or damaged."""
    try:
        content = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        return build_from_json(TrialResult, {**content, "folder": str(folder)})
    except (OSError, ValueError, TypeError, LookupError):
        return None


def is_among(finished: Mapping[str, str] | None, result: TrialResult) -> bool:
    """Returns whether a trial's run is one of the `finished` ones in the store, by trial; True if not tracked."""
    return finished is None or result.run_id is None or result.run_id in finished.values()


def rebuild_result(folder: Path, objective: str | None) -> TrialResult | None:
    """Returns the result of a trial from what its run logged, if its result file is missing or damaged.

    Returns None if the run has not finished, or its operation log is incomplete or damaged.
    """
    try:
        logged = load_operations(folder)
        if logged.status != "FINISHED" or logged.has_gap:
            return None
        history = [dict(values) for values, step, _ in logged.metrics if step]
        results = {name: value for values, step, _ in logged.metrics if not step for name, value in values.items()}
        final_epoch = history[int(logged.tags.get(names.RESTORED_EPOCH, len(history))) - 1]
        return TrialResult(
            objective=None if objective is None else final_epoch[objective],
            metrics={**final_epoch, **{name: results[name] for name in results if not name.startswith("time/")}},
            epochs=len(history),
            history=tuple(history),
            seconds=results["time/total_seconds"],
            run_id=None if logged.uri is None else next(iter(logged.stores.values()), ""),
            folder=str(folder),
            parameters=logged.params["model.parameters"],
        )
    except (ConfigError, LookupError, ValueError):
        return None

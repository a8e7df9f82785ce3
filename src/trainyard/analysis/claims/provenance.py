"""Provenance of a record: its runs, read from their folders, and the sweep that chose its recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainyard.analysis.claims.results import list_results
from trainyard.analysis.rerun.original import load_environment
from trainyard.config import (
    HASHED_SECTIONS,
    build_run_config,
    build_tree,
    compose_config,
    config_to_dict,
    find_config_differences,
)
from trainyard.errors import ConfigError
from trainyard.sweep import (
    NOT_DRAWN,
    PAGE,
    SweepFolder,
    TrialOutcomes,
    compute_cost,
    describe_sampling,
    describe_swept,
    rank_trials,
)
from trainyard.system import REPORTED_PACKAGES
from trainyard.tracking import load_run_record, names


def collect_runs_provenance(sweeps: Sequence[SweepFolder], command: str) -> dict[str, Any]:
    """Returns the date, the commit, the machine and the package versions of the runs of finished sweeps.

    These are of the first run. ``mixed`` has one line for each value that differs between the runs; ``seconds`` is the
    wall-clock time of all sessions together; ``command`` repeats the runs.
    """
    runs = [_load_run_provenance(Path(result.folder)) for sweep in sweeps for _, result in list_results(sweep)]
    return {
        "date": f"{datetime.fromtimestamp(min(run['started'] for run in runs) / 1000, UTC):%Y-%m-%d %H:%M} UTC",
        "command": command,
        "commit": runs[0]["commit"],
        "dirty": any(run["dirty"] for run in runs),
        "machine": runs[0]["machine"],
        "versions": runs[0]["versions"],
        "mixed": _find_mixed_values(runs),
        "seconds": sum(session.seconds for sweep in sweeps for session in sweep.ledger.sessions),
    }


def _load_run_provenance(folder: Path) -> dict[str, Any]:
    """Loads start time (ms since 1970), commit, machine without host name, and package versions of a run."""
    record = load_run_record(folder)
    machine, versions = load_environment(folder)
    return {
        "started": record.started,
        "commit": record.tags.get(names.GIT_COMMIT),
        "dirty": record.tags.get(names.GIT_DIRTY) == "true",
        "machine": {name: value for name, value in machine.items() if name != "host"},
        "versions": {name: versions[name] for name in REPORTED_PACKAGES if name in versions},
    }


def _find_mixed_values(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Returns a line for each value that is not the same for all runs."""
    flat = [{"commit": run["commit"], **run["machine"], **run["versions"]} for run in runs]
    values_by_name = {name: list(dict.fromkeys(json.dumps(run.get(name)) for run in flat)) for name in flat[0]}
    return [f"{name}: {', '.join(values)}" for name, values in values_by_name.items() if len(values) > 1]


def describe_search(folder: SweepFolder) -> dict[str, Any]:
    """Returns the definition, the cost and the winner of a finished sweep as JSON-compatible data.

    Raises:
        ConfigError: If the sweep has no objective, is not finished, or has no finished trial.
    """
    header, ledger = folder.read_header(), folder.ledger
    trials, outcomes = [trial for trial in folder.read_trials() if trial.label != NOT_DRAWN], TrialOutcomes()
    outcomes.update(ledger, [trial.number for trial in trials])
    if header["objective"] is None:
        raise ConfigError(f"search: expected a sweep with an objective; the sweep {folder.path.name} has none")
    if not ledger.is_complete or outcomes.waiting:
        raise ConfigError(
            f"search: expected a finished sweep; {len(outcomes.waiting)} trials of {folder.path.name} have no result. "
            "Resume the sweep first"
        )
    ranking = rank_trials(trials, outcomes, header["objective"])
    if not ranking.points:
        raise ConfigError(f"search: the sweep {folder.path.name} has no finished trial, so it has no best trial")
    best = ranking.points[0]
    first = next(trial for trial in trials if trial.number == best.runs[0].number)
    config = {key: value for key, value in first.config.items() if key in HASHED_SECTIONS}
    return {
        "name": folder.path.name,
        "overrides": header["overrides"],
        "objective": header["objective"],
        "chosen_by": describe_sampling(header),
        "swept": describe_swept(header, trials),
        "trials": {"finished": len(outcomes.done), "pruned": len(outcomes.pruned)},
        "cost": asdict(compute_cost(ledger, trials, outcomes)),
        "winner": {
            "label": best.label,
            "varied": dict(best.varied),
            "value": best.mean,
            "seeds": best.n,
            "config": config,
        },
        "card": PAGE if (folder.path / PAGE).exists() else None,
    }


def check_recipe_matches_search(search: dict[str, Any], overrides: Sequence[str]) -> None:
    """Raises ConfigError if a recipe differs from the config that a sweep chose; reports each setting.

    Only settings that affect results are compared. The seed and the fraction of validation images may differ.
    `search` is the sweep, as returned by `describe_search`; `overrides` compose the recipe.
    """
    recipe = compose_config(overrides)
    chosen = {**config_to_dict(recipe), **search["winner"]["config"]}
    problems = [
        f"{path.partition(':')[0]}: the recipe differs from the choice of the sweep {search['name']}: "
        f"{path.partition(': ')[2]}"
        for path in find_config_differences(build_run_config(build_tree(chosen, search["name"])), recipe)
        if not path.startswith(("seed:", "dataset.validation_fraction:"))
    ]
    if problems:
        raise ConfigError(*problems, f"Set these values in the recipe before you record it: {' '.join(overrides)}")

"""How a recipe was chosen: describes the sweep that chose it, and checks that the recipe is the sweep's choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

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
    Ledger,
    SweepFolder,
    TrialOutcomes,
    compute_cost,
    describe_sampling,
    describe_swept,
    rank_trials,
)


def describe_search(folder: SweepFolder) -> dict[str, Any]:
    """Returns the definition, the cost and the winner of a finished sweep as JSON-compatible data.

    Raises:
        ConfigError: If the sweep has no objective, is not finished, or has no finished trial.
    """
    header, ledger = folder.read_header(), Ledger(folder.ledger)
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
    """Raises ConfigError if a recipe differs from the config that a sweep chose.

    Only settings that affect results are compared. The seed and the fraction of validation images may differ.

    Args:
        search: The sweep, as returned by `describe_search`.
        overrides: The overrides of the recipe.

    Raises:
        ConfigError: If the recipe differs; reports each setting.
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

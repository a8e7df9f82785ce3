"""How a recipe was chosen: the sweep behind it, and whether the recipe is what that sweep chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from trainyard.config.compose import (
    HASHED_SECTIONS,
    compose_config,
    config_differences,
    from_tree,
    to_run_config,
    to_tree,
)
from trainyard.errors import ConfigError
from trainyard.sweep.card import PAGE
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.scheduler import Tally
from trainyard.sweep.space import NOT_DRAWN
from trainyard.sweep.summary import count_cost, describe_choice, describe_swept, rank_trials


def describe_search(folder: SweepFolder) -> dict[str, Any]:
    """Returns what a sweep was, what it took and what it chose, as JSON holds it.

    Raises:
        ConfigError: If it has trials that were not done, or compared nothing.
    """
    header, ledger = folder.read_header(), Ledger(folder.ledger)
    trials, tally = [trial for trial in folder.read_trials() if trial.label != NOT_DRAWN], Tally()
    tally.take_in(ledger, [trial.number for trial in trials])
    if header["objective"] is None:
        raise ConfigError(f"search: expected a sweep that compares trials; {folder.path.name} does not")
    if not ledger.is_closed or tally.waiting:
        raise ConfigError(
            f"search: the sweep {folder.path.name} has not come to its end: {len(tally.waiting)} trials are not done. "
            "Go on with it first"
        )
    ranking = rank_trials(trials, tally, header["objective"])
    if not ranking.places:
        raise ConfigError(f"search: no trial of the sweep {folder.path.name} came to its end, so it chose nothing")
    best = ranking.places[0]
    config = {key: value for key, value in best.trials[0][0].config.items() if key in HASHED_SECTIONS}
    return {
        "name": folder.path.name,
        "overrides": header["overrides"],
        "objective": header["objective"],
        "chosen_by": describe_choice(header),
        "swept": describe_swept(header, trials),
        "trials": {"finished": len(tally.done), "pruned": len(tally.pruned)},
        "cost": asdict(count_cost(ledger, trials, tally)),
        "winner": {
            "label": best.label,
            "varied": dict(best.varied),
            "value": best.mean,
            "seeds": best.n,
            "config": config,
        },
        "card": PAGE if (folder.path / PAGE).exists() else None,
    }


def refuse_other_recipe(search: dict[str, Any], overrides: Sequence[str]) -> None:
    """Checks that a recipe is what a sweep chose, but for the images that the sweep kept back.

    Args:
        search: What `describe_search` tells.
        overrides: What the recipe is trained with.

    Raises:
        ConfigError: If it is not; names each setting.
    """
    recipe = compose_config(overrides)
    whole = {**to_tree(recipe), **search["winner"]["config"]}
    problems = [
        f"{path.partition(':')[0]}: the sweep {search['name']} chose otherwise: {path.partition(': ')[2]}"
        for path in config_differences(to_run_config(from_tree(whole, search["name"])), recipe)
        if not path.startswith(("seed:", "dataset.validation_fraction:"))
    ]
    if problems:
        raise ConfigError(*problems, f"A record shows what was chosen: put it into the recipe of {' '.join(overrides)}")

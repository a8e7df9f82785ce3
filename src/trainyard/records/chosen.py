"""How a recipe was chosen: the sweep behind it, and whether the recipe is what that sweep chose.

Before it: results, sweep.conclusion. After it: ``trainyard reproduce``; page, which tells it.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from trainyard.compose import compose_config, flatten_tree, to_tree
from trainyard.errors import ConfigError
from trainyard.sweep.card import PAGE
from trainyard.sweep.conclusion import count_cost, describe_choice, describe_swept, rank_trials
from trainyard.sweep.conduct import Tally
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.space import NOT_DRAWN


def describe_search(folder: SweepFolder) -> dict[str, Any]:
    """Returns what a sweep was, what it took and what it chose, as JSON holds it.

    Raises:
        ConfigError: If it has trials that were not done, or compared nothing.
    """
    header, ledger = folder.read_header(), Ledger(folder.ledger)
    trials, tally = [trial for trial in folder.read_trials() if trial.label != NOT_DRAWN], Tally()
    tally.take_in(ledger, [trial.number for trial in trials])
    if not ledger.is_closed or tally.waiting or header["objective"] is None:
        raise ConfigError(
            f"search: expected a sweep that compares its trials and came to its end, got {folder.path.name} with "
            f"{len(tally.waiting)} trials that are not done. Go on with it first"
        )
    ranking = rank_trials(trials, tally, header["objective"])
    best = ranking.places[0]
    return {
        "name": folder.path.name,
        "overrides": header["overrides"],
        "objective": header["objective"],
        "chosen_by": describe_choice(header),
        "swept": describe_swept(header, trials),
        "trials": {"finished": len(tally.done), "pruned": len(tally.pruned)},
        "cost": asdict(count_cost(ledger, trials, tally)),
        "winner": {"label": best.label, "varied": dict(best.varied), "value": best.mean, "seeds": best.n},
        "card": PAGE if (folder.path / PAGE).exists() else None,
    }


def refuse_other_recipe(search: dict[str, Any], overrides: tuple[str, ...]) -> None:
    """Checks that a recipe is what a sweep chose: the value of every setting that was swept.

    Args:
        search: What `describe_search` tells.
        overrides: What the recipe is trained with.

    Raises:
        ConfigError: If it is not; names each setting.
    """
    config = to_tree(compose_config(overrides))
    values = flatten_tree(config)
    problems = []
    for path, chosen in search["winner"]["varied"].items():
        section = config.get(path)
        has = section["name"] if isinstance(section, dict) else values.get(path, section)
        if has != chosen:
            problems.append(f"{path}: the sweep {search['name']} chose {chosen!r}, and the recipe has {has!r}")
    if problems:
        raise ConfigError(*problems, f"A record shows what was chosen: put it into the recipe of {' '.join(overrides)}")

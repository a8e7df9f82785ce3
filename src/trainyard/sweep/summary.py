"""What a sweep came to, written into its folder: the leaderboard, the card with its pictures, the winner's recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainyard.evaluation.ranking import Place, Ranking, rank
from trainyard.evaluation.trials import Trial, TrialResult
from trainyard.reporting.leaderboard import write_table
from trainyard.sweep.card import CardPage, Cost, write_card
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.recipe import Winner, write_recipe
from trainyard.sweep.results import read_result
from trainyard.sweep.scheduler import Tally
from trainyard.system.environment import command_line

WINNER = "winner"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a sweep came to.

    Attributes:
        ranking: Of its points.
        winner: None where nothing is compared, or nothing is done.
        files: What was written, to be logged.
    """

    ranking: Ranking
    winner: Winner | None
    files: list[Path]


def conclude(
    folder: SweepFolder, ledger: Ledger, objective: str | None, trials: Sequence[Trial], tally: Tally
) -> Conclusion:
    """Ranks the trials that are done, and writes what is to be kept of it.

    Args:
        folder: Of the sweep.
        ledger: Of the sweep.
        objective: What it compares, or None.
        trials: All of them.
        tally: What became of them.
    """
    ranking = rank_trials(trials, tally, objective)
    winner = _save_winner(folder, ranking.places[0], objective) if objective and ranking.places else None
    header = folder.read_header()
    page = CardPage(
        name=folder.path.name,
        command=command_line(),
        chosen_by=describe_choice(header),
        swept=describe_swept(header, trials),
        ranking=ranking,
        winner=winner,
        failed=[(trial, tally.failed[trial.number]) for trial in trials if trial.number in tally.failed],
        pruned=[(trial, tally.pruned[trial.number]) for trial in trials if trial.number in tally.pruned],
        pruned_curves=[curve for number, curve in ledger.reported().items() if number in tally.pruned],
        unfinished=len(tally.waiting),
        cost=count_cost(ledger, trials, tally),
    )
    files = [write_table(folder.path, ranking), *write_card(folder.path, page)]
    return Conclusion(ranking, winner, [folder.overview, *files, *([winner.recipe] if winner else [])])


def rank_trials(trials: Sequence[Trial], tally: Tally, objective: str | None) -> Ranking:
    """Ranks the points of a sweep of which no seed was pruned: else the lucky ones would count.

    Args:
        trials: All of them.
        tally: What became of them.
        objective: What is compared, or None.
    """
    left_out = {trial.point for trial in trials if trial.number in tally.pruned}
    done = [
        (trial, _with_history(tally.done[trial.number], objective))
        for trial in trials
        if trial.number in tally.done and trial.point not in left_out
    ]
    return rank(done, objective)


def describe_swept(header: Mapping[str, Any], trials: Sequence[Trial]) -> dict[str, str]:
    """Returns what each swept setting could be, by its path: ``[0.1, 0.01]``, ``interval(0.0001, 0.1), log``.

    Args:
        header: What the plan says of the sweep as a whole.
        trials: All of them; of a grid they have the values.
    """
    if header.get("search"):
        return {key: axis["told"] for key, axis in header["search"]["axes"].items()}
    values = {
        key: dict.fromkeys(json.dumps(trial.varied[key]) for trial in trials if key in trial.varied)
        for key in header["swept"]
    }
    return {key: f"[{', '.join(each)}]" for key, each in values.items()}


def describe_choice(header: Mapping[str, Any]) -> str:
    """Returns what chose the points, in words."""
    search = header.get("search")
    if search is None:
        return "a grid: every combination"
    learnt = f", with what {' and '.join(search['warm_start'])} came to" if search["warm_start"] else ""
    return f"{search['sampler']}, drawn with the seed {search['sampler_seed']}{learnt}"


def count_cost(ledger: Ledger, trials: Sequence[Trial], tally: Tally) -> Cost:
    """Returns what the sweep took, as its ledger has it."""
    spent = {trial.number: ledger.account(trial.number).seconds for trial in trials}
    last = {number: epoch.epoch for number in tally.pruned if (epoch := ledger.last_epoch(number))}
    wanted = {trial.number: trial.config["training"]["epochs"] for trial in trials if trial.number in last}
    return Cost(
        wall_seconds=sum(session.seconds for session in ledger.sessions),
        done_seconds=sum(spent[number] for number in tally.done if number in spent),
        pruned_seconds=sum(spent[number] for number in tally.pruned if number in spent),
        failed_seconds=sum(spent[number] for number in tally.failed if number in spent),
        epochs=sum(result.epochs for result in tally.done.values()) + sum(last.values()),
        spared=sum(wanted[number] - last[number] for number in wanted),
    )


def _with_history(result: TrialResult, objective: str | None) -> TrialResult:
    """Returns a result with its history, where its folder is still there, and by the objective of today."""
    whole = read_result(Path(result.folder))
    value = None if objective is None else result.metrics.get(objective)
    return replace(result, history=whole.history if whole else (), objective=value)


def _save_winner(folder: SweepFolder, best: Place, objective: str) -> Winner:
    """Writes the recipe of the best point; of several seeds it has the first."""
    trial, result = best.trials[0]
    figure = f"{objective} {best.describe()} (n {best.n})"
    told = f"The winner of the sweep {folder.path.name}: {best.label or trial.label}, {figure}."
    recipe = folder.path / "conf" / "experiment" / f"{WINNER}.yaml"
    command = write_recipe(trial, recipe, told, folder.threads)
    return Winner(best.label or trial.label, result.run_id, recipe, command)

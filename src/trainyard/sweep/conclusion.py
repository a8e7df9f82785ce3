"""What a sweep came to, written into its folder: the ranking, the leaderboard with its pictures, the winner's recipe.

Before it: ranking, leaderboard, recipe, results. After it: the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainyard.sweep.conduct import Tally
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.leaderboard import write_leaderboard
from trainyard.sweep.ranking import Place, Ranking, rank
from trainyard.sweep.recipe import write_recipe
from trainyard.sweep.results import read_result
from trainyard.sweep.trials import Trial, TrialResult

WINNER = "winner"


@dataclass(frozen=True, slots=True)
class Winner:
    """The best trial of the best point, by its recipe.

    Attributes:
        label: What distinguishes it.
        run_id: MLflow's id of its run, or None.
        recipe: The file.
        command: What trains it.
    """

    label: str
    run_id: str | None
    recipe: Path
    command: str


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


def conclude(folder: SweepFolder, objective: str | None, trials: Sequence[Trial], tally: Tally) -> Conclusion:
    """Ranks the trials that are done, and writes what is to be kept of it.

    Args:
        folder: Of the sweep.
        objective: What it compares, or None.
        trials: All of them.
        tally: What became of them.
    """
    done = [
        (trial, _with_history(tally.done[trial.number], objective)) for trial in trials if trial.number in tally.done
    ]
    ranking = rank(done, objective)
    failed = [(trial, tally.failed[trial.number]) for trial in trials if trial.number in tally.failed]
    files = write_leaderboard(folder.path, folder.path.name, ranking, failed, len(tally.waiting))
    winner = _save_winner(folder, ranking.places[0], objective) if objective and ranking.places else None
    return Conclusion(ranking, winner, [folder.overview, *files, *([winner.recipe] if winner else [])])


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

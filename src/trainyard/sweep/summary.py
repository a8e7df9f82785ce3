"""The results of a sweep, written into its folder: leaderboard, sweep card with plots, recipe of the winner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.config import find_common_label
from trainyard.evaluation import RankedPoint, RankedRun, Ranking, Trial, rank
from trainyard.reporting import build_ranking_frame, format_value, render_ranking_html, write_leaderboard
from trainyard.sweep.card import CardPage, SweepCost, write_card
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.origin import load_origin
from trainyard.sweep.recorder import TrialOutcomes
from trainyard.sweep.results import load_result
from trainyard.sweep.winner_recipe import Winner, write_winner
from trainyard.system import format_command_line

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False)
class SweepResult:
    """The results of a sweep.

    Attributes:
        folder: The folder of the sweep. Its name is the name of the sweep.
        objective: The metric that the sweep compares, or None.
        trials: All trials, in the order of the plan.
        winner: The best point, or None if nothing is compared or no trial has finished.
        files: The files that were written, to be logged.
    """

    folder: Path
    objective: str | None
    trials: tuple[Trial, ...]
    outcomes: TrialOutcomes
    ranking: Ranking
    winner: Winner | None
    files: list[Path]

    @property
    def name(self) -> str:
        """The name of the sweep."""
        return self.folder.name

    @property
    def failed(self) -> list[tuple[Trial, str]]:
        """The trials that failed, with their errors."""
        return [(trial, reason) for trial in self.trials if (reason := self.outcomes.failed.get(trial.number))]

    @property
    def best(self) -> RankedPoint | None:
        """The best point, or None if nothing is compared or no trial has finished."""
        return self.ranking.points[0] if self.objective and self.ranking.points else None

    @property
    def verdict(self) -> str:
        """Which points differ significantly, in one or two sentences."""
        return self.ranking.format_verdict()

    def to_frame(self) -> pd.DataFrame:
        """Returns a pandas DataFrame with a row per point, best first: settings, objective, interval, test metrics."""
        return build_ranking_frame(self.ranking)

    def __repr__(self) -> str:
        counts = f"{len(self.outcomes.done)} of {len(self.trials)} trials done"
        return f"<SweepResult {self.name}: {counts}. {self.verdict}>"

    def _repr_html_(self) -> str:
        """Returns the table and the verdict for a notebook."""
        return render_ranking_html(f"Sweep {self.name}", self.ranking)

    @property
    def is_complete(self) -> bool:
        """Whether every trial is done or was pruned."""
        return not self.outcomes.failed and not self.outcomes.waiting


def summarize_sweep(
    folder: SweepFolder, trials: tuple[Trial, ...], outcomes: TrialOutcomes, ranking: Ranking
) -> SweepResult:
    """Writes the result files of a sweep into its folder. `trials` are all its trials."""
    objective = ranking.objective
    winner = write_winner(folder, ranking.points[0], objective, trials) if objective and ranking.points else None
    header, ledger = folder.read_header(), folder.ledger
    page = CardPage(
        name=folder.path.name,
        command=format_command_line(),
        chosen_by=describe_sampling(header),
        swept=describe_swept(header, trials),
        axes=header["search"]["axes"] if header["search"] else {},
        ranking=ranking,
        winner=winner,
        failed=[(trial, outcomes.failed[trial.number]) for trial in trials if trial.number in outcomes.failed],
        pruned=[(trial, outcomes.pruned[trial.number]) for trial in trials if trial.number in outcomes.pruned],
        pruned_curves=[curve for number, curve in ledger.get_epoch_values().items() if number in outcomes.pruned],
        unfinished=len(outcomes.waiting),
        cost=compute_cost(ledger, trials, outcomes),
        origin=load_origin(ledger, trials, outcomes, ranking.points[0] if ranking.points else None),
    )
    files = [write_leaderboard(folder.path, ranking), *write_card(folder.path, page)]
    files = [folder.overview, *files, *([winner.recipe] if winner else [])]
    return SweepResult(folder.path, objective, trials, outcomes, ranking, winner, files)


def rank_trials(trials: Sequence[Trial], outcomes: TrialOutcomes, objective: str | None) -> Ranking:
    """Ranks the points of a sweep by their finished trials. Points with a pruned trial are below all others."""
    pruned = {trial.point for trial in trials if trial.number in outcomes.pruned}
    points: dict[int, list[Trial]] = {}
    for trial in trials:
        if trial.number in outcomes.done:
            points.setdefault(trial.point, []).append(trial)
    runs = []
    for point in points.values():
        label = find_common_label(trial.label for trial in point)
        for trial in point:
            result = outcomes.done[trial.number]
            stored = load_result(Path(result.folder))  # None if the folder was deleted
            runs.append(
                RankedRun(
                    number=trial.number,
                    point=trial.point,
                    label=label,
                    varied=trial.varied,
                    seed=trial.seed,
                    value=None if objective is None else result.metrics.get(objective),
                    metrics=result.metrics,
                    history=stored.history if stored else (),
                    seconds=result.seconds,
                    run_id=result.run_id,
                    parameters=result.parameters,
                )
            )
    return rank(runs, objective, pruned)


def describe_swept(header: Mapping[str, Any], trials: Sequence[Trial]) -> dict[str, str]:
    """Returns the values of each swept setting as text, by path: ``[64], [300, 200]``, ``interval(0.0001, 0.1), log``.

    The `header` is that of the plan. The values of a grid are read from the trials.
    """
    if header["search"]:
        descriptions = {key: str(axis["description"]) for key, axis in header["search"]["axes"].items()}
        return {key: text[1:-1] if text.startswith("[") else text for key, text in descriptions.items()}
    values = {
        key: dict.fromkeys(format_value(trial.varied[key]) for trial in trials if key in trial.varied)
        for key in header["swept"]
    }
    return {key: ", ".join(texts) for key, texts in values.items()}


def describe_sampling(header: Mapping[str, Any]) -> str:
    """Returns a short description of how the points were chosen."""
    search = header.get("search")
    if search is None:
        return "grid of all combinations"
    warm_start = f", warm start from {' and '.join(search['warm_start'])}" if search["warm_start"] else ""
    return f"{search['sampler']} sampler, seed {search['sampler_seed']}{warm_start}"


def compute_cost(ledger: Ledger, trials: Sequence[Trial], outcomes: TrialOutcomes) -> SweepCost:
    """Returns the cost of the sweep, computed from its ledger."""
    records = {trial.number: ledger.get_trial_record(trial.number) for trial in trials}
    # a trial that was pruned before it started has no last epoch
    last_epochs = {number: last.epoch if (last := records[number].last_epoch) else 0 for number in outcomes.pruned}
    planned = {trial.number: trial.config["training"]["epochs"] for trial in trials if trial.number in last_epochs}
    return SweepCost(
        wall_seconds=sum(session.seconds for session in ledger.sessions),
        done_seconds=sum(records[number].seconds for number in outcomes.done),
        pruned_seconds=sum(records[number].seconds for number in outcomes.pruned),
        failed_seconds=sum(records[number].seconds for number in outcomes.failed),
        epochs=sum(result.epochs for result in outcomes.done.values()) + sum(last_epochs.values()),
        spared=sum(planned[number] - last_epochs[number] for number in planned),
    )

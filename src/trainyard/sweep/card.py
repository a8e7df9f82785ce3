"""The sweep card: one HTML page with the settings, the ranking, the plots and the cost of a sweep.

The page is a single file with embedded images, and needs no network access. A short script sorts the table. Without
scripts, the rows stay in ranking order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from trainyard.evaluation import Ranking, Trial
from trainyard.reporting import (
    MAX_CARD_ROWS,
    build_card_columns,
    build_card_rows,
    describe_lead,
    describe_smaller_point,
    describe_tied,
    embed_image,
    explain_ranking,
    format_duration,
    format_value,
    plots,
    render_sortable_page,
)
from trainyard.sweep.importance import Axes, compute_importances, explain_missing_importances
from trainyard.sweep.origin import SweepOrigin
from trainyard.sweep.winner_recipe import Winner
from trainyard.system import atomic_write

PAGE = TEMPLATE = "card.html"
MAX_LISTED_TRIALS = 100
"""Maximum number of failed trials, and of pruned trials, on the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCost:
    """The time and the number of epochs that a sweep used.

    `wall_seconds` is the time of all its sessions; the other durations are sums over trials. `epochs` includes the
    reported epochs of pruned trials; `spared` is the number of epochs that were saved by pruning.
    """

    wall_seconds: float = 0.0
    done_seconds: float = 0.0
    pruned_seconds: float = 0.0
    failed_seconds: float = 0.0
    epochs: int = 0
    spared: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPage:
    """The content of the page.

    Attributes:
        chosen_by: Description of how the points were chosen.
        swept: Values of each swept setting as text, by path.
        axes: The axes of a search; see `importance.Axes`.
        failed, pruned: Trials, each with its reason in one line.
        pruned_curves: Objective of each pruned trial by epoch.
        unfinished: Number of trials that have not been started or were interrupted.
    """

    name: str
    command: str = ""
    chosen_by: str = ""
    swept: Mapping[str, str]
    axes: Axes = field(default_factory=dict)
    ranking: Ranking
    winner: Winner | None = None
    failed: Sequence[tuple[Trial, str]] = ()
    pruned: Sequence[tuple[Trial, str]] = ()
    pruned_curves: Sequence[Sequence[float]] = ()
    unfinished: int = 0
    cost: SweepCost
    origin: SweepOrigin = SweepOrigin()


def write_card(folder: Path, page: CardPage) -> list[Path]:
    """Writes the page and its plots into an existing folder, each file atomically; returns the files."""
    ranking = page.ranking
    shares = compute_importances(ranking, page.axes)
    plot_files = _draw_plots(folder, page, shares)
    swept = sorted(page.swept.items(), key=lambda setting: -shares.get(setting[0], 0.0))
    html = render_sortable_page(
        TEMPLATE,
        page=page,
        ranking=ranking,
        headline=_build_headline(page),
        winner=_describe_winner(page),
        swept=[(path, values, shares.get(path)) for path, values in swept],
        shares=shares,
        missing_shares=explain_missing_importances(ranking) if len(swept) > 1 else "",
        cost=_describe_cost(page),
        explanation=explain_ranking(ranking),
        columns=build_card_columns(ranking),
        rows=build_card_rows(ranking),
        left_out=max(len(ranking.points) - MAX_CARD_ROWS, 0),
        pictures=[embed_image(caption, file) for caption, file in plot_files.items()],
        most_ended=MAX_LISTED_TRIALS,
    )
    with atomic_write(folder / PAGE) as file:
        file.write_text(html, encoding="utf-8")
    return [folder / PAGE, *plot_files.values()]


def _draw_plots(folder: Path, page: CardPage, shares: Mapping[str, float]) -> dict[str, Path]:
    """Draws the plots that apply to this sweep, and deletes those that no longer apply. Returns files by caption."""
    ranking = page.ranking
    candidates: dict[str, tuple[str, Callable[[Path], bool]]] = {
        "Top of the ranking": ("ranking.png", partial(plots.draw_ranking, ranking)),
        "Effect of each setting": (
            "settings.png",
            lambda path: (
                plots.draw_numeric_settings(ranking, path) or plots.draw_setting_effects(ranking, shares, path)
            ),
        ),
        "All settings in parallel coordinates": ("parallel.png", partial(plots.draw_parallel_coordinates, ranking)),
        "Learning curves": (
            "learning_curves.png",
            lambda path: plots.draw_point_curves(ranking.points, ranking.objective, path, page.pruned_curves),
        ),
    }
    files = {}
    with tempfile.TemporaryDirectory(dir=folder, prefix="partial.") as drafts:
        for caption, (name, draw) in candidates.items():
            if draw(Path(drafts, name)):
                files[caption] = Path(drafts, name).replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
    return files


def _build_headline(page: CardPage) -> dict[str, tuple[str, str]]:
    """Returns the key numbers at the top of the page: (number, short explanation) by title."""
    ranking, headline = page.ranking, {}
    if ranking.objective and ranking.points:
        best = ranking.points[0]
        mean, _, std = best.describe().partition(" ± ")
        headline[f"Best {ranking.objective}"] = (mean, f"± {std} over {best.n} seeds" if std else "one seed")
    if tied := describe_tied(ranking):
        headline["Not shown to be worse"] = tied
    finished = sum(point.n for point in ranking.points)
    headline["Points"] = (f"{len(ranking.points):,}", "combinations of values" if page.swept else "config")
    headline["Finished"] = (f"{finished:,}", "trials")
    if page.pruned:
        headline["Pruned"] = (f"{len(page.pruned):,}", "weak trials stopped early")
    headline["Failed"] = (f"{len(page.failed):,}", "trials; the reasons are below" if page.failed else "trials")
    if page.unfinished:
        headline["Not finished"] = (f"{page.unfinished:,}", "trials, not started or interrupted")
    headline["Duration"] = (format_duration(page.cost.wall_seconds), "wall-clock time")
    return headline


def _describe_winner(page: CardPage) -> dict[str, str]:
    """Returns the settings, value, lead and size of the best point as text, by title; empty without a winner."""
    ranking = page.ranking
    if page.winner is None or not ranking.points:
        return {}
    best = ranking.points[0]
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in best.metrics.items())
    run = best.runs[0]
    first = f", seed {run.seed}: {ranking.objective} {run.value:.4f}" if best.n > 1 and run.value is not None else ""
    facts = {
        "Settings": ", ".join(f"{path} = {format_value(value)}" for path, value in best.varied.items()),
        ranking.objective or "": f"{best.describe()}, {best.n} {'seeds' if best.n > 1 else 'seed'}",
        "Lead": describe_lead(ranking),
        "Smaller alternative": describe_smaller_point(ranking),
        "Test metrics": f"{metrics}, mean of {best.n} seeds" if metrics and best.n > 1 else metrics,
        "Size": f"{best.parameters:,} parameters, {format_duration(best.seconds)} to train",
        "Run": f"{page.winner.run_id}{first}" if page.winner.run_id else "",
    }
    return {title: text for title, text in facts.items() if text}


def _describe_cost(page: CardPage) -> dict[str, str]:
    """Returns the wall-clock time, the summed time of the trials and the epochs of the sweep as text, by title."""
    cost = page.cost
    work = cost.done_seconds + cost.pruned_seconds + cost.failed_seconds
    parts = {
        "finished": (cost.done_seconds, sum(point.n for point in page.ranking.points)),
        "pruned": (cost.pruned_seconds, len(page.pruned)),
        "failed": (cost.failed_seconds, len(page.failed)),
    }
    shares = [f"{format_duration(seconds)} in {count:,} {state}" for state, (seconds, count) in parts.items() if count]
    saved = f"; pruning saved {cost.spared:,} more" if cost.spared else ""
    return {
        "Wall-clock time": format_duration(cost.wall_seconds),
        "Sum over all trials": f"{format_duration(work)}: {', '.join(shares)}" if shares else format_duration(work),
        "Epochs": f"{cost.epochs:,}{saved}",
    }

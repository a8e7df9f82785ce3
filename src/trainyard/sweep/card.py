"""The sweep card: one page that tells a colleague what was varied, what it did, what came out and what it cost.

A single HTML file that holds its pictures and needs no network. Its few lines of script sort the table; where scripts
are off the rows stand as they are ranked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trainyard.evaluation.ranking import Ranking, lead
from trainyard.evaluation.trials import Trial
from trainyard.reporting import plots
from trainyard.reporting.formatting import show_seconds, show_value
from trainyard.reporting.leaderboard import MOST_ROWS, card_columns, card_rows, explain
from trainyard.reporting.run_report import embed, render_sortable
from trainyard.sweep.importance import importances
from trainyard.sweep.recipe import Winner
from trainyard.system.files import whole_file

if TYPE_CHECKING:
    from trainyard.reporting.run_report import Picture

PAGE = "card.html"
TEMPLATE = "card.html"
MOST_ENDED = 100
"""What the page shows of the failed trials, and of the pruned ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a sweep took.

    Attributes:
        wall_seconds: From its starts to its ends.
        done_seconds: Of the trials that came to their end, each from its beginning to its end.
        pruned_seconds: Of those that were pruned.
        failed_seconds: Of those that failed.
        epochs: How many all of them trained, as far as they told.
        spared: How many epochs pruning spared.
    """

    wall_seconds: float = 0.0
    done_seconds: float = 0.0
    pruned_seconds: float = 0.0
    failed_seconds: float = 0.0
    epochs: int = 0
    spared: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPage:
    """All that the page shows.

    Attributes:
        name: Of the sweep.
        command: What it was started with.
        chosen_by: What chose the points, in words.
        swept: What each setting could be, in words, by its path.
        ranking: Of the trials that came to their end.
        winner: Its recipe, where there is one.
        failed: Trials that failed, each with its reason in one line.
        pruned: Trials that were pruned, likewise.
        pruned_curves: The objective of each of these, epoch by epoch.
        unfinished: How many trials were not begun, or were broken off.
        cost: What it took.
    """

    name: str
    command: str = ""
    chosen_by: str = ""
    swept: Mapping[str, str]
    ranking: Ranking
    winner: Winner | None = None
    failed: Sequence[tuple[Trial, str]] = ()
    pruned: Sequence[tuple[Trial, str]] = ()
    pruned_curves: Sequence[Sequence[float]] = ()
    unfinished: int = 0
    cost: Cost


class Swept(NamedTuple):
    """A setting as the page shows it: what it could be, and its share in the variance of the objective."""

    path: str
    values: str
    share: float | None


def write_card(folder: Path, page: CardPage) -> list[Path]:
    """Writes the pictures and the page, each whole or not at all.

    Args:
        folder: Where they are written; it is there.
        page: What it shows.

    Returns:
        The files: card.html, and the pictures that apply.
    """
    shares = importances(page.ranking)
    drawn = _draw_pictures(folder, page, shares)
    pictures = [embed(caption, file) for caption, file in drawn.items()]
    with whole_file(folder / PAGE) as partial:
        partial.write_text(_render(page, shares, pictures), encoding="utf-8")
    return [folder / PAGE, *drawn.values()]


def _draw_pictures(folder: Path, page: CardPage, shares: Mapping[str, float]) -> dict[str, Path]:
    """Draws the pictures that apply to this sweep, and removes earlier ones that don't any more.

    Returns:
        Their files, by caption.
    """
    ranking = page.ranking
    drawings: dict[str, tuple[str, Callable[[Path], bool]]] = {
        "The first places": ("ranking.png", lambda path: plots.draw_ranking(ranking, path)),
        "What the settings do": (
            "settings.png",
            lambda path: plots.draw_grid(ranking, path) or plots.draw_effects(ranking, shares, path),
        ),
        "All settings together": ("parallel.png", lambda path: plots.draw_parallel(ranking, path)),
        "Learning curves": (
            "learning_curves.png",
            lambda path: plots.draw_curves(ranking.places, ranking.objective, path, page.pruned_curves),
        ),
    }
    drawn = {}
    with tempfile.TemporaryDirectory(dir=folder, prefix="partial.") as drafts:
        for caption, (name, draw) in drawings.items():
            if draw(Path(drafts, name)):
                drawn[caption] = Path(drafts, name).replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
    return drawn


def _render(page: CardPage, shares: Mapping[str, float], pictures: Sequence[Picture]) -> str:
    """Returns the page."""
    swept = [Swept(path, values, shares.get(path)) for path, values in page.swept.items()]
    return render_sortable(
        TEMPLATE,
        page=page,
        ranking=page.ranking,
        headline=_headline(page),
        winner=_describe_winner(page),
        swept=sorted(swept, key=lambda setting: -(setting.share or 0.0)),
        shares=shares,
        cost=_describe_cost(page),
        explanation=explain(page.ranking),
        columns=card_columns(page.ranking),
        rows=card_rows(page.ranking),
        left_out=max(len(page.ranking.places) - MOST_ROWS, 0),
        pictures=pictures,
        most_ended=MOST_ENDED,
    )


def _headline(page: CardPage) -> dict[str, tuple[str, str]]:
    """Returns the figures that a reader wants first, each with a few words on it."""
    ranking, figures = page.ranking, {}
    if ranking.objective and ranking.places:
        best = ranking.places[0]
        mean, _, std = best.describe().partition(" ± ")
        figures[f"Best {ranking.objective}"] = (mean, f"± {std} over {best.n} seeds" if std else "one seed")
    finished = sum(place.n for place in ranking.places)
    figures["Points"] = (f"{len(ranking.places):,}", "settings compared")
    figures["Finished"] = (f"{finished:,}", "trials")
    if page.pruned:
        figures["Pruned"] = (f"{len(page.pruned):,}", "trials that fell behind")
    figures["Failed"] = (f"{len(page.failed):,}", "trials; their reasons are below" if page.failed else "trials")
    if page.unfinished:
        figures["Not finished"] = (f"{page.unfinished:,}", "trials, not begun or broken off")
    figures["Took"] = (show_seconds(page.cost.wall_seconds), "from start to end")
    return figures


def _describe_winner(page: CardPage) -> dict[str, str]:
    """Returns what is to be said of the best point, by headings."""
    ranking = page.ranking
    if page.winner is None or not ranking.places:
        return {}
    best = ranking.places[0]
    told = {
        "Settings": ", ".join(f"{path} {show_value(value)}" for path, value in best.varied.items()),
        ranking.objective or "": f"{best.describe()}, {best.n} {'seeds' if best.n > 1 else 'seed'}",
        "Ahead": _describe_lead(ranking),
        "On the test images": ", ".join(f"{name} {value:.4f}" for name, value in best.metrics.items()),
        "Size": f"{best.parameters:,} parameters, {show_seconds(best.seconds)} to train",
        "Run": page.winner.run_id or "",
    }
    return {title: text for title, text in told.items() if text}


def _describe_lead(ranking: Ranking) -> str:
    """Returns how far the first place is ahead of the second, and whether that is more than chance."""
    if len(ranking.places) < 2:  # noqa: PLR2004 - there is nobody to be ahead of
        return ""
    second, comparison = ranking.places[1], lead(ranking)
    if not comparison.difference:
        return f"not of {second.label}, which came to the same"
    far = f"by {abs(comparison.difference):.4f} of {second.label}"
    if min(ranking.places[0].n, second.n) < 2:  # noqa: PLR2004 - nothing to tell by
        return f"{far}; with one seed {'of one of them' if ranking.repeated else 'each'}, that may be chance"
    more = "may be chance" if second.tied else "is more than chance"
    return f"{far}; p = {comparison.chance:.2g} by a t-test of the two alone. Among all points, that {more}"


def _describe_cost(page: CardPage) -> dict[str, str]:
    """Returns what the sweep took, by headings."""
    cost = page.cost
    work = cost.done_seconds + cost.pruned_seconds + cost.failed_seconds
    parts = {
        "finished": (cost.done_seconds, sum(place.n for place in page.ranking.places)),
        "pruned": (cost.pruned_seconds, len(page.pruned)),
        "failed": (cost.failed_seconds, len(page.failed)),
    }
    told = [f"{show_seconds(seconds)} in {count:,} {which}" for which, (seconds, count) in parts.items() if count]
    spared = f"; pruning spared {cost.spared:,} more" if cost.spared else ""
    return {
        "From start to end": show_seconds(cost.wall_seconds),
        "Time of all trials": f"{show_seconds(work)}: {', '.join(told)}" if told else show_seconds(work),
        "Epochs": f"{cost.epochs:,}{spared}",
    }

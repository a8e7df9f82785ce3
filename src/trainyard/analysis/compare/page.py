"""The page of a comparison: a single HTML file that holds its pictures and needs no network."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from numpy.typing import NDArray

from trainyard.analysis.compare.predictions import Change
from trainyard.analysis.compare.table import Standing
from trainyard.evaluation.ranking import Place
from trainyard.reporting import plots
from trainyard.reporting.leaderboard import MOST_ROWS as MOST_LISTED
from trainyard.reporting.leaderboard import card_columns, card_rows, explain
from trainyard.reporting.plots import Flip
from trainyard.reporting.plots.comparison import MOST_ROWS
from trainyard.reporting.plots.style import LONGEST_NAME, shorten
from trainyard.reporting.run_report import embed, render_sortable
from trainyard.system.files import whole_file

if TYPE_CHECKING:
    import numpy as np

    from trainyard.data.dataset import DataSpec

TEMPLATE = "compare.html"
CURVES = ("accuracy/val", "loss/val", "accuracy/train", "loss/train")
"""What is drawn of each epoch: of the first two what there is, else the others."""
MOST_DRAWN = 12
"""Rows whose learning curves are drawn; each takes a few requests to the store."""
MOST_FLIPS = 40
_F1 = "f1_by_class/"


class Images(NamedTuple):
    """The test images.

    Attributes:
        pixels: uint8 (n, height, width) or (n, height, width, 3), raw.
        spec: What is known of them.
    """

    pixels: NDArray[np.uint8]
    spec: DataSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two runs, image by image.

    Attributes:
        before: What the first is called.
        now: What the second is called.
        change: From the first to the second.
        images: That they were tested on; None where they can't be had.
        lacking: Why they can't be had; else empty.
    """

    before: str
    now: str
    change: Change
    images: Images | None = None
    lacking: str = ""

    def verdict(self) -> str:
        """Returns in a sentence or two whether one is better than the other, or that may be chance."""
        return self.change.describe(self.before, self.now)


class RunRow(NamedTuple):
    """A run as the page lists it."""

    label: str
    seed: int
    name: str
    experiment: str
    value: str
    reference: str


def write_page(path: Path, standing: Standing, pair: Pair | None, command: str, notes: Sequence[str]) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: The HTML file.
        standing: What it shows.
        pair: The two runs image by image, where there are two.
        command: What makes the page again.
        notes: What else there is to know, a line each: which runs have no place, and why two were not compared.
    """
    ranking = standing.ranking
    with tempfile.TemporaryDirectory(prefix="trainyard-compare-") as place:
        of_all = [embed(caption, file) for caption, file in _draw(standing, Path(place)).items()]
        of_pair = [embed(caption, file) for caption, file in _draw_pair(pair, Path(place)).items()] if pair else []
    runs = _runs(standing)
    html = render_sortable(
        TEMPLATE,
        title=f"{pair.before} → {pair.now}" if pair else _counts(standing),
        standing=standing,
        ranking=ranking,
        headline=_headline(standing, pair),
        columns=["#", "config", *card_columns(ranking)[2:]],
        rows=card_rows(ranking),
        explanation=explain(ranking),
        list_left_out=max(len(ranking.places) - MOST_LISTED, 0),
        pictures=of_all,
        pair=pair,
        classes=_class_rows(pair) if pair else [],
        pair_pictures=of_pair,
        runs=runs[:MOST_LISTED],
        runs_left_out=max(len(runs) - MOST_LISTED, 0),
        command=command,
        notes=notes,
    )
    with whole_file(path) as partial:
        partial.write_text(html, encoding="utf-8")


def _counts(standing: Standing) -> str:
    places = len(standing.ranking.places)
    runs = sum(place.n for place in standing.ranking.places)
    return f"{runs:,} run{'s' if runs > 1 else ''}, {places:,} config{'s' if places > 1 else ''}"


def _headline(standing: Standing, pair: Pair | None) -> dict[str, tuple[str, str]]:
    """Returns the figures that a reader wants first, each with a few words on it."""
    best = standing.ranking.places[0]
    mean, _, std = best.describe().partition(" ± ")
    seeds = f"± {std} over {best.n} seeds" if std else "one seed"
    figures = {f"Best {standing.by}": (mean, f"{seeds}: {best.label}")}
    if pair is None:
        return figures | {"Compared": (_counts(standing), "a config is one row")}
    change = pair.change
    images = len(change.before.actual)
    return figures | {
        "Became right": (f"{len(change.improved):,}", f"images that only {pair.now} tells right"),
        "Became wrong": (f"{len(change.worsened):,}", f"images that only {pair.before} tells right"),
        "Both wrong": (f"{change.both_wrong:,}", f"of {images:,} test images"),
        "p": (f"{change.chance:.2g}", "McNemar's exact test of these two models"),
    }


def _draw(standing: Standing, folder: Path) -> dict[str, Path]:
    """Draws the pictures of all rows that apply.

    Returns:
        Their files, by caption.
    """
    ranking = standing.ranking
    metrics = [name for name in CURVES if _all_have(ranking.places[:MOST_DRAWN], name)]
    drawings: dict[str, Callable[[Path], bool]] = {
        "The first places": lambda path: plots.draw_ranking(ranking, path),
        **{
            f"Learning curves: {name}": partial(plots.draw_curves, ranking.places[:MOST_DRAWN], name)
            for name in metrics[:2]
        },
        "F1 by class": lambda path: _draw_class_scores(standing, path),
    }
    drawn = {}
    for number, (caption, draw) in enumerate(drawings.items()):
        path = folder / f"{number}.png"
        if draw(path):
            drawn[caption] = path
    return drawn


def _all_have(places: Sequence[Place], metric: str) -> bool:
    return all(any(metric in epoch for epoch in result.history) for place in places for _, result in place.trials)


def _draw_class_scores(standing: Standing, path: Path) -> bool:
    """Draws the F1 by class of the first rows; not where they have no classes in common."""
    scores: dict[str, dict[str, float]] = {}
    for place in standing.ranking.places[:MOST_ROWS]:
        metrics = standing.metrics(place)
        scores[place.label] = {name[len(_F1) :]: it.mean for name, it in metrics.items() if name.startswith(_F1)}
    first = next(iter(scores.values()))
    names = [name for name in first if all(name in others for others in scores.values())]
    if not names:
        return False
    names.sort(key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))
    plots.draw_class_scores({label: [row[name] for name in names] for label, row in scores.items()}, names, path)
    return True


def _draw_pair(pair: Pair, folder: Path) -> dict[str, Path]:
    """Draws what changed from one run to the other.

    Returns:
        The files, by caption.
    """
    change = pair.change
    drawn = {}
    if change.difference.any():
        drawn["The difference of the confusion matrices"] = folder / "difference.png"
        plots.draw_confusion_difference(change.difference, change.before.class_names, folder / "difference.png")
    if pair.images is None:
        return drawn
    for name, which, indices in (
        ("Became right", f"only {shorten(pair.now, LONGEST_NAME)} tells right", change.improved),
        ("Became wrong", f"only {shorten(pair.before, LONGEST_NAME)} tells right", change.worsened),
    ):
        if not len(indices):
            continue
        flips = [
            Flip(at, int(change.before.actual[at]), int(change.before.predicted[at]), int(change.now.predicted[at]))
            for at in map(int, indices[:MOST_FLIPS])
        ]
        few = f"the {len(flips)} surest of {len(indices):,}" if len(flips) < len(indices) else f"{len(flips):,}"
        file = folder / f"{name.replace(' ', '_')}.png"
        told = f"Images that {which}; under each what it was taken for before and is now"
        plots.draw_flips(pair.images.pixels, flips, pair.images.spec, (f"{name}: {few}", told), file)
        drawn[name] = file
    return drawn


def _class_rows(pair: Pair) -> list[tuple[str, str, str, str, str]]:
    """Returns a row per class in which something changed, the greatest change first."""
    changed = [one for one in pair.change.by_class() if one.improved or one.worsened]
    changed.sort(key=lambda one: -abs(one.improved - one.worsened))
    return [
        (one.name, f"{one.images:,}", f"{one.improved:,}", f"{one.worsened:,}",
         f"{one.improved - one.worsened:+,}".replace("-", "\N{MINUS SIGN}"))
        for one in changed
    ]  # fmt: skip


def _runs(standing: Standing) -> list[RunRow]:
    return [
        RunRow(
            place.label,
            run.seed,
            run.name,
            run.experiment,
            f"{run.metrics[standing.by]:.4f}",
            run.run_id or run.reference,
        )
        for place in standing.ranking.places
        for run in standing.runs_of(place)
    ]

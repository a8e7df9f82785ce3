"""The page of a comparison: one HTML file that contains its plots and needs no network."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from numpy.typing import NDArray

from trainyard.analysis.compare.predictions import PredictionDiff
from trainyard.analysis.compare.table import ComparisonTable
from trainyard.evaluation import RankedPoint
from trainyard.reporting import MAX_CARD_ROWS as MAX_LISTED
from trainyard.reporting import (
    MAX_NAME_LENGTH,
    MAX_ROWS,
    PredictionFlip,
    build_card_columns,
    build_card_rows,
    embed_image,
    explain_ranking,
    plots,
    render_sortable_page,
    shorten,
)
from trainyard.system import atomic_write

if TYPE_CHECKING:
    import numpy as np

    from trainyard.data import DataSpec

TEMPLATE = "compare.html"
CURVE_METRICS = ("accuracy/val", "loss/val", "accuracy/train", "loss/train")
"""Metrics of learning curves. The first two of these that all runs have are drawn."""
MAX_CURVES = 12
"""Maximum number of configs whose learning curves are drawn. Each run needs a few requests to the store."""
MAX_FLIPS = 40
"""Maximum number of images in each plot of changed images."""
_F1 = "f1_by_class/"


class PairImages(NamedTuple):
    """The test images of two runs.

    Attributes:
        pixels: Raw pixels, uint8 (n, height, width) or (n, height, width, 3).
        spec: Description of the data set.
    """

    pixels: NDArray[np.uint8]
    spec: DataSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPair:
    """Two runs whose predictions are compared image by image.

    Attributes:
        first_label: Label of the first run.
        second_label: Label of the second run.
        diff: Difference between their predictions.
        images: Their test images, or None if they are not drawn.
        images_error: Why the images are not available; otherwise empty.
    """

    first_label: str
    second_label: str
    diff: PredictionDiff
    images: PairImages | None = None
    images_error: str = ""

    def format_verdict(self) -> str:
        """Returns one or two sentences on which run is better and whether the difference is significant."""
        return self.diff.describe(self.first_label, self.second_label)


class RunRow(NamedTuple):
    """A row in the page's list of runs."""

    label: str
    seed: int
    name: str
    experiment: str
    value: str
    reference: str


def write_comparison_page(
    path: Path, table: ComparisonTable, pair: RunPair | None, command: str, notes: Sequence[str]
) -> None:
    """Writes the HTML page of a comparison atomically.

    Args:
        path: Path of the HTML file.
        table: The comparison to show.
        pair: The comparison image by image, or None if there are not exactly two runs.
        command: The command that creates the page again.
        notes: More information, one line each, for example which runs were left out.
    """
    ranking = table.ranking
    with tempfile.TemporaryDirectory(prefix="trainyard-compare-") as folder:
        table_plots = [embed_image(caption, file) for caption, file in _draw_table(table, Path(folder)).items()]
        pair_plots = (
            [embed_image(caption, file) for caption, file in _draw_pair(pair, Path(folder)).items()] if pair else []
        )
    runs = _build_run_rows(table)
    html = render_sortable_page(
        TEMPLATE,
        title=f"{pair.first_label} → {pair.second_label}" if pair else _format_counts(table),
        table=table,
        ranking=ranking,
        headline=_build_headline(table, pair),
        columns=["#", "config", *build_card_columns(ranking)[2:]],
        rows=build_card_rows(ranking),
        explanation=explain_ranking(ranking),
        list_left_out=max(len(ranking.points) - MAX_LISTED, 0),
        table_plots=table_plots,
        pair=pair,
        classes=_build_class_rows(pair) if pair else [],
        pair_plots=pair_plots,
        runs=runs[:MAX_LISTED],
        runs_left_out=max(len(runs) - MAX_LISTED, 0),
        command=command,
        notes=notes,
    )
    with atomic_write(path) as partial:
        partial.write_text(html, encoding="utf-8")


def _format_counts(table: ComparisonTable) -> str:
    """Returns the numbers of runs and of configs in the table: ``10 runs, 2 configs``."""
    configs = len(table.ranking.points)
    runs = sum(ranked.n for ranked in table.ranking.points)
    return f"{runs:,} run{'s' if runs > 1 else ''}, {configs:,} config{'s' if configs > 1 else ''}"


def _build_headline(table: ComparisonTable, pair: RunPair | None) -> dict[str, tuple[str, str]]:
    """Returns the most important values by title, each with a short explanation: ``{title: (value, text)}``."""
    best = table.ranking.points[0]
    mean, _, std = best.describe().partition(" ± ")
    seeds = f"± {std} over {best.n} seeds" if std else "one seed"
    headline = {f"Best {table.metric}": (mean, f"{seeds}: {best.label}")}
    if pair is None:
        return headline | {"Compared": (_format_counts(table), "each config is one row")}
    diff = pair.diff
    images = len(diff.first.actual)
    return headline | {
        "Became correct": (f"{len(diff.improved):,}", f"images that only {pair.second_label} classifies correctly"),
        "Became wrong": (f"{len(diff.worsened):,}", f"images that only {pair.first_label} classifies correctly"),
        "Both wrong": (f"{diff.both_wrong:,}", f"of {images:,} test images"),
        "p-value": (f"{diff.p_value:.2g}", "McNemar's exact test of these two models"),
    }


def _draw_table(table: ComparisonTable, folder: Path) -> dict[str, Path]:
    """Draws the plots that apply to the whole table.

    Returns:
        The files by caption.
    """
    ranking = table.ranking
    metrics = [name for name in CURVE_METRICS if _has_history(ranking.points[:MAX_CURVES], name)]
    drawings: dict[str, Callable[[Path], bool]] = {
        "Best configs": lambda path: plots.draw_ranking(ranking, path),
        **{
            f"Learning curves: {name}": partial(plots.draw_point_curves, ranking.points[:MAX_CURVES], name)
            for name in metrics[:2]
        },
        "F1 by class": lambda path: _draw_class_scores(table, path),
    }
    drawn = {}
    for number, (caption, draw) in enumerate(drawings.items()):
        path = folder / f"{number}.png"
        if draw(path):
            drawn[caption] = path
    return drawn


def _has_history(points: Sequence[RankedPoint], metric: str) -> bool:
    """Returns whether every run of these configs logged the metric in at least one epoch."""
    return all(any(metric in epoch for epoch in run.history) for ranked in points for run in ranked.runs)


def _draw_class_scores(table: ComparisonTable, path: Path) -> bool:
    """Draws the F1 scores by class of the best configs. Returns False if the configs have no class in common."""
    scores: dict[str, dict[str, float]] = {}
    for ranked in table.ranking.points[:MAX_ROWS]:
        metrics = table.summarize_metrics(ranked)
        scores[ranked.label] = {
            name[len(_F1) :]: summary.mean for name, summary in metrics.items() if name.startswith(_F1)
        }
    first = next(iter(scores.values()))
    names = [name for name in first if all(name in class_scores for class_scores in scores.values())]
    if not names:
        return False
    names.sort(key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))
    plots.draw_class_scores({label: [row[name] for name in names] for label, row in scores.items()}, names, path)
    return True


def _draw_pair(pair: RunPair, folder: Path) -> dict[str, Path]:
    """Draws the difference of the confusion matrices, and the images that became correct or wrong.

    Figures without content are omitted, and those of images if the images are not available.

    Returns:
        The path of each figure by its caption.
    """
    diff = pair.diff
    drawn = {}
    if diff.difference.any():
        drawn["Difference of the confusion matrices"] = folder / "difference.png"
        plots.draw_confusion_difference(diff.difference, diff.first.class_names, folder / "difference.png")
    if pair.images is None:
        return drawn
    for caption, description, indices in (
        ("Became correct", f"only {shorten(pair.second_label, MAX_NAME_LENGTH)} classifies correctly", diff.improved),
        ("Became wrong", f"only {shorten(pair.first_label, MAX_NAME_LENGTH)} classifies correctly", diff.worsened),
    ):
        if not len(indices):
            continue
        flips = [
            PredictionFlip(
                at, int(diff.first.actual[at]), int(diff.first.predicted[at]), int(diff.second.predicted[at])
            )
            for at in map(int, indices[:MAX_FLIPS])
        ]
        count = (
            f"the {len(flips)} most confident of {len(indices):,}" if len(flips) < len(indices) else f"{len(flips):,}"
        )
        file = folder / f"{caption.replace(' ', '_')}.png"
        subtitle = f"Images that {description}; below each: prediction before → now"
        plots.draw_prediction_flips(
            pair.images.pixels, flips, pair.images.spec, (f"{caption}: {count}", subtitle), file
        )
        drawn[caption] = file
    return drawn


def _build_class_rows(pair: RunPair) -> list[tuple[str, str, str, str, str]]:
    """Returns a row for each class in which something changed, the largest net change first."""
    changed = [row for row in pair.diff.group_by_class() if row.improved or row.worsened]
    changed.sort(key=lambda row: -abs(row.improved - row.worsened))
    return [
        (row.name, f"{row.images:,}", f"{row.improved:,}", f"{row.worsened:,}",
         f"{row.improved - row.worsened:+,}".replace("-", "\N{MINUS SIGN}"))
        for row in changed
    ]  # fmt: skip


def _build_run_rows(table: ComparisonTable) -> list[RunRow]:
    """Returns a row for each run in the table, by rank of its config."""
    return [
        RunRow(
            ranked.label,
            run.seed,
            run.name,
            run.experiment,
            f"{run.metrics[table.metric]:.4f}",
            run.run_id or run.reference,
        )
        for ranked in table.ranking.points
        for run in table.get_runs(ranked)
    ]

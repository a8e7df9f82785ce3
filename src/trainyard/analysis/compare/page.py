"""The page of a comparison: one HTML file that contains its plots and needs no network."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from trainyard.analysis.compare.predictions import PredictionDiff
from trainyard.analysis.compare.table import ComparisonTable
from trainyard.reporting import MAX_CARD_ROWS as MAX_LISTED
from trainyard.reporting import (
    MAX_NAME_LENGTH,
    MAX_ROWS,
    PredictionFlip,
    build_card_columns,
    build_card_rows,
    describe_lead,
    describe_smaller_point,
    describe_tied,
    embed_image,
    explain_ranking,
    format_count,
    format_value,
    plots,
    render_sortable_page,
    shorten,
)
from trainyard.runs import build_run_commands
from trainyard.system import atomic_write, format_command_line
from trainyard.tracking import find_test_split, names

TEMPLATE = "compare.html"
CURVE_METRICS = ("accuracy/val", "loss/val", "accuracy/train", "loss/train")
"""Metrics of learning curves. The first two of these that all runs have are drawn."""
MAX_CURVES = 12
"""Maximum number of configs whose learning curves are drawn. Each run needs a few requests to the store."""
MAX_OPEN_CLASSES = 20
"""Maximum number of classes, with the largest changes, that are shown without a click."""
MAX_FLIPS = 40
"""Maximum number of images in each plot of changed images."""
_F1 = "f1_by_class/"


def write_comparison_page(
    path: Path, table: ComparisonTable, pair: PredictionDiff | None, notes: Sequence[str]
) -> None:
    """Writes the HTML page of a comparison atomically. For the arguments, see `Comparison`."""
    ranking = table.ranking
    with tempfile.TemporaryDirectory(prefix="trainyard-compare-") as folder:
        table_plots = [embed_image(caption, file) for caption, file in _draw_table(table, Path(folder)).items()]
        pair_files = _draw_pair(pair, Path(folder)) if pair else {}
        pair_plots = [embed_image(caption, file) for caption, file in pair_files.items()]
    missing_font = plots.describe_missing_font(pair.first.class_names) if pair else None
    classes = [row for row in pair.group_by_class() if row.improved or row.worsened] if pair else []
    classes.sort(key=lambda row: -abs(row.improved - row.worsened))
    runs = [(ranked.label, run) for ranked in ranking.points for run in table.get_runs(ranked)]
    html = render_sortable_page(
        TEMPLATE,
        title=f"{pair.first_label} → {pair.second_label}" if pair else _format_counts(table),
        table=table,
        ranking=ranking,
        headline=_build_headline(table, pair),
        origin=_describe_origin(table),
        winner=_describe_winner(table),
        commands=_build_commands(table),
        columns=["#", "config", *build_card_columns(ranking)[2:]],
        rows=build_card_rows(ranking),
        explanation=explain_ranking(ranking),
        list_left_out=max(len(ranking.points) - MAX_LISTED, 0),
        table_plots=table_plots,
        pair=pair,
        classes=classes,
        most_classes=MAX_OPEN_CLASSES,
        pair_plots=pair_plots,
        runs=runs[:MAX_LISTED],
        runs_left_out=max(len(runs) - MAX_LISTED, 0),
        command=format_command_line(),
        notes=[*notes, *([f"{missing_font}."] if missing_font else [])],
    )
    with atomic_write(path) as partial:
        partial.write_text(html, encoding="utf-8")


def _format_counts(table: ComparisonTable) -> str:
    """Returns the numbers of runs and of configs in the table: ``10 runs, 2 configs``."""
    points = table.ranking.points
    return f"{format_count(sum(ranked.n for ranked in points), 'run')}, {format_count(len(points), 'config')}"


def _build_headline(table: ComparisonTable, pair: PredictionDiff | None) -> dict[str, tuple[str, str]]:
    """Returns the most important values by title, each with a short explanation: ``{title: (value, text)}``."""
    best = table.ranking.points[0]
    mean, _, std = best.describe().partition(" ± ")
    seeds = f"± {std} over {best.n} seeds" if std else "one seed"
    headline = {f"Best {table.metric}": (mean, f"{seeds}: {best.label}")}
    if pair is None:
        lead, _, explanation = describe_lead(table.full_ranking).partition(" ")
        headline |= {"Lead": (lead.rstrip(":"), explanation)} if lead else {}
        tied = describe_tied(table.full_ranking, "config")
        headline |= {"Not shown to be worse": tied} if tied else {}
        return headline | {"Compared": (_format_counts(table), "each config is one row")}
    return headline | {
        "Became correct": (f"{len(pair.improved):,}", f"images that only {pair.second_label} classifies correctly"),
        "Became wrong": (f"{len(pair.worsened):,}", f"images that only {pair.first_label} classifies correctly"),
        "Both wrong": (f"{pair.both_wrong:,}", f"of {len(pair.first.actual):,} test images"),
        "p-value": (f"{pair.p_value:.2g}", "McNemar's exact test of these two models"),
    }


def _describe_origin(table: ComparisonTable) -> list[str]:
    """Returns the data sets, the number of test images and the versions of Trainyard of the runs, as short texts."""
    runs = [run for ranked in table.ranking.points for run in table.get_runs(ranked)]
    tests = [split for run in runs if (split := find_test_split(run.inputs))]
    datasets = " and ".join(dict.fromkeys(split.name for split in tests))
    images = f"{datasets}: the same {tests[0].images:,} test images for all runs" if tests else ""
    versions = " and ".join(dict.fromkeys(run.tags[names.VERSION] for run in runs if names.VERSION in run.tags))
    return [text for text in (images, f"Trainyard {versions}" if versions else "") if text]


def _describe_winner(table: ComparisonTable) -> dict[str, str]:
    """Returns the settings, value, lead and size of the best config as text, by title."""
    best = table.ranking.points[0]
    run, count = table.get_runs(best)[0], best.n
    facts = {
        "Config": best.label,
        "Settings": ", ".join(f"{path} = {format_value(value)}" for path, value in best.varied.items()),
        table.metric: f"{best.describe()}, {format_count(count, 'seed')}",
        "Lead": describe_lead(table.full_ranking),
        "Smaller alternative": describe_smaller_point(table.full_ranking),
        "Size": f"{best.parameters:,} parameters" if best.parameters else "",
        "Run": f"{run.identity}{f', the first of {count} runs' if count > 1 else ''}",
    }
    return {title: text for title, text in facts.items() if text}


def _build_commands(table: ComparisonTable) -> dict[str, str]:
    """Returns the commands that repeat the first run of the best config and use its model, by title.

    Empty if the run was not made by Trainyard.
    """
    run = table.get_runs(table.ranking.points[0])[0]
    if names.CONFIG_HASH not in run.tags:
        return {}
    uri = run.store.uri if run.store else None
    reference = run.reference if run.store else os.path.relpath(run.reference)
    return build_run_commands(reference, uri=uri)


def _draw_table(table: ComparisonTable, folder: Path) -> dict[str, Path]:
    """Draws the plots that apply to the whole table. Returns the files by caption."""
    points = table.ranking.points[:MAX_CURVES]
    histories = [run.history for ranked in points for run in ranked.runs]
    metrics = [name for name in CURVE_METRICS if all(any(name in epoch for epoch in rows) for rows in histories)]
    drawings: dict[str, Callable[[Path], bool]] = {
        "Best configs": partial(plots.draw_ranking, table.ranking),
        **{f"Learning curves: {name}": partial(plots.draw_point_curves, points, name) for name in metrics[:2]},
        "F1 by class": partial(_draw_class_scores, table),
    }
    files = {caption: folder / f"{number}.png" for number, caption in enumerate(drawings)}
    return {caption: files[caption] for caption, draw in drawings.items() if draw(files[caption])}


def _draw_class_scores(table: ComparisonTable, path: Path) -> bool:
    """Draws the F1 scores by class of the best configs. Returns False if the configs have no class in common."""
    scores = {
        ranked.label: {
            name.removeprefix(_F1): summary.mean
            for name, summary in table.summarize_metrics(ranked).items()
            if name.startswith(_F1)
        }
        for ranked in table.ranking.points[:MAX_ROWS]
    }
    first, *others = scores.values()
    names = [name for name in first if all(name in other for other in others)]
    if not names:
        return False
    names.sort(key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))
    plots.draw_class_scores({label: [row[name] for name in names] for label, row in scores.items()}, names, path)
    return True


def _draw_pair(pair: PredictionDiff, folder: Path) -> dict[str, Path]:
    """Draws the difference of the confusion matrices, and the images that became correct or wrong.

    Figures without content are omitted, and those of images if the images are not available. Returns the path of each
    figure by its caption.
    """
    drawn = {}
    if pair.difference.any():
        drawn["Difference of the confusion matrices"] = folder / "difference.png"
        labels = pair.first_label, pair.second_label
        plots.draw_confusion_difference(pair.difference, pair.first.class_names, labels, folder / "difference.png")
    if pair.images is None:
        return drawn
    pixels, spec = pair.images
    for caption, correct_label, indices in (
        ("Became correct", pair.second_label, pair.improved),
        ("Became wrong", pair.first_label, pair.worsened),
    ):
        if not len(indices):
            continue
        flips = [
            PredictionFlip(
                at, int(pair.first.actual[at]), int(pair.first.predicted[at]), int(pair.second.predicted[at])
            )
            for at in map(int, indices[:MAX_FLIPS])
        ]
        shown = f"the {len(flips)} most confident of " if len(flips) < len(indices) else ""
        label = shorten(correct_label, MAX_NAME_LENGTH)
        subtitle = f"Images that only {label} classifies correctly; below each: prediction before → now"
        drawn[caption] = folder / f"{caption.replace(' ', '_')}.png"
        titles = (f"{caption}: {shown}{len(indices):,}", subtitle)
        plots.draw_prediction_flips(pixels, flips, spec, titles, drawn[caption])
    return drawn

"""``trainyard compare``: runs beside one another, as a table, as JSON, as CSV, and on a page."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from trainyard.analysis.compare.page import CURVES, MOST_DRAWN, Images, Pair, write_page
from trainyard.analysis.compare.predictions import find_change, load_test_images, read_predictions
from trainyard.analysis.compare.selection import Selected, Selection, select_runs
from trainyard.analysis.compare.table import Standing, chosen_metric, stand
from trainyard.cli.screen import print_heading
from trainyard.cli.sweep.columns import short_titles, show_metric
from trainyard.cli.sweep.tables import print_ranking
from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation.ranking import Place
from trainyard.reporting.formatting import show_seconds, show_value
from trainyard.reporting.leaderboard import SHOWN_TEST_METRICS
from trainyard.system.environment import command_line
from trainyard.tracking.stores import store_of_command

Form = Literal["table", "json", "csv"]
_PAIR = 2


def compare_command(
    selection: Selection, *, by: str | None, best: int | None, form: Form, html: Path | None, uri: str | None
) -> None:
    """Compares runs, and prints how they stand.

    Args:
        selection: Which runs.
        by: The metric that they are compared by; None: accuracy on validation images where all have it, else on the
            test images.
        best: How many configs to show, the best first; None: all.
        form: What is printed.
        html: The page to write as well, or None.
        uri: The store that knows the runs; None: the one that runs go to from here.

    Raises:
        ConfigError: If nothing is asked for, there is no such run, or the runs can't be compared.
        TrackingError: If the store can't be reached.
    """
    if not any((selection.references, selection.experiment, selection.sweep, selection.wanted)):
        raise ConfigError(
            "compare: expected runs, by their ids or folders, or --experiment NAME, --sweep NAME or --filter FILTER"
        )
    if html is not None and (html.suffix.lower() not in (".html", ".htm") or not html.parent.is_dir()):
        raise ConfigError(f"--html: expected a file that ends in .html, in a folder that is there, got {html}")
    store = store_of_command(uri)
    selected = select_runs(selection, store)
    standing = _stand(selected, by, best, apart=not selection.searches, draw=html is not None)
    pair, lacking = _pair(selected, standing, images=html is not None)
    notes = [line for line in (lacking, _other_validation(standing), _left_out(selected, standing)) if line]
    if html is not None:
        write_page(html, standing, pair, command_line(), notes)
    if form == "json":
        sys.stdout.write(json.dumps(_record(standing, pair, selected, notes), indent=1) + "\n")
    elif form == "csv":
        sys.stdout.write(_to_csv(standing))
        for note in notes:
            Console(soft_wrap=True, highlight=False, stderr=True).print(Text(note))
    else:
        _print(standing, pair, notes, html)


def _stand(selected: Selected, by: str | None, best: int | None, *, apart: bool, draw: bool) -> Standing:
    """Returns how the runs stand; with the learning curves of the first places, where they are drawn."""
    metric = by or chosen_metric(selected.runs)
    runs = [run.as_restored(metric) for run in selected.runs]
    standing = stand(runs, metric, apart=apart)
    if draw:
        drawn = [run for place in standing.ranking.places[:MOST_DRAWN] for run in standing.runs_of(place)]
        histories = {run.reference: run.history(CURVES) for run in drawn}
        standing = stand(runs, metric, histories, apart=apart)
    return standing if best is None else standing.best(best)


def _other_validation(standing: Standing) -> str:
    """Returns a note where what is compared was measured on different images for different configs."""
    if standing.by.endswith("/val") and "dataset.validation_fraction" in standing.varied:
        return f"The configs keep back different shares to validate on: {standing.by} is not of the same images."
    return ""


def _pair(selected: Selected, standing: Standing, *, images: bool) -> tuple[Pair | None, str]:
    """Returns the two runs image by image, in their order, where there are two; else why they can't be had."""
    labels = {run.reference: place.label for place in standing.ranking.places for run in standing.runs_of(place)}
    runs = [run for run in selected.runs if run.reference in labels]
    if len(runs) != _PAIR:
        return None, ""
    first, second = runs
    before, now = labels[first.reference], labels[second.reference]
    try:
        change = find_change(read_predictions(first), read_predictions(second))
    except TrainyardError as error:
        return None, f"Not compared image by image: {error}"
    if not images:
        return Pair(before=before, now=now, change=change), ""
    try:
        images_of_both = Images(*load_test_images(second, change.now.actual))
        return Pair(before=before, now=now, change=change, images=images_of_both), ""
    except TrainyardError as error:
        return Pair(before=before, now=now, change=change, lacking=str(error)), ""


def _left_out(selected: Selected, standing: Standing) -> str:
    """Returns in words which runs that were found have no place."""
    counts = {**selected.left_out, **standing.left_out}
    return f"Left out: {', '.join(f'{count:,} {why}' for why, count in counts.items())}." if counts else ""


def _print(standing: Standing, pair: Pair | None, notes: list[str], html: Path | None) -> None:
    columns, rows = _table(standing)
    print_ranking(rows, columns)
    console = Console(soft_wrap=True, highlight=False)
    console.print(Text(f"\n{standing.verdict}"))
    if pair:
        print_heading(f"Image by image: {pair.before} → {pair.now}")
        console.print(Text(pair.verdict()))
        for one in sorted(pair.change.by_class(), key=lambda one: one.worsened - one.improved):
            if one.improved or one.worsened:
                console.print(Text(f"  {one.name}: {one.improved} became right, {one.worsened} became wrong"))
    for note in notes:
        console.print(Text(note, style="dim"))
    if html:
        console.print(Text(f"page  {os.path.relpath(html)}"))


def _table(standing: Standing) -> tuple[list[str], list[list[str]]]:
    """Returns the titles of the columns, and the rows, the best first."""
    ranking = standing.ranking
    keys = list(dict.fromkeys(key for place in ranking.places for key in place.varied))
    tests = [name for name in SHOWN_TEST_METRICS if name != standing.by]
    repeated = ["seeds", "95 %"] if ranking.repeated else []
    columns = ["", "config", *short_titles(keys), standing.by, *repeated, *tests, "parameters", "time", "run"]
    rows = []
    for number, place in enumerate(ranking.places, 1):
        mark = " ≈" if place.tied and ranking.tied > 1 and ranking.repeated else ""
        interval = "" if place.low is None or place.high is None else f"{place.low:.4f} to {place.high:.4f}"
        runs = standing.runs_of(place)
        rows.append(
            [
                f"{number}{mark}",
                place.label,
                *(show_value(place.varied[key]) if key in place.varied else "" for key in keys),
                place.describe(),
                *([str(place.n), interval] if repeated else []),
                *(show_metric(place.metrics.get(name)) for name in tests),
                f"{place.parameters:,}" if place.parameters else "",
                show_seconds(place.seconds) if place.seconds else "",
                runs[0].run_id or runs[0].reference if len(runs) == 1 else f"{len(runs)} runs",
            ]
        )
    return columns, rows


def _to_csv(standing: Standing) -> str:
    """Returns a line per config: its rank, label, differing settings, seeds, and each metric with its spread."""
    metrics = [standing.metrics(place) for place in standing.ranking.places]
    names = sorted({name for row in metrics for name in row})
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    of_metrics = [title for name in names for title in (name, f"{name} std")]
    writer.writerow(["rank", "config", *standing.varied, "seeds", *of_metrics, "runs"])
    for number, (place, row) in enumerate(zip(standing.ranking.places, metrics, strict=True), 1):
        runs = standing.runs_of(place)
        values = [runs[0].params.get(path) for path in standing.varied]
        figures = [it for name in names for it in ((row[name].mean, row[name].std) if name in row else (None, None))]
        references = " ".join(run.run_id or run.reference for run in runs)
        writer.writerow([number, place.label, *map(_plain, values), place.n, *figures, references])
    return stream.getvalue()


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of a config
    return value if isinstance(value, (int, float, str)) and not isinstance(value, bool) else show_value(value)


def _record(standing: Standing, pair: Pair | None, selected: Selected, notes: list[str]) -> dict[str, Any]:
    """Returns all of it, as JSON holds it."""
    told: dict[str, Any] = {
        "by": standing.by,
        "test_data": selected.runs[0].test_digest,
        "verdict": standing.verdict,
        "varied": list(standing.varied),
        "configs": [_place_record(number, place, standing) for number, place in enumerate(standing.ranking.places, 1)],
        "left_out": {**selected.left_out, **standing.left_out},
        "notes": notes,
    }
    if pair:
        told["pair"] = {
            "before": pair.before,
            "now": pair.now,
            "verdict": pair.verdict(),
            "p": pair.change.chance,
            "improved": pair.change.improved.tolist(),
            "worsened": pair.change.worsened.tolist(),
            "both_wrong": pair.change.both_wrong,
            "by_class": [asdict(one) for one in pair.change.by_class()],
        }
    return told


def _finite(value: float | None) -> float | None:
    """Returns a figure as JSON holds it, which knows no NaN."""
    return value if value is not None and math.isfinite(value) else None


def _place_record(number: int, place: Place, standing: Standing) -> dict[str, Any]:
    runs = standing.runs_of(place)
    return {
        "rank": number,
        "config": place.label,
        "tied_with_best": place.tied,
        "settings": {path: runs[0].params.get(path) for path in standing.varied},
        "parameters": place.parameters or None,
        "seeds": place.n,
        "metrics": {
            name: {"mean": _finite(it.mean), "std": _finite(it.std)} for name, it in standing.metrics(place).items()
        },
        "runs": [
            {
                "run": run.run_id or run.reference,
                "name": run.name,
                "seed": run.seed,
                standing.by: run.metrics[standing.by],
            }
            for run in runs
        ],
    }

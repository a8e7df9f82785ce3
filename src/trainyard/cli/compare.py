"""``trainyard compare``: compares runs in a table, as JSON, as CSV, and on an HTML page."""

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

from trainyard.analysis import (
    CURVE_METRICS,
    MAX_CURVES,
    ComparisonTable,
    PairImages,
    RunPair,
    SelectedRuns,
    Selection,
    build_comparison_table,
    choose_metric,
    compare_predictions,
    load_predictions,
    load_test_images,
    select_runs,
    write_comparison_page,
)
from trainyard.cli.sweep.columns import format_four_decimals, shorten_paths
from trainyard.cli.sweep.tables import print_ranking
from trainyard.cli.terminal import print_heading
from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation import RankedPoint
from trainyard.reporting import SHOWN_TEST_METRICS, format_duration, format_value
from trainyard.system import format_command_line
from trainyard.tracking import TrackingStore

Form = Literal["table", "json", "csv"]
_PAIR = 2


def compare_command(
    selection: Selection, *, by: str | None, best: int | None, form: Form, html: Path | None, uri: str | None
) -> None:
    """Compares runs, and prints the ranking of their configs.

    Args:
        selection: The runs to compare.
        by: The metric to compare by; None uses the accuracy on validation images if all runs have it, else that on
            test images.
        best: The number of configs to show, best first; None shows all.
        form: The format of the output.
        html: The HTML page to write; None writes no page.
        uri: The tracking store that has the runs; None uses the default store of this folder.

    Raises:
        ConfigError: If no runs are selected, a run does not exist, or the runs cannot be compared.
        TrackingError: If the store is unreachable.
    """
    if not any((selection.references, selection.experiment, selection.sweep, selection.filter_string)):
        raise ConfigError(
            "compare: expected ids or folders of runs, or --experiment NAME, --sweep NAME or --filter FILTER, got none"
        )
    if html is not None and (html.suffix.lower() not in (".html", ".htm") or not html.parent.is_dir()):
        raise ConfigError(f"--html: expected an .html file in an existing folder, got {html}")
    store = TrackingStore.from_option(uri)
    selected = select_runs(selection, store)
    table = _build_table(selected, by, best, separate_seeds=not selection.is_search, draw=html is not None)
    pair, pair_error = _compare_two_runs(selected, table, images=html is not None)
    notes = [
        line for line in (pair_error, _format_validation_note(table), _format_left_out_note(selected, table)) if line
    ]
    if html is not None:
        write_comparison_page(html, table, pair, format_command_line(), notes)
    if form == "json":
        sys.stdout.write(json.dumps(_build_json(table, pair, selected, notes), indent=1) + "\n")
    elif form == "csv":
        sys.stdout.write(_render_csv(table))
        for note in notes:
            Console(soft_wrap=True, highlight=False, stderr=True).print(Text(note))
    else:
        _print_comparison(table, pair, notes, html)


def _build_table(
    selected: SelectedRuns, by: str | None, best: int | None, *, separate_seeds: bool, draw: bool
) -> ComparisonTable:
    """Returns the comparison of the runs, with the learning curves of the best configs if these are drawn."""
    metric = by or choose_metric(selected.runs)
    runs = [run.restore_metric(metric) for run in selected.runs]
    table = build_comparison_table(runs, metric, separate_seeds=separate_seeds)
    if draw:
        drawn = [run for ranked in table.ranking.points[:MAX_CURVES] for run in table.get_runs(ranked)]
        histories = {run.reference: list(run.load_history(CURVE_METRICS).values()) for run in drawn}
        table = build_comparison_table(runs, metric, histories, separate_seeds=separate_seeds)
    return table if best is None else table.select_best(best)


def _format_validation_note(table: ComparisonTable) -> str:
    """Returns a note if the compared metric was measured on different validation images; else an empty string."""
    if table.metric.endswith("/val") and "dataset.validation_fraction" in table.varied:
        return f"The configs differ in dataset.validation_fraction: {table.metric} was measured on different images."
    return ""


def _compare_two_runs(selected: SelectedRuns, table: ComparisonTable, *, images: bool) -> tuple[RunPair | None, str]:
    """Compares exactly two runs image by image. Returns the comparison or None, and an error message or ``""``."""
    labels = {run.reference: ranked.label for ranked in table.ranking.points for run in table.get_runs(ranked)}
    runs = [run for run in selected.runs if run.reference in labels]
    if len(runs) != _PAIR:
        return None, ""
    first, second = runs
    first_label, second_label = labels[first.reference], labels[second.reference]
    try:
        diff = compare_predictions(load_predictions(first), load_predictions(second))
    except TrainyardError as error:
        return None, f"Not compared image by image: {error}"
    if not images:
        return RunPair(first_label=first_label, second_label=second_label, diff=diff), ""
    try:
        pair_images = PairImages(*load_test_images(second, diff.second.actual))
        return RunPair(first_label=first_label, second_label=second_label, diff=diff, images=pair_images), ""
    except TrainyardError as error:
        return RunPair(first_label=first_label, second_label=second_label, diff=diff, images_error=str(error)), ""


def _format_left_out_note(selected: SelectedRuns, table: ComparisonTable) -> str:
    """Returns a note that counts the runs that are not in the table, by reason; empty if there are none."""
    counts = {**selected.left_out, **table.left_out}
    return f"Not shown: {', '.join(f'{count:,} {reason}' for reason, count in counts.items())}." if counts else ""


def _print_comparison(table: ComparisonTable, pair: RunPair | None, notes: list[str], html: Path | None) -> None:
    """Prints the ranking, the verdict, the comparison of two runs, the notes, and the path of the page."""
    columns, rows = _build_rows(table)
    print_ranking(rows, columns)
    console = Console(soft_wrap=True, highlight=False)
    console.print(Text(f"\n{table.verdict}"))
    if pair:
        print_heading(f"Image by image: {pair.first_label} → {pair.second_label}")
        console.print(Text(pair.format_verdict()))
        for diff in sorted(pair.diff.group_by_class(), key=lambda diff: diff.worsened - diff.improved):
            if diff.improved or diff.worsened:
                console.print(Text(f"  {diff.name}: {diff.improved} became correct, {diff.worsened} became wrong"))
    for note in notes:
        console.print(Text(note, style="dim"))
    if html:
        console.print(Text(f"page  {os.path.relpath(html)}"))


def _build_rows(table: ComparisonTable) -> tuple[list[str], list[list[str]]]:
    """Returns the column titles and the rows of the printed table, the best config first."""
    ranking = table.ranking
    keys = list(dict.fromkeys(key for ranked in ranking.points for key in ranked.varied))
    tests = [name for name in SHOWN_TEST_METRICS if name != table.metric]
    seed_columns = ["seeds", "95 %"] if ranking.has_repeats else []
    columns = ["", "config", *shorten_paths(keys), table.metric, *seed_columns, *tests, "parameters", "time", "run"]
    rows = []
    for number, ranked in enumerate(ranking.points, 1):
        mark = " ≈" if ranked.tied and ranking.n_tied > 1 and ranking.has_repeats else ""
        interval = "" if ranked.low is None or ranked.high is None else f"{ranked.low:.4f} to {ranked.high:.4f}"
        runs = table.get_runs(ranked)
        rows.append(
            [
                f"{number}{mark}",
                ranked.label,
                *(format_value(ranked.varied[key]) if key in ranked.varied else "" for key in keys),
                ranked.describe(),
                *([str(ranked.n), interval] if seed_columns else []),
                *(format_four_decimals(ranked.metrics.get(name)) for name in tests),
                f"{ranked.parameters:,}" if ranked.parameters else "",
                format_duration(ranked.seconds) if ranked.seconds else "",
                runs[0].run_id or runs[0].reference if len(runs) == 1 else f"{len(runs)} runs",
            ]
        )
    return columns, rows


def _render_csv(table: ComparisonTable) -> str:
    """Returns a CSV line per config: rank, label, settings that differ, seeds, mean and std of each metric, runs."""
    metrics = [table.summarize_metrics(ranked) for ranked in table.ranking.points]
    names = sorted({name for row in metrics for name in row})
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    metric_titles = [title for name in names for title in (name, f"{name} std")]
    writer.writerow(["rank", "config", *table.varied, "seeds", *metric_titles, "runs"])
    for number, (ranked, row) in enumerate(zip(table.ranking.points, metrics, strict=True), 1):
        runs = table.get_runs(ranked)
        values = [runs[0].params.get(path) for path in table.varied]
        figures = [
            figure for name in names for figure in ((row[name].mean, row[name].std) if name in row else (None, None))
        ]
        references = " ".join(run.run_id or run.reference for run in runs)
        writer.writerow([number, ranked.label, *map(_to_csv_value, values), ranked.n, *figures, references])
    return stream.getvalue()


def _to_csv_value(value: Any) -> Any:  # noqa: ANN401 - any value of a config
    """Returns numbers and text unchanged, and any other value, such as a list or a boolean, as text."""
    return value if isinstance(value, (int, float, str)) and not isinstance(value, bool) else format_value(value)


def _build_json(
    table: ComparisonTable, pair: RunPair | None, selected: SelectedRuns, notes: list[str]
) -> dict[str, Any]:
    """Returns the comparison in the form of the JSON output."""
    record: dict[str, Any] = {
        "by": table.metric,
        "test_data": selected.runs[0].test_digest,
        "verdict": table.verdict,
        "varied": list(table.varied),
        "configs": [_build_config_json(number, ranked, table) for number, ranked in enumerate(table.ranking.points, 1)],
        "left_out": {**selected.left_out, **table.left_out},
        "notes": notes,
    }
    if pair:
        record["pair"] = {
            "before": pair.first_label,
            "now": pair.second_label,
            "verdict": pair.format_verdict(),
            "p": pair.diff.p_value,
            "improved": pair.diff.improved.tolist(),
            "worsened": pair.diff.worsened.tolist(),
            "both_wrong": pair.diff.both_wrong,
            "by_class": [asdict(diff) for diff in pair.diff.group_by_class()],
        }
    return record


def _replace_nonfinite(value: float | None) -> float | None:
    """Returns None for a value that JSON cannot represent (NaN or infinity), else the value."""
    return value if value is not None and math.isfinite(value) else None


def _build_config_json(number: int, ranked: RankedPoint, table: ComparisonTable) -> dict[str, Any]:
    """Returns one config in the form of the JSON output. `number` is its rank, from 1."""
    runs = table.get_runs(ranked)
    return {
        "rank": number,
        "config": ranked.label,
        "tied_with_best": ranked.tied,
        "settings": {path: runs[0].params.get(path) for path in table.varied},
        "parameters": ranked.parameters or None,
        "seeds": ranked.n,
        "metrics": {
            name: {"mean": _replace_nonfinite(summary.mean), "std": _replace_nonfinite(summary.std)}
            for name, summary in table.summarize_metrics(ranked).items()
        },
        "runs": [
            {
                "run": run.run_id or run.reference,
                "name": run.name,
                "seed": run.seed,
                table.metric: run.metrics[table.metric],
            }
            for run in runs
        ],
    }

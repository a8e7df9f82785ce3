"""``trainyard compare``: compares runs in a table, as JSON, as CSV, and on an HTML page."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainyard.cli.app import StoreUri, complete_sweep
from trainyard.errors import ConfigError
from trainyard.system import print_heading, print_next_steps, print_styled

if TYPE_CHECKING:
    from trainyard.analysis import Comparison, Selection
    from trainyard.evaluation import RankedPoint
    from trainyard.tracking import TrackingStore


def compare(
    runs: Annotated[list[str] | None, typer.Argument(help="IDs or folders of runs.", metavar="RUN")] = None,
    *,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="Select the runs of this experiment.")] = None,
    sweep: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Select the trials of this sweep.", autocompletion=complete_sweep),
    ] = None,
    filter_string: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help="Select runs with an MLflow filter string; restricts the other selections.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="METRIC", help="Metric to compare by. [default: `accuracy/val`, else `accuracy/test`]"),
    ] = None,
    best: Annotated[int | None, typer.Option(min=1, metavar="N", help="Show only the N best configs.")] = None,
    test_data: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Select only runs whose test images have this digest.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all metrics as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line per config.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write an HTML page with learning curves, scores per class, and changed predictions."
        ),
    ] = None,
    uri: StoreUri = None,
) -> None:
    """Compare runs: settings, results, and whether the differences are significant.

    Select runs by their IDs or folders, or with --experiment, --sweep or --filter.

    Examples:
      trainyard compare --experiment quickstart
      trainyard compare --sweep widths --best 5
      trainyard compare RUN_ID OTHER_ID --html compared.html
    """
    from trainyard.analysis import Selection, check_page_path, compare_selection
    from trainyard.tracking import TrackingStore

    if as_json and as_csv:
        raise ConfigError("--json: cannot be combined with --csv. Remove one of them")
    if html is not None:
        check_page_path(html, "--html")
    selection = Selection(
        references=tuple(runs or ()),
        experiment=experiment,
        sweep=sweep,
        filter_string=filter_string,
        test_data=test_data,
    )
    store = TrackingStore.from_option(uri)
    comparison = compare_selection(selection, store, by=by, best=best, for_page=html is not None)
    if html is not None:
        comparison.write_page(html)
    if as_json:
        typer.echo(json.dumps(_build_json(comparison), indent=1))
    elif as_csv:
        _print_csv(comparison)
    else:
        _print_comparison(comparison, html)
        if html is None:
            print_next_steps({"page": _build_page_command(selection, by, best, store)})


def _print_comparison(comparison: Comparison, html: Path | None) -> None:
    """Prints the ranking, the verdict, the comparison of two runs, the notes, and the path of the page."""
    from trainyard.cli.sweep.tables import build_ranking_columns, print_ranking

    table, pair = comparison.table, comparison.pair
    points = table.ranking.points
    settings = list(dict.fromkeys(key for ranked in points for key in ranked.varied))
    runs_texts = [
        runs[0].run_id or runs[0].reference if len(runs) == 1 else f"{len(runs)} runs"
        for runs in map(table.get_runs, points)
    ]
    print_ranking(
        build_ranking_columns(table.ranking, "config", settings=settings, runs=runs_texts), table.ranking.objective
    )
    typer.echo()
    print_styled(table.verdict)
    if pair:
        print_heading(f"Image by image: {pair.first_label} → {pair.second_label}")
        print_styled(pair.format_verdict())
        for diff in sorted(pair.group_by_class(), key=lambda diff: diff.worsened - diff.improved):
            if diff.improved or diff.worsened:
                print_styled(f"  {diff.name}: {diff.improved} became correct, {diff.worsened} became wrong")
    for note in comparison.notes:
        print_styled(note, "dim")
    if html:
        print_styled(f"page  {os.path.relpath(html)}")


def _build_page_command(selection: Selection, by: str | None, best: int | None, store: TrackingStore) -> str:
    """Returns the command that writes the page of the same comparison."""
    from trainyard.runs import build_store_command

    options = {
        "--experiment": selection.experiment,
        "--sweep": selection.sweep,
        "--filter": selection.filter_string,
        "--test-data": selection.test_data,
        "--by": by,
        "--best": best,
        "--html": "compared.html",
    }
    words = [word for option, value in options.items() if value is not None for word in (option, str(value))]
    return build_store_command("compare", *selection.references, *words, uri=store.uri)


def _print_csv(comparison: Comparison) -> None:
    """Prints a CSV line per config: rank, label, settings that differ, seeds, mean and std of each metric, runs.

    The notes are printed to stderr.
    """
    from trainyard.reporting import format_value

    configs = _build_json(comparison)["configs"]
    names = sorted({name for config in configs for name in config["metrics"]})
    titles = [title for name in names for title in (name, f"{name} std")]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["rank", "config", *comparison.table.varied, "seeds", *titles, "runs"])
    for config in configs:
        settings = [
            value if isinstance(value, (int, float, str)) and not isinstance(value, bool) else format_value(value)
            for value in config["settings"].values()
        ]
        figures = [config["metrics"].get(name, {}).get(figure) for name in names for figure in ("mean", "std")]
        references = " ".join(run["run"] for run in config["runs"])
        writer.writerow([config["rank"], config["config"], *settings, config["seeds"], *figures, references])
    for note in comparison.notes:
        typer.echo(note, err=True)


def _build_json(comparison: Comparison) -> dict[str, Any]:
    """Returns the comparison in the form of the JSON output."""
    table, pair = comparison.table, comparison.pair
    record: dict[str, Any] = {
        "by": table.metric,
        "test_data": comparison.test_digest,
        "verdict": table.verdict,
        "varied": list(table.varied),
        "configs": [
            _build_config_json(number, ranked, comparison) for number, ranked in enumerate(table.ranking.points, 1)
        ],
        "left_out": dict(comparison.left_out),
        "notes": list(comparison.notes),
    }
    if pair:
        record["pair"] = {
            "before": pair.first_label,
            "now": pair.second_label,
            "verdict": pair.format_verdict(),
            "p": pair.p_value,
            "improved": pair.improved.tolist(),
            "worsened": pair.worsened.tolist(),
            "both_wrong": pair.both_wrong,
            "by_class": [asdict(diff) for diff in pair.group_by_class()],
        }
    return record


def _build_config_json(number: int, ranked: RankedPoint, comparison: Comparison) -> dict[str, Any]:
    """Returns one config in the form of the JSON output. `number` is its rank, from 1."""
    table, by = comparison.table, comparison.table.metric
    runs = table.get_runs(ranked)
    metrics = {name: summary._asdict() for name, summary in table.summarize_metrics(ranked).items()}
    return {
        "rank": number,
        "config": ranked.label,
        "range_test": ranked.result,
        "settings": {path: runs[0].params.get(path) for path in table.varied},
        "parameters": ranked.parameters or None,
        "seeds": ranked.n,
        "metrics": {  # JSON has no NaN and no infinity
            name: {figure: value if math.isfinite(value or 0) else None for figure, value in summary.items()}
            for name, summary in metrics.items()
        },
        "runs": [
            {"run": run.run_id or run.reference, "name": run.name, "seed": run.seed, by: run.metrics[by]}
            for run in runs
        ],
    }

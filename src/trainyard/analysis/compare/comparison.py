"""The comparison of selected runs: their table, the predictions of two runs image by image, and notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.analysis.compare.page import CURVE_METRICS, MAX_CURVES, write_comparison_page
from trainyard.analysis.compare.predictions import PredictionDiff, compare_two_runs
from trainyard.analysis.compare.selection import (
    SelectedRuns,
    Selection,
    check_same_images,
    format_left_out,
    select_runs,
)
from trainyard.analysis.compare.table import ComparisonTable, build_comparison_table, choose_metric
from trainyard.errors import ConfigError, TrainyardError
from trainyard.reporting import build_ranking_frame, render_ranking_html
from trainyard.tracking import RunRecord, TrackingStore

if TYPE_CHECKING:
    import pandas as pd

_PAIR = 2


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Comparison:
    """A comparison of selected runs.

    Attributes:
        pair: The comparison image by image; None unless there are exactly two runs with readable predictions.
        test_digest: Digest of the test images of the runs; None if it is unknown.
        left_out: Number of runs that are not in the table, by reason.
        notes: What limits the comparison, one line each.
    """

    table: ComparisonTable
    pair: PredictionDiff | None
    test_digest: str | None
    left_out: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Which configs differ significantly, in one or two sentences."""
        return self.table.verdict

    def to_frame(self) -> pd.DataFrame:
        """Returns a pandas DataFrame with a row per config, best first: settings, mean, interval, and test metrics."""
        return build_ranking_frame(self.table.ranking)

    def write_page(self, path: str | Path) -> None:
        """Writes an HTML page with the table, learning curves and changed predictions. The page needs no network.

        Raises:
            ConfigError: If the path is not that of an .html file in an existing folder.
        """
        check_page_path(Path(path), "write_page")
        write_comparison_page(Path(path), self.table, self.pair, self.notes)

    def __repr__(self) -> str:
        return f"<Comparison by {self.table.metric}: {self.verdict}>"

    def _repr_html_(self) -> str:
        """Returns the table and the verdict for a notebook."""
        return render_ranking_html(f"Comparison by {self.table.metric}", self.table.ranking)


def check_page_path(path: Path, setting: str) -> None:
    """Raises a ConfigError unless a path names an .html file in an existing folder."""
    if path.suffix.lower() not in (".html", ".htm") or not path.parent.is_dir() or path.is_dir():
        raise ConfigError(f"{setting}: expected an .html file in an existing folder, got {path}")


def compare_selection(
    selection: Selection,
    store: TrackingStore,
    *,
    by: str | None = None,
    best: int | None = None,
    for_page: bool = False,
) -> Comparison:
    """Compares the selected runs by a metric. None uses the first of `DEFAULT_METRICS` that all runs have.

    `best` is the number of configs in the table, best first; None keeps all. With `for_page`, the learning curves and
    test images that the HTML page shows are loaded.

    Raises:
        ConfigError: If no runs are selected, a run does not exist, or the runs cannot be compared.
        TrackingError: If the store is unreachable.
    """
    if not selection.references and not selection.is_search:
        raise ConfigError(
            "compare: expected ids or folders of runs, or --experiment NAME, --sweep NAME or --filter FILTER, got none"
        )
    selected = select_runs(selection, store)
    return _compare_selected(selected, by, best, separate_seeds=not selection.is_search, for_page=for_page)


def compare_records(runs: Sequence[RunRecord], *, by: str | None = None, best: int | None = None) -> Comparison:
    """Compares runs that are already loaded, with their learning curves; see `compare_selection`.

    Raises:
        ConfigError: If there are no finished runs, or the runs cannot be compared.
        TrackingError: If the store is unreachable.
    """
    distinct = {run.identity: run for run in runs}.values()
    left_out = Counter(run.status for run in distinct if run.status != "FINISHED")
    finished = [run for run in distinct if run.status == "FINISHED"]
    if not finished:
        raise ConfigError("compare: expected finished runs, got none")
    selected = SelectedRuns(check_same_images(finished, None, left_out), left_out)
    return _compare_selected(selected, by, best, separate_seeds=True, for_page=True)


def _compare_selected(
    selected: SelectedRuns, by: str | None, best: int | None, *, separate_seeds: bool, for_page: bool
) -> Comparison:
    """Compares runs with the same test images; see `compare_selection`."""
    if best is not None and best < 1:
        raise ConfigError(f"best: expected an integer of at least 1, got {best}")
    metric = by or choose_metric(selected.runs)
    runs = [run.restore_metric(metric) for run in selected.runs]
    table = build_comparison_table(runs, metric, separate_seeds=separate_seeds)
    if for_page:
        drawn = [run for ranked in table.ranking.points[:MAX_CURVES] for run in table.get_runs(ranked)]
        histories = {run.reference: list(run.load_history(CURVE_METRICS).values()) for run in drawn}
        table = build_comparison_table(runs, metric, histories, separate_seeds=separate_seeds)
    if best is not None:
        table = table.select_best(best)
    pair, notes = None, []
    labels = {run.reference: ranked.label for ranked in table.ranking.points for run in table.get_runs(ranked)}
    if len(labels) == _PAIR:
        first, second = (run for run in selected.runs if run.reference in labels)
        try:
            pair = compare_two_runs(first, second, labels, with_images=for_page)
        except TrainyardError as error:
            notes.append(f"Not compared image by image: {error}")
    if metric.endswith("/val") and "dataset.validation_fraction" in table.varied:
        notes.append(f"The configs differ in dataset.validation_fraction: {metric} was measured on different images.")
    left_out = {**selected.left_out, **table.left_out}
    if left_out:
        notes.append(f"Not shown: {format_left_out(left_out)}.")
    return Comparison(
        table=table, pair=pair, test_digest=selected.runs[0].test_digest, left_out=left_out, notes=tuple(notes)
    )

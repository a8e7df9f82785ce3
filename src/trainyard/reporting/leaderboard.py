"""The leaderboard of a sweep: its points, best first, as a table for MLflow, in Markdown, and for the sweep card."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from trainyard.evaluation import (
    CONFIDENCE_LEVEL,
    SIGNIFICANCE_LEVEL,
    TEST_METRICS,
    RangeTestResult,
    RankedPoint,
    Ranking,
    count_decimals,
)
from trainyard.reporting.formatting import format_duration, format_value
from trainyard.reporting.markdown import Table, escape_markdown
from trainyard.system import atomic_write

TABLE = "leaderboard.json"
MAX_CARD_ROWS = 500
"""Maximum number of points in the table of the card, to limit the size of the page."""
SHOWN_TEST_METRICS = TEST_METRICS[:2]


class TableCell(NamedTuple):
    """A cell of the card's table: its text, and the value that it is sorted by, if that is not the text."""

    text: str
    value: float | None = None
    heading: bool = False
    left: bool = False


class TableRow(NamedTuple):
    """A row of the card's table."""

    cells: list[TableCell]
    tied: bool
    pruned: bool


def write_leaderboard(folder: Path, ranking: Ranking) -> Path:
    """Writes the leaderboard in MLflow's table format atomically and returns the path of the file."""
    file = folder / TABLE
    with atomic_write(file) as partial:
        partial.write_text(json.dumps(build_table(ranking), indent=1) + "\n", encoding="utf-8")
    return file


def render_leaderboard_markdown(ranking: Ranking, n: int = 10) -> str:
    """Returns the top of the ranking as a Markdown table, for the description of the sweep's run in MLflow."""
    summary = [ranking.objective, "n"] if ranking.objective else []
    columns = ["", "point", *summary, "accuracy/test", "parameters", "time"]
    rows = []
    for number, point in enumerate(ranking.points[:n], 1):
        objective = [point.describe(), str(point.n)] if ranking.objective else []
        accuracy = _build_metric_cell(point, "accuracy/test").text
        size, time = f"{point.parameters:,}", format_duration(point.seconds)
        rows.append([str(number), escape_markdown(point.label), *objective, accuracy, size, time])
    more = f"\n\n… and {len(ranking.points) - n:,} more." if len(ranking.points) > n else ""
    return Table(columns, rows, text_columns=2).to_markdown() + more


# ------------------------------------------------------------------------------------------------------------
# The table


def build_table(ranking: Ranking) -> dict[str, list[Any]]:
    """Returns the table in MLflow's format: the column names, and the rows.

    The column of a setting is its path with slashes: the MLflow UI shows columns with a dot in the name as empty.
    """
    varied = _list_varied(ranking)
    objective = [ranking.objective, "std", "n", "low", "high"] if ranking.objective else ["n"]
    paths = [path.replace(".", "/") for path in varied]
    columns = ["rank", "trial", *paths, *objective, *SHOWN_TEST_METRICS, "parameters", "seconds", "runs"]
    rows = []
    for number, point in enumerate(ranking.points, 1):
        summary = [point.mean, point.std, point.n, point.low, point.high] if ranking.objective else [point.n]
        settings = [point.varied.get(path) for path in varied]
        settings = [format_value(value) if isinstance(value, (list, tuple)) else value for value in settings]
        metrics = [point.metrics.get(name) for name in SHOWN_TEST_METRICS]
        runs = " ".join(run.run_id for run in point.runs if run.run_id)
        figures = map(_round, [*summary, *metrics, point.parameters, point.seconds])
        rows.append([number, point.label, *settings, *figures, runs])
    return {"columns": columns, "data": rows}


def _list_varied(ranking: Ranking) -> list[str]:
    """Returns the paths of the swept settings, in the order of the sweep."""
    return list(dict.fromkeys(path for point in ranking.points for path in point.varied))


def _round(value: float | None) -> float | None:
    """Returns a number rounded to six significant digits."""
    return value if value is None or isinstance(value, int) else float(f"{value:.6g}")


# ------------------------------------------------------------------------------------------------------------
# For the card


def build_card_columns(ranking: Ranking) -> list[str]:
    """Returns the column titles of the card's table, in the order of the cells in a row."""
    interval = [f"{100 * CONFIDENCE_LEVEL:g} % interval"] if ranking.has_repeats else []
    objective = [ranking.objective, "n", *interval] if ranking.objective else ["n"]
    settings = [path.rpartition(".")[2] for path in _list_varied(ranking)]
    metrics = [name for name in SHOWN_TEST_METRICS if name != ranking.objective]
    sizes = ["parameters"] if _has_several_sizes(ranking) else []
    return ["#", "point", *settings, *objective, *metrics, *sizes, "time"]


def build_card_rows(ranking: Ranking) -> list[TableRow]:
    """Returns the top points as rows of the card's table."""
    build = partial(_build_row, ranking, _list_varied(ranking), has_sizes=_has_several_sizes(ranking))
    return [build(rank, point) for rank, point in enumerate(ranking.points[:MAX_CARD_ROWS], 1)]


def explain_ranking(ranking: Ranking) -> str:
    """Returns the explanation above the table."""
    if ranking.objective is None:
        return "In plan order."
    if not ranking.has_repeats:
        return "Each row has one seed, so it is unknown whether the differences are due to chance."
    spread = (
        "± is the standard deviation over the seeds. The interval is the "
        f"{100 * CONFIDENCE_LEVEL:g} % confidence interval of the mean."
    )
    sentences = [spread]
    if ranking.is_tested:
        overlap = (
            "Intervals can overlap although a difference is significant: the test compares results with the same seed, "
            "and pools the variances of the rows from the best to the tested one."
        )
        sentences = [*_explain_tests({point.result for point in ranking.points}), spread, overlap]
    elif len(ranking.points) > 1:
        sentences = ["There are too few seeds to test the differences, so they may be due to chance.", spread]
    if any(point.is_pruned for point in ranking.points):
        sentences.append("Points that were pruned are last, with the seeds that finished, and are not tested.")
    return " ".join(sentences)


def _explain_tests(results: Collection[RangeTestResult]) -> Iterator[str]:
    """Yields sentences about the results of the range test that a ranking has."""
    yield (
        "≈ marks the rows that do not differ significantly from the best "
        f"({100 * SIGNIFICANCE_LEVEL:g} % level; Tukey's range test, after subtraction of the effect of each seed). "
        "The test compares all rows together: among more rows, the same difference has a larger p-value."
    )
    if RangeTestResult.TOO_FEW_SEEDS in results:
        yield "? marks rows that have too few seeds to be tested."
    if RangeTestResult.WORSE in results:
        below = " The rows below it are not tested." if RangeTestResult.BELOW in results else ""
        yield f"Below the best row, the first row without a mark is significantly worse.{below}"


def describe_lead(ranking: Ranking) -> str:
    """Returns how far the best point is ahead of the second, and whether the difference is significant."""
    if len(ranking.points) < 2:  # noqa: PLR2004 - a lead needs a second point
        return ""
    best, second = ranking.points[:2]
    if second.is_pruned and not best.is_pruned:
        return "all other points were pruned"
    difference = abs(statistics.fmean(best.values) - statistics.fmean(second.values))
    if not difference and second.result is not RangeTestResult.WORSE:
        return f"none: {second.label} has the same value"
    lead = f"{difference:.4f} ahead of {second.label}"
    p_value = ranking.lead_p_value
    if p_value is None:
        return f"{lead}; too few seeds to test the difference, so it may be due to chance"
    significance = "not significant" if second.tied else "significant"
    p_text = "p > 0.99" if p_value > 0.99 else f"p = {p_value:.2g}"  # noqa: PLR2004 - would be rounded to 1
    return f"{lead}; {significance} (Tukey's range test of {ranking.n_compared:,} points, {p_text})"


def build_mark(ranking: Ranking, point: RankedPoint) -> str:
    """Returns the mark of a point in a table: ≈ if it is tied with others, ? if it has too few seeds, or empty."""
    if point.tied and ranking.n_tied > 1:
        return " ≈"
    return " ?" if point.result is RangeTestResult.TOO_FEW_SEEDS and ranking.is_tested else ""


def describe_tied(ranking: Ranking, noun: str = "point") -> tuple[str, str] | None:
    """Returns the number of points that do not differ significantly from the best, without it, and an explanation.

    Returns None if the best point is not tested against others. `noun` is what a point is called.
    """
    if not ranking.is_tested:
        return None
    others = ranking.n_tied - 1
    level = f"{100 * SIGNIFICANCE_LEVEL:g} % level"
    if not others:
        untested = {RangeTestResult.TOO_FEW_SEEDS, RangeTestResult.PRUNED}
        scope = " that was tested" if any(point.result in untested for point in ranking.points) else ""
        return "0", f"the best is significantly better than every other {noun}{scope} ({level})"
    return f"{others:,}", f"other {noun}{'' if others == 1 else 's'} not significantly worse than the best ({level})"


def describe_smaller_point(ranking: Ranking) -> str:
    """Returns the smallest model that is not significantly worse than the best, by its number of parameters.

    Returns empty text if the best is not tested against others, or has the fewest parameters. A number of 0 is unknown.
    """
    best, *others = ranking.points
    smaller = [point for point in others if point.tied and 0 < point.parameters < best.parameters]
    if not smaller:
        return ""
    smallest = min(smaller, key=lambda point: point.parameters)
    return (
        f"{smallest.label}: {smallest.describe()}, {smallest.parameters:,} parameters instead of {best.parameters:,}. "
        "It is not shown to be worse than the best, but it is not shown to be equal either: more seeds can show a "
        "difference"
    )


def _build_row(ranking: Ranking, varied: Sequence[str], rank: int, point: RankedPoint, *, has_sizes: bool) -> TableRow:
    """Returns a point as a row of the card's table.

    `varied` are the paths of the settings, and `rank` is counted from 1, the best point first. With `has_sizes`, the
    row has the number of parameters.
    """
    summary = [TableCell(f"{point.n}, pruned" if point.is_pruned else str(point.n), point.n)]
    if point.mean is not None:
        ends = [f"{end:.{count_decimals(point.mean)}f}" for end in (point.low, point.high) if end is not None]
        interval = [TableCell(" to ".join(ends), _round(point.low))] if ranking.has_repeats else []
        summary = [TableCell(point.describe(), _round(point.mean), left=True), *summary, *interval]
    return TableRow(
        [
            TableCell(f"{rank}{build_mark(ranking, point)}", rank),
            TableCell(point.label, heading=True),
            *(_build_setting_cell(point.varied.get(path)) for path in varied),
            *summary,
            *(_build_metric_cell(point, name) for name in SHOWN_TEST_METRICS if name != ranking.objective),
            *([TableCell(f"{point.parameters:,}", point.parameters)] if has_sizes else []),
            TableCell(format_duration(point.seconds) if point.seconds else "", round(point.seconds, 2)),
        ],
        point.tied and ranking.is_tested,
        point.is_pruned,
    )


def _build_setting_cell(value: Any) -> TableCell:  # noqa: ANN401 - any value of a config
    """Returns the value of a setting as a cell. Numbers are right-aligned and rounded. None gives an empty cell."""
    if isinstance(value, float):
        return TableCell(f"{value:.4g}", value)
    return TableCell("" if value is None else format_value(value), left=isinstance(value, (str, bool, list, tuple)))


def _has_several_sizes(ranking: Ranking) -> bool:
    """Returns whether the models of the points have different numbers of parameters."""
    return len({point.parameters for point in ranking.points}) > 1


def _build_metric_cell(point: RankedPoint, name: str) -> TableCell:
    """Returns the mean of a test metric as a cell, which is empty if the point does not have the metric."""
    value = point.metrics.get(name)
    return TableCell("" if value is None else f"{value:.4f}")

"""The leaderboard of a sweep: its points, the best first, as a table for MLflow, in Markdown and for the sweep card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainyard.evaluation.ranking import CONFIDENCE, LEVEL, TEST_METRICS, Place, Ranking, decimals
from trainyard.reporting.formatting import show_seconds, show_value
from trainyard.system.files import whole_file

TABLE = "leaderboard.json"
MOST_ROWS = 500
"""What the card shows of the points; more would make it heavy and nobody reads them."""
SHOWN_TEST_METRICS = TEST_METRICS[:2]


class Cell(NamedTuple):
    """A cell of the card's table: its text, and what it is sorted by where that is not the text."""

    text: str
    value: float | None = None
    heading: bool = False
    left: bool = False


class Row(NamedTuple):
    """A row of the card's table."""

    cells: list[Cell]
    tied: bool


def write_table(folder: Path, ranking: Ranking) -> Path:
    """Writes the table that MLflow shows, whole or not at all, and returns its file.

    Args:
        folder: Where it is written; it is there.
        ranking: Of the trials that came to their end.
    """
    file = folder / TABLE
    with whole_file(file) as partial:
        partial.write_text(json.dumps(_table(ranking), indent=1) + "\n", encoding="utf-8")
    return file


def markdown_table(ranking: Ranking, n: int = 10) -> str:
    """Returns the first places as a table in Markdown, for the note of the sweep's run in MLflow.

    Args:
        ranking: Of a sweep.
        n: How many places at most.
    """
    columns = [
        "",
        "trial",
        *([ranking.objective, "n"] if ranking.objective else []),
        "accuracy/test",
        "parameters",
        "time",
    ]
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    for number, place in enumerate(ranking.places[:n], 1):
        objective = [place.describe(), str(place.n)] if ranking.objective else []
        row = [str(number), _escape(place.label), *objective, _metric(place, "accuracy/test").text]
        lines.append(f"| {' | '.join([*row, f'{place.parameters:,}', show_seconds(place.seconds)])} |")
    if len(ranking.places) > n:
        lines.append(f"\n… and {len(ranking.places) - n:,} more.")
    return "\n".join(lines)


def _escape(text: str) -> str:
    """Returns a text as a cell of a Markdown table shows it literally."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>()#|~$" else letter for letter in text)


# ------------------------------------------------------------------------------------------------------------
# The table


def _table(ranking: Ranking) -> dict[str, list[Any]]:
    """Returns the table in the form that MLflow shows: the columns' names, and the rows.

    A setting's column is its path with slashes: MLflow's page leaves a column empty that has a dot in its name.
    """
    varied = _varied(ranking)
    objective = [ranking.objective, "std", "n", "low", "high"] if ranking.objective else ["n"]
    settings = [path.replace(".", "/") for path in varied]
    columns = ["rank", "trial", *settings, *objective, *SHOWN_TEST_METRICS, "parameters", "seconds", "runs"]
    rows = []
    for number, place in enumerate(ranking.places, 1):
        figures = [place.mean, place.std, place.n, place.low, place.high] if ranking.objective else [place.n]
        runs = [result.run_id for _, result in place.trials if result.run_id]
        rows.append(
            [
                number,
                place.label,
                *(_scalar(place.varied.get(path)) for path in varied),
                *map(_rounded, figures),
                *(_rounded(place.metrics.get(name)) for name in SHOWN_TEST_METRICS),
                place.parameters,
                _rounded(place.seconds),
                " ".join(runs),
            ]
        )
    return {"columns": columns, "data": rows}


def _varied(ranking: Ranking) -> list[str]:
    """Returns the settings that vary, in the order of the sweep."""
    return list(dict.fromkeys(path for place in ranking.places for path in place.varied))


def _scalar(value: Any) -> Any:  # noqa: ANN401 - any value of a config
    """Returns a value that a cell can hold; a list becomes its text."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else show_value(value)


def _rounded(value: float | None) -> float | None:
    """Returns a figure with as many digits as are of use."""
    return value if value is None or isinstance(value, int) else float(f"{value:.6g}")


# ------------------------------------------------------------------------------------------------------------
# For the card


def card_columns(ranking: Ranking) -> list[str]:
    """Returns the heads of the card's table, in the order of the cells of a row."""
    objective = [ranking.objective, "n", f"{100 * CONFIDENCE:g} % interval"] if ranking.objective else ["n"]
    settings = [path.rpartition(".")[2] for path in _varied(ranking)]
    return ["#", "trial", *settings, *objective, *_shown_metrics(ranking), "parameters", "time"]


def card_rows(ranking: Ranking) -> list[Row]:
    """Returns the first places as rows of the card's table."""
    varied = _varied(ranking)
    return [_row(number, place, varied, ranking) for number, place in enumerate(ranking.places[:MOST_ROWS], 1)]


def _shown_metrics(ranking: Ranking) -> list[str]:
    """Returns the test metrics of the card's table; what is compared has a column already."""
    return [name for name in SHOWN_TEST_METRICS if name != ranking.objective]


def explain(ranking: Ranking) -> str:
    """Returns what stands above the table."""
    if ranking.objective is None:
        return "In the order of the plan."
    if not ranking.repeated:
        return "One seed each, so that nothing tells differences from chance."
    return (
        f"≈ marks what can't be told from the best at {100 * LEVEL:g} %: t-tests, paired by seed where seeds are "
        "shared, corrected for their number (Holm). ± is the standard deviation over the seeds; the interval holds the "
        f"true mean {100 * CONFIDENCE:g} times in 100 (Student's t)."
    )


def _row(number: int, place: Place, varied: Sequence[str], ranking: Ranking) -> Row:
    """Returns a place as a row of the page's table."""
    marked = place.tied and ranking.repeated
    figures = [Cell(str(place.n))]
    if place.mean is not None:
        ends = [f"{end:.{decimals(place.mean)}f}" for end in (place.low, place.high) if end is not None]
        figures = [Cell(place.describe(), _rounded(place.mean)), *figures, Cell(" to ".join(ends), _rounded(place.low))]
    return Row(
        [
            Cell(f"{number} ≈" if marked else f"{number}", number),
            Cell(place.label, heading=True),
            *(_cell_of_setting(place.varied.get(path)) for path in varied),
            *figures,
            *(_metric(place, name) for name in _shown_metrics(ranking)),
            Cell(f"{place.parameters:,}" if place.parameters else "", place.parameters),
            Cell(show_seconds(place.seconds) if place.seconds else "", round(place.seconds, 2)),
        ],
        marked,
    )


def _cell_of_setting(value: Any) -> Cell:  # noqa: ANN401 - any value of a config
    """Returns a setting's value as a cell, a number to the right."""
    return Cell("" if value is None else show_value(value), left=isinstance(value, (str, bool, list, tuple)))


def _metric(place: Place, name: str) -> Cell:
    """Returns the mean of a test metric."""
    value = place.metrics.get(name)
    return Cell("" if value is None else f"{value:.4f}")

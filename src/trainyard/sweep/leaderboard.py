"""The leaderboard of a sweep: a table that MLflow shows, and a page that tells a colleague what came out.

The page is a single HTML file that holds its pictures and needs no network. Its few lines of script sort the table;
where scripts are off the rows stand as they are ranked.

Before it: ranking, plots, report, wholefiles. After it: conduct, which has them written and logged.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from trainyard import plots
from trainyard.report import embed, page_templates, show_seconds, show_value
from trainyard.sweep.ranking import CONFIDENCE, LEVEL, TEST_METRICS, Place, Ranking, decimals
from trainyard.sweep.trials import Trial
from trainyard.wholefiles import whole_file

if TYPE_CHECKING:
    from trainyard.report import Picture

TABLE, PAGE = "leaderboard.json", "leaderboard.html"
TEMPLATE, SCRIPT = "leaderboard.html", "leaderboard.js"
MOST_ROWS, MOST_FAILED = 500, 100
"""What the page shows of the points and of the failed trials; more would make it heavy and nobody reads them."""
SHOWN_TEST_METRICS = TEST_METRICS[:2]


class Cell(NamedTuple):
    """A cell of the page's table: its text, and what it is sorted by where that is not the text."""

    text: str
    value: float | None = None
    heading: bool = False
    left: bool = False


class Row(NamedTuple):
    """A row of the page's table."""

    cells: list[Cell]
    tied: bool


def write_leaderboard(
    folder: Path, name: str, ranking: Ranking, failed: Sequence[tuple[Trial, str]] = (), unfinished: int = 0
) -> list[Path]:
    """Writes the table, the pictures and the page, each whole or not at all.

    Args:
        folder: Where they are written; it is there.
        name: Of the sweep.
        ranking: Of the trials that came to their end.
        failed: Those that did not, each with its reason in one line.
        unfinished: How many trials were not begun, or were broken off.

    Returns:
        The files: leaderboard.json, leaderboard.html, and the pictures that apply.
    """
    with whole_file(folder / TABLE) as partial:
        partial.write_text(json.dumps(_table(ranking), indent=1) + "\n", encoding="utf-8")
    drawn = _draw_pictures(folder, ranking)
    pictures = [embed(caption, file) for caption, file in drawn.items()]
    with whole_file(folder / PAGE) as partial:
        partial.write_text(_render(name, ranking, failed, unfinished, pictures), encoding="utf-8")
    return [folder / TABLE, folder / PAGE, *drawn.values()]


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
    """Returns the table in the form that MLflow shows: the columns' names, and the rows."""
    varied = _varied(ranking)
    objective = [ranking.objective, "std", "n", "low", "high"] if ranking.objective else ["n"]
    columns = ["rank", "trial", *varied, *objective, *SHOWN_TEST_METRICS, "parameters", "seconds", "runs"]
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
# The page


def _draw_pictures(folder: Path, ranking: Ranking) -> dict[str, Path]:
    """Draws the pictures that apply to this sweep, and removes earlier ones that don't any more.

    Returns:
        Their files, by caption.
    """
    drawings: dict[str, tuple[str, Callable[[Path], bool]]] = {
        "The first places": ("ranking.png", lambda path: plots.draw_ranking(ranking, path)),
        "What the settings do": ("settings.png", lambda path: plots.draw_grid(ranking, path)),
        "Learning curves": (
            "learning_curves.png",
            lambda path: plots.draw_curves(ranking.places, ranking.objective, path),
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


def _render(
    name: str, ranking: Ranking, failed: Sequence[tuple[Trial, str]], unfinished: int, pictures: Sequence[Picture]
) -> str:
    """Returns the page."""
    templates, varied = page_templates(), _varied(ranking)
    script = templates.get_template(SCRIPT).render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return templates.get_template(TEMPLATE).render(
        name=name,
        ranking=ranking,
        headline=_headline(ranking, len(failed), unfinished),
        explanation=_explain(ranking),
        columns=_columns(ranking, varied),
        rows=[_row(number, place, varied, ranking) for number, place in enumerate(ranking.places[:MOST_ROWS], 1)],
        left_out=max(len(ranking.places) - MOST_ROWS, 0),
        pictures=pictures,
        failed=failed[:MOST_FAILED],
        failed_left_out=max(len(failed) - MOST_FAILED, 0),
        script_digest=f"sha256-{digest}",
    )


def _headline(ranking: Ranking, failed: int, unfinished: int) -> dict[str, tuple[str, str]]:
    """Returns the figures that a reader wants first, each with a few words on it."""
    figures = {}
    if ranking.objective and ranking.places:
        best = ranking.places[0]
        mean, _, std = best.describe().partition(" ± ")
        figures[f"Best {ranking.objective}"] = (mean, f"± {std} over {best.n} seeds" if std else "one seed")
    finished = sum(place.n for place in ranking.places)
    seconds = sum(place.seconds * place.n for place in ranking.places)
    return {
        **figures,
        "Points": (f"{len(ranking.places):,}", "settings compared"),
        "Finished": (f"{finished:,}", f"trials, {show_seconds(seconds)} of work"),
        "Failed": (f"{failed:,}", "trials; their reasons are below" if failed else "trials"),
        "Not finished": (f"{unfinished:,}", "trials, not begun or broken off" if unfinished else "trials"),
    }


def _explain(ranking: Ranking) -> str:
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


def _columns(ranking: Ranking, varied: Sequence[str]) -> list[str]:
    """Returns the heads of the page's table, in the order of the cells of a row."""
    objective = [ranking.objective, "n", f"{100 * CONFIDENCE:g} % interval"] if ranking.objective else ["n"]
    return [
        "#",
        "trial",
        *(path.rpartition(".")[2] for path in varied),
        *objective,
        *SHOWN_TEST_METRICS,
        "parameters",
        "time",
    ]


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
            *(_metric(place, name) for name in SHOWN_TEST_METRICS),
            Cell(f"{place.parameters:,}", place.parameters),
            Cell(show_seconds(place.seconds), round(place.seconds, 2)),
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

"""Tables for notebooks: rankings and runs as HTML and as pandas frames."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from trainyard.evaluation import Ranking
from trainyard.reporting.leaderboard import build_card_columns, build_card_rows, build_table

if TYPE_CHECKING:
    import pandas as pd

_MAX_ROWS = 20


def render_html_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns an HTML table with the first rows, and the number of the rows that are left out."""
    head = "".join(f"<th>{escape(text)}</th>" for text in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows[:_MAX_ROWS])
    note = f"<p>and {len(rows) - _MAX_ROWS:,} more</p>" if len(rows) > _MAX_ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def render_ranking_html(title: str, ranking: Ranking) -> str:
    """Returns the title, the table and the verdict of a ranking as HTML."""
    rows = [[cell.text for cell in row.cells] for row in build_card_rows(ranking)]
    table = render_html_table(build_card_columns(ranking), rows)
    return f"<p><b>{escape(title)}</b></p>{table}<p>{escape(ranking.format_verdict())}</p>"


def build_ranking_frame(ranking: Ranking) -> pd.DataFrame:
    """Returns a ranking as a pandas DataFrame with a row per point, best first, and a column per varied setting."""
    import pandas as pd

    table = build_table(ranking)
    paths = {path.replace(".", "/"): path for point in ranking.points for path in point.varied}
    return pd.DataFrame(table["data"], columns=table["columns"]).set_index("rank").rename(columns=paths)

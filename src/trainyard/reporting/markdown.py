"""Tables, and how they are written in Markdown: for the pages that are generated from results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column is text, the others are figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_markdown(self) -> str:
        """Returns the table in Markdown, figures aligned to the right."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = ([cell.replace("|", "\\|") for cell in line] for line in (self.columns, rule, *self.rows))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

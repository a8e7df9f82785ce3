"""Markdown tables for pages that are generated from results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column is text, and whose other columns are numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_markdown(self) -> str:
        """Returns the table as Markdown, with numbers aligned to the right."""
        separator = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = ([cell.replace("|", "\\|") for cell in line] for line in (self.columns, separator, *self.rows))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

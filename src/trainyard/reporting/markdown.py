"""Markdown tables for pages that are generated from results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first columns, `text_columns`, are text, and whose other columns are numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1

    def to_markdown(self) -> str:
        """Returns the table as Markdown, with numbers aligned to the right. Pipes are escaped, other markup is kept."""
        separator = ["---" if number < self.text_columns else "---:" for number in range(len(self.columns))]
        lines = ([cell.replace("|", "\\|") for cell in line] for line in (self.columns, separator, *self.rows))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape_markdown(text: str) -> str:
    """Returns a text for a cell of a `Table` in which no character has a special meaning."""
    return "".join(f"\\{character}" if character in "\\`*_{}[]<>()#~$" else character for character in text)

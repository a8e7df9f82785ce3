"""Prints errors and headings in the terminal."""

from __future__ import annotations

import contextlib


def print_error(error: BaseException) -> None:
    """Prints an error to stderr, one line per problem. Lines are not wrapped, and brackets are not read as markup.

    If stderr can't be written, for example because it is a file on a full disk, the error is not printed.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    lines = str(error).splitlines() or [type(error).__name__]
    with contextlib.suppress(OSError):
        console.print(Text.assemble(("error ", "bold red"), lines[0]))
        for line in lines[1:]:
            console.print(Text("      " + line))


def print_styled(text: str, style: str = "") -> None:
    """Prints text in a style of Rich, which respects NO_COLOR. In a terminal, lines are wrapped between words."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)


def print_heading(text: str) -> None:
    """Prints a heading after an empty line."""
    print_styled(f"\n{text}", "bold underline")

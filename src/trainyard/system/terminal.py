"""Prints text, tables, errors and commands. Without a terminal, the output is plain lines, never wrapped."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_LABEL_WIDTH = 10
"""The width of the labels of lines, with the space behind them."""
_SHELL_WORD = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""")
"""A word of a command, with its quoted parts."""


def print_error(error: BaseException) -> None:
    """Prints an error to stderr, one line per problem; see `print_wrapped`. Brackets are not read as markup.

    If stderr can't be written, for example because it is a file on a full disk, the error is not printed.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    lines = str(error).splitlines() or [type(error).__name__]
    with contextlib.suppress(OSError):
        for number, line in enumerate(lines):
            label = Text(" " * len("error ")) if number else Text("error ", "bold red")
            print_wrapped(console, Text(line), label)


def print_styled(text: str, style: str = "", *, console: Console | None = None) -> None:
    """Prints text in a style of Rich, which respects NO_COLOR. In a terminal, lines are wrapped between words."""
    from rich.console import Console
    from rich.text import Text

    for line in text.split("\n"):
        print_wrapped(console or Console(highlight=False), Text(line, style))


def print_heading(text: str) -> None:
    """Prints a heading after an empty line."""
    print_styled(f"\n{text}", "bold underline")


def print_labelled(console: Console, title: str, text: str, style: str = "") -> None:
    """Prints a line behind a short title; see `print_wrapped`."""
    from rich.text import Text

    print_wrapped(console, Text(text, style), Text(f"{title:{_LABEL_WIDTH - 1}} ", "dim"))


def print_next_steps(commands: Mapping[str, str], *, console: Console | None = None) -> None:
    """Prints the commands that a user may want to type next, each behind a short title; nothing if there are none.

    In a terminal, commands that are too long for a line are printed below their titles, and continued with backslashes,
    so that they can be copied.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    console = console or Console(highlight=False)
    width = max(map(cell_len, commands.values()), default=0) + _LABEL_WIDTH
    below = console.is_terminal and width > console.width
    if commands:
        console.print(Text("\nNext steps", "bold"))
    for title, command in commands.items():
        if below:
            console.print(Text(title, "dim"))
            console.print(Text(f"  {continue_command(command, console.width - 2)}"), soft_wrap=True)
        else:
            console.print(Text.assemble((f"{title:{_LABEL_WIDTH - 1}} ", "dim"), command), soft_wrap=True)


def continue_command(command: str, width: int) -> str:
    """Returns a command on several lines of at most `width` characters, continued with backslashes.

    Words are not broken, so a line with a longer word is longer.
    """
    lines = [""]
    for word in _SHELL_WORD.findall(command):
        if lines[-1] and len(f"{lines[-1]} {word} \\") > width:
            lines.append(f"    {word}")
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return " \\\n".join(lines)


def print_wrapped(console: Console, text: Text, label: Text | None = None) -> None:
    """Prints one line of text, with an optional label before it.

    In a terminal, the text is wrapped between words and indented by the width of the label. Longer words than a line,
    such as paths, are not broken, so that they can be copied.
    """
    from rich.cells import cell_len
    from rich.text import Text

    label = label or Text()
    longest_word = max(map(cell_len, text.plain.split()), default=0)
    if not console.is_terminal or longest_word > console.width - label.cell_len:
        text, label = Text.assemble(label, text), Text()
    if not console.is_terminal:
        console.print(text, soft_wrap=True)
        return
    prefix = label
    for line in text.divide(_find_line_starts(text.plain, console.width - label.cell_len)):
        line.rstrip()
        console.print(Text.assemble(prefix, line), soft_wrap=True)
        prefix = Text(" " * label.cell_len)


def _find_line_starts(text: str, width: int) -> list[int]:
    """Returns the offsets at which the second and later lines start, if a text is wrapped between words."""
    from rich.cells import cell_len

    starts, used = [], 0
    for match in re.finditer(r"(\s*)(\S+)", text):
        used += cell_len(match[0])
        if used > width and match.start():
            starts.append(match.start(2))
            used = cell_len(match[2])
    return starts


def print_rows(table: Table, *, console: Console | None = None) -> None:
    """Prints a table. If a terminal is too narrow for its longest words, prints a block of labelled lines per row."""
    from rich.console import Console
    from rich.text import Text

    console = console or Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)  # no wrapping in files
    unlimited = console.options.update(max_width=10_000)
    if not console.is_terminal or console.measure(table, options=unlimited).minimum <= console.width:
        console.print(table)
        return
    indent = Text("  ")
    titles = [str(column.header) for column in table.columns[1:]]
    for first, *others in zip(*(column.cells for column in table.columns), strict=True):
        print_wrapped(console, Text(str(first), "bold"))
        for title, cell in zip(titles, others, strict=True):
            if str(cell):
                print_wrapped(console, Text.assemble((f"{title} ", "dim"), str(cell)), indent)

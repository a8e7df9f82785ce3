"""Prints the help of commands in one form, which fits the width of the terminal."""

from __future__ import annotations

import inspect
import re
from typing import Any

from rich.console import Console
from rich.text import Text

from trainyard.system import continue_command, print_wrapped

_ITEM = re.compile(r"(  \S.*?  +)(\S.*)")
"""An indented line: a name, then after two or more spaces its description."""
_MIN_TEXT_WIDTH = 24
_EXAMPLES = "Examples:"
"""The line of a docstring that begins the examples."""


def print_command_help(command: Any, context: Any) -> None:  # noqa: ANN401 - Typer's copies of Click's classes
    """Prints the usage of a command, its docstring, and its arguments, options and subcommands."""
    description, _, examples = inspect.cleandoc(command.help or "").partition(f"{_EXAMPLES}\n")
    paragraphs = [" ".join(paragraph.split()) for paragraph in description.split("\n\n") if paragraph.strip()]
    usage = re.sub(r"\{(\w+)\}", r"\1", " ".join(context.get_usage().split()))
    parameters = command.get_params(context)
    arguments = [parameter for parameter in parameters if parameter.param_type_name == "argument"]
    options = [parameter for parameter in parameters if parameter.param_type_name == "option"]
    subcommands = [command.get_command(context, name) for name in getattr(command, "commands", {})]
    parts = [
        usage,
        *paragraphs,
        *([f"Examples\n{examples.rstrip()}"] if examples else []),
        *_list_items(
            "Arguments", {parameter.metavar or str(parameter.name): parameter.help or "" for parameter in arguments}
        ),
        *_list_items("Commands", {sub.name: sub.get_short_help_str(1000) for sub in subcommands if not sub.hidden}),
        *_list_items("Options", dict(parameter.get_help_record(context) for parameter in options)),
    ]
    print_help("\n\n".join(parts).replace("`", ""))


def _list_items(title: str, items: dict[str, str]) -> list[str]:
    """Returns a section of the help with a line per item; an empty list if there are no items."""
    names = {re.sub(r"[{}\[\]]|\.\.\.$", "", name): text for name, text in items.items()}
    width = max(map(len, names), default=0)
    lines = [f"  {name:{width}}  {text}" for name, text in names.items()]
    return ["\n".join([title, *lines])] if lines else []


def print_help(text: str) -> None:
    """Prints a help text, wrapped between words in a terminal. The usage and the titles above indented lines are bold.

    In a narrow terminal, a description is below the name that it belongs to, and example commands are continued with
    backslashes, so that they can be copied.
    """
    console = Console(highlight=False)
    lines = text.split("\n")
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        is_title = line.startswith("Usage") or (line[:1].strip() and following.startswith("  "))
        item = _ITEM.fullmatch(line)
        if line.startswith("  trainyard ") and console.is_terminal:
            console.print(Text(f"  {continue_command(line.strip(), console.width - 2)}"), soft_wrap=True)
        elif item is None:
            indent = re.match(" *", line)
            label = Text(indent[0] if indent else "")
            print_wrapped(console, Text(line.strip(), "bold" if is_title else ""), label)
        elif console.is_terminal and console.width - len(item[1]) < _MIN_TEXT_WIDTH:
            print_wrapped(console, Text(item[1].strip()), Text("  "))
            print_wrapped(console, Text(item[2]), Text(" " * 6))
        else:
            print_wrapped(console, Text(item[2]), Text(item[1]))

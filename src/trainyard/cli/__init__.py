"""The command line: argv, what is printed, and exit codes. What the commands do stands in the modules above."""

from __future__ import annotations

import sys
from typing import Any

import typer

from trainyard.cli import (
    run_commands,  # noqa: F401 - they register the commands
    tool_commands,  # noqa: F401 - they register the commands
)
from trainyard.cli.app import app
from trainyard.cli.screen import print_error
from trainyard.errors import ConfigError
from trainyard.system.garbage import process_is_ours, spare_the_last_collection


def main() -> None:
    """Runs the command line and exits."""
    process_is_ours()
    for word in sys.argv[1:2]:
        if "=" in word and not word.startswith("-"):
            print_error(ConfigError(f"{word!r} is no command. Did you mean 'trainyard train {word}'?"))
            raise SystemExit(ConfigError.exit_code)
    command = typer.main.get_command(app)
    _leave_out_bool(command, None)
    try:
        command()
    finally:
        spare_the_last_collection()


def _leave_out_bool(command: Any, parent: typer.Context | None) -> None:  # noqa: ANN401 - a command of typer
    """Takes the `<bool>` that Typer puts beside flags, which take nothing, out of the help of all commands."""
    context = typer.Context(command, parent=parent, **command.context_settings)
    for option in command.get_params(context):
        if getattr(option, "is_flag", False):
            option.metavar = ""
    for inner in getattr(command, "commands", {}).values():
        _leave_out_bool(inner, context)

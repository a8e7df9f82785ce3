"""The command line: arguments, printed output and exit codes. Other packages do the work."""

from __future__ import annotations

import sys
from typing import Any

import typer

from trainyard.cli import (
    run_commands,  # noqa: F401 - they register the commands
    tool_commands,  # noqa: F401 - they register the commands
)
from trainyard.cli.app import app
from trainyard.errors import ConfigError
from trainyard.system import freeze_gc_at_exit, mark_process_owned, print_error


def main() -> None:
    """Runs the command line and exits."""
    mark_process_owned()
    for word in sys.argv[1:2]:
        if "=" in word and not word.startswith("-"):
            print_error(ConfigError(f"{word!r} is not a command. Did you mean 'trainyard train {word}'?"))
            raise SystemExit(ConfigError.exit_code)
    command = typer.main.get_command(app)
    _remove_bool_metavar(command, None)
    try:
        command()
    finally:
        freeze_gc_at_exit()


def _remove_bool_metavar(command: Any, parent: typer.Context | None) -> None:  # noqa: ANN401 - a Click command
    """Removes the `<bool>` that Typer shows for flags from the help of all commands: flags take no value."""
    context = typer.Context(command, parent=parent, **command.context_settings)
    for option in command.get_params(context):
        if getattr(option, "is_flag", False):
            option.metavar = ""
    for subcommand in getattr(command, "commands", {}).values():
        _remove_bool_metavar(subcommand, context)

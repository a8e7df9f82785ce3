"""The Typer application, the translation of errors into a message and an exit code, and what several commands share.

Exit codes: 0 success, 1 an error during the work, 2 the command or the config is invalid, 3 a claim is contradicted, a
target is missed or a rerun is not confirmed, 4 a claim is undecided, 128 + n a signal stopped the process (130:
SIGINT).
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from trainyard.errors import TrainyardError, describe_interrupt, find_exit_code
from trainyard.system import ignore_signals, print_error, raise_on_signals

_HELP = """Train, compare and verify Keras experiments that are described in YAML.

Start with the first example, which needs no download. The help of a command: trainyard COMMAND --help

Examples:
  trainyard train experiment=quickstart
  trainyard compare --experiment quickstart
  trainyard ui
"""

RunReference = Annotated[str, typer.Argument(help="ID or folder of the run.", metavar="RUN")]
StoreUri = Annotated[
    str | None,
    typer.Option("--uri", metavar="URI", help="Tracking store. [default: the store of the runs in this folder]"),
]


class _PlainHelp:
    """Prints the help of a command in the form of `print_command_help`."""

    def format_help(self, context: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002 - Typer's copies of Click's classes
        from trainyard.cli.command_help import print_command_help

        print_command_help(self, context)


class CommandGroup(_PlainHelp, TyperGroup):
    """A command with subcommands."""


class _Command(_PlainHelp, TyperCommand):
    """A command without subcommands."""


app = typer.Typer(
    name="trainyard",
    cls=CommandGroup,
    help=_HELP,
    context_settings={"help_option_names": ["--help", "-h"]},
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


@contextlib.contextmanager
def exit_on_error() -> Iterator[None]:
    """Prints an error as a short message, without a traceback, and exits with the exit code of its class."""
    try:
        yield
    except TrainyardError as error:
        print_error(error)
        raise typer.Exit(error.exit_code) from error
    except typer.Exit:
        raise
    except Exception as error:
        from trainyard.config import describe_error

        print_error(TrainyardError(describe_error(error)))
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        ignore_signals()
        print_error(TrainyardError(describe_interrupt(error)))
        raise typer.Exit(find_exit_code(error)) from error


def add_command(
    function: Callable[..., int | None],
    *,
    to: typer.Typer = app,
    raise_signals: bool = True,
    **settings: Any,  # noqa: ANN401 - Typer's
) -> None:
    """Registers a function as a command.

    Args:
        function: The command. Its result is the exit code; None is 0.
        to: The group of the command.
        raise_signals: Whether a signal raises an exception in the function. If False, it ends the process immediately,
            except where the function itself uses `raise_on_signals`.
        settings: Settings of Typer.
    """
    signals_raised = raise_on_signals if raise_signals else contextlib.nullcontext

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> None:  # noqa: ANN401 - the parameters of the function
        with exit_on_error():
            with signals_raised():
                exit_code = function(*arguments, **options)
            raise typer.Exit(exit_code or 0)

    to.command(cls=_Command, **settings)(run)


@app.callback(invoke_without_command=True)
def _print_version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Prints the version and exits, if the option ``--version`` is given."""
    if show:
        typer.echo(f"trainyard {version('trainyard')}")
        raise typer.Exit


def complete_sweep() -> list[str]:
    """Returns the names of the sweeps in this folder. Typer selects those that complete a word."""
    from trainyard.sweep import list_sweeps

    return [folder.path.name for folder in list_sweeps()]


def complete_path(incomplete: str) -> list[str]:
    """Returns the files and folders whose path completes a word; folders end with a slash."""
    head, tail = os.path.split(incomplete)
    paths = []
    with contextlib.suppress(OSError):
        for path in sorted(Path(head or ".").expanduser().iterdir()):
            hidden = path.name.startswith(".") and not tail.startswith(".")
            if path.name.startswith(tail) and not hidden:
                paths.append(os.path.join(head, path.name) + ("/" if path.is_dir() else ""))  # noqa: PTH118
    return paths

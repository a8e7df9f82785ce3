"""The Typer application that commands register with, and the translation of errors into a message and an exit code.

Exit codes: 0 success, 1 an error during the work, 2 the command or the config is invalid, 3 a claim is contradicted, a
target is missed or a rerun is not confirmed, 4 a claim is undecided, 128 + n a signal stopped the process (130:
SIGINT).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import version
from typing import Annotated

import typer

from trainyard.errors import Terminated, TrainyardError
from trainyard.system import ignore_signals, print_error

_GETTING_STARTED = """Start with `trainyard train experiment=quickstart`, which needs no download, and view the run with
`trainyard ui`. `trainyard train --help` lists all groups and fields."""

DEFAULT_STORE_HELP = "[default: the store of the runs in this folder]"
"""The end of the help text of ``--uri``."""

app = typer.Typer(
    name="trainyard",
    help="Train, compare and verify Keras experiments that are described in YAML.",
    epilog=_GETTING_STARTED,
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
        print_error(TrainyardError(f"{type(error).__name__}: {error}"))
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        ignore_signals()
        raise typer.Exit(error.exit_code if isinstance(error, Terminated) else 130) from error


@app.callback(invoke_without_command=True)
def _print_version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Prints the version and exits, if the option ``--version`` is given."""
    if show:
        typer.echo(f"trainyard {version('trainyard')}")
        raise typer.Exit


def complete_paths(incomplete: str) -> list[str]:
    """Returns the files and folders that complete a word."""
    from trainyard.cli.override_completion import complete_path

    return complete_path(incomplete)

"""The application that the commands are registered with, and what an error of theirs becomes: a line and an exit code.

Exit codes: 0 done, 1 the work failed, 2 the command or the config is wrong, 3 a claim is contradicted, a target missed
or a rerun not confirmed, 4 a claim is undecided, 130 and 143 interrupted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import version
from typing import Annotated

import typer

from trainyard.cli.screen import print_error
from trainyard.errors import Terminated, TrainyardError
from trainyard.system.signals import ignore_signals

_BEGIN = """Begin with `trainyard train experiment=quickstart`, which needs no download, and look at the run with
`trainyard ui`. `trainyard train --help` lists all that can be chosen and changed."""

STORE_HERE = "else the one that runs go to from this folder"
"""Of the flag that names a store."""

app = typer.Typer(
    name="trainyard",
    help="Run, compare and believe Keras experiments that are described in YAML.",
    epilog=_BEGIN,
    context_settings={"help_option_names": ["--help", "-h"]},
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Tells an error of ours in a line or two, and ends with the exit code of its kind."""
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
def _version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if show:
        typer.echo(f"trainyard {version('trainyard')}")
        raise typer.Exit


def complete_paths(incomplete: str) -> list[str]:
    """Returns the files and folders that a word may become."""
    from trainyard.cli.override_completion import complete_path

    return complete_path(incomplete)

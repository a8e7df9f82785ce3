"""The arguments of the other commands: data sets, doctor, config reference, completion.

Each command is implemented in a separate module.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Literal

import typer

from trainyard.cli.app import app, complete_paths, exit_on_error

data_app = typer.Typer(help="List, download and verify data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")


def _complete_dataset(incomplete: str) -> list[str]:
    """Returns the names of the published data sets that complete a word."""
    from trainyard.cli.data import list_published_sets

    return [name for name in list_published_sets() if name.startswith(incomplete)]


Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Published data sets, such as `mnist`. [default: all]",
        metavar="NAME",
        autocompletion=_complete_dataset,
    ),
]


@data_app.command("list")
def data_list() -> None:
    """List the data sets and their locations on this machine."""
    from trainyard.cli.data import list_data

    with exit_on_error():
        list_data()


@data_app.command("fetch")
def data_fetch(names: Names = None) -> None:
    """Download published data sets that are not on this machine yet: `data fetch mnist`."""
    from trainyard.cli.data import fetch_data

    with exit_on_error():
        fetch_data(names or [])


@data_app.command("verify")
def data_verify(names: Names = None) -> None:
    """Verify downloaded data sets against their published digests: `data verify mnist`."""
    from trainyard.cli.data import verify_data

    with exit_on_error():
        verify_data(names or [])


@app.command()
def doctor(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Fix what can be fixed automatically; without it, nothing is changed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check this machine, the caches and the tracking store for problems, and suggest fixes."""
    from trainyard.cli.doctor import doctor_command

    with exit_on_error():
        raise typer.Exit(doctor_command(fix=fix, as_json=as_json))


config_app = typer.Typer(help="Explain every config field: its meaning, range and default.", no_args_is_help=True)
app.add_typer(config_app, name="config")


def _complete_schema_target(incomplete: str) -> list[str]:
    """Returns the possible values of ``--for`` that complete a word."""
    from trainyard.cli.config import list_targets

    return [target for target in list_targets() if target.startswith(incomplete)]


@config_app.command("schema")
def config_schema(
    form: Annotated[
        Literal["markdown", "json"], typer.Option("--format", help="Markdown to read, or a JSON Schema for editors.")
    ] = "markdown",
    target: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="KIND",
            help="What the JSON Schema validates: a `recipe`, the `config` of a run, or a group, such as `optimizer`.",
            autocompletion=_complete_schema_target,
        ),
    ] = "recipe",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write to this file. [default: stdout]", autocompletion=complete_paths),
    ] = None,
) -> None:
    """Print a reference or a JSON Schema of all config fields, including your plugins and `./conf`."""
    from trainyard.cli.config import show_schema

    with exit_on_error():
        show_schema(form, target, out)


@app.command()
def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish"], typer.Argument(help="Shell: `bash`, `zsh` or `fish`.", metavar="SHELL")
    ],
) -> None:
    """Print a completion script for commands and overrides: `eval "$(trainyard completion bash)"`."""
    from trainyard.cli.completion import SCRIPTS

    typer.echo(SCRIPTS[shell].strip())


@app.command("complete-words", hidden=True)
def complete_words(
    shell: Literal["bash", "zsh", "fish"], line: str, breaks: Annotated[str, typer.Argument()] = ""
) -> None:
    """Print the completions of the last word of a line; the script of `completion` calls this."""
    from trainyard.cli.completion import complete_line

    with contextlib.suppress(Exception):  # an unfinished line is no error, and a message would disturb typing
        for word in complete_line(typer.main.get_command(app), shell, line, breaks):
            typer.echo(word)

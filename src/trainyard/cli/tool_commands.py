"""The commands beside runs: data sets, doctor, reference, completion. Their arguments.

What they do stands in modules of their own.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Literal

import typer

from trainyard.cli.app import app, complete_paths, exit_codes

data_app = typer.Typer(help="List, download and verify data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")


def _published_sets(incomplete: str) -> list[str]:
    from trainyard.cli.data import published_sets

    return [name for name in published_sets() if name.startswith(incomplete)]


Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Published data sets, such as `mnist`; if none is named, all.",
        metavar="NAME",
        autocompletion=_published_sets,
    ),
]


@data_app.command("list")
def data_list() -> None:
    """List the data sets, and where they lie on this machine."""
    from trainyard.cli.data import list_data

    with exit_codes():
        list_data()


@data_app.command("fetch")
def data_fetch(names: Names = None) -> None:
    """Download published data sets that are not on this machine yet: `data fetch mnist`."""
    from trainyard.cli.data import fetch_data

    with exit_codes():
        fetch_data(names or [])


@data_app.command("verify")
def data_verify(names: Names = None) -> None:
    """Check that downloaded data sets are what was published, digest by digest: `data verify mnist`."""
    from trainyard.cli.data import verify_data

    with exit_codes():
        verify_data(names or [])


@app.command()
def doctor(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what can be mended; without this nothing is changed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Look for what is wrong on this machine, in its caches and in the store, and say how to mend it."""
    from trainyard.cli.doctor import doctor_command

    with exit_codes():
        raise typer.Exit(doctor_command(fix=fix, as_json=as_json))


config_app = typer.Typer(
    help="Explain every field of a config: what it takes, its default, what it means.", no_args_is_help=True
)
app.add_typer(config_app, name="config")


def _schema_targets(incomplete: str) -> list[str]:
    from trainyard.cli.config import schema_targets

    return [target for target in schema_targets() if target.startswith(incomplete)]


@config_app.command("schema")
def config_schema(
    form: Annotated[
        Literal["markdown", "json"], typer.Option("--format", help="A page to read, or a JSON Schema for editors.")
    ] = "markdown",
    target: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="KIND",
            help="What the JSON Schema checks: a `recipe`, the `config` of a run, or files of a group, as `optimizer`.",
            autocompletion=_schema_targets,
        ),
    ] = "recipe",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write this file; else print.", autocompletion=complete_paths)
    ] = None,
) -> None:
    """Print a reference of every field, or a JSON Schema for editors; your plugins and `./conf` are in it too."""
    from trainyard.cli.config import show_schema

    with exit_codes():
        show_schema(form, target, out)


@app.command()
def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish"], typer.Argument(help="The shell that you type in.", metavar="SHELL")
    ],
) -> None:
    """Print a script that completes commands and overrides on Tab: `eval "$(trainyard completion bash)"`."""
    from trainyard.cli.completion import SCRIPTS

    typer.echo(SCRIPTS[shell].strip())


@app.command("complete-words", hidden=True)
def complete_words(
    shell: Literal["bash", "zsh", "fish"], line: str, breaks: Annotated[str, typer.Argument()] = ""
) -> None:
    """Answer the script of `completion`: what the last word of a line may become."""
    from trainyard.cli.completion import complete_line

    with contextlib.suppress(Exception):  # half a line is no mistake, and nobody reads an error between two keys
        for word in complete_line(typer.main.get_command(app), shell, line, breaks):
            typer.echo(word)

"""``trainyard config schema``: the reference of every config field, as Markdown or as a JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from trainyard.cli.app import complete_path
from trainyard.errors import ConfigError, TrainyardError


def _list_targets() -> list[str]:
    """Returns the possible values of ``--for``."""
    from trainyard.config import describe_config, list_schema_targets

    return list_schema_targets(describe_config())


def show_schema(
    form: Annotated[
        Literal["markdown", "json"], typer.Option("--format", help="Markdown to read, or a JSON Schema for editors.")
    ] = "markdown",
    target: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="KIND",
            help="What the JSON Schema validates: a `recipe`, the `config` of a run, or a group, such as `optimizer`.",
            autocompletion=_list_targets,
        ),
    ] = "recipe",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write to this file. [default: stdout]", autocompletion=complete_path),
    ] = None,
) -> None:
    """Print a reference or a JSON Schema of all config fields, including your plugins and `./conf`.

    Examples:
      trainyard config schema --out config.md
      trainyard config schema --format json --out schema.json
    """
    from trainyard.config import build_json_schema, describe_config, render_config_page
    from trainyard.models import describe_layers

    if form == "json":
        schema = build_json_schema(describe_config(), describe_layers(), target)
        text = json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
    elif target != "recipe":
        raise ConfigError(
            f"--for {target}: only applies to a JSON Schema; the Markdown page has every field. Add --format json"
        )
    else:
        text = render_config_page(describe_config(), describe_layers())
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TrainyardError(f"{out}: cannot be written: {error.strerror}") from error

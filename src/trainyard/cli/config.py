"""``trainyard config schema``: the reference of every config field, as Markdown or as a JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from trainyard.config import (
    build_json_schema,
    describe_config,
    describe_recipes,
    list_schema_targets,
    render_config_page,
)
from trainyard.errors import ConfigError, TrainyardError
from trainyard.models import describe_layers


def list_targets() -> list[str]:
    """Returns what a JSON Schema can be built for: ``recipe``, ``config`` and the names of groups."""
    return list_schema_targets(describe_config())


def show_schema(form: str, target: str, out: Path | None) -> None:
    """Prints the field reference or a JSON Schema, or writes it to a file.

    Args:
        form: ``markdown`` for the reference, ``json`` for a JSON Schema.
        target: What the JSON Schema validates: ``recipe``, ``config`` or the name of a group.
        out: The output file; None prints to stdout.

    Raises:
        ConfigError: If the target is unknown, or is given for the Markdown reference.
        TrainyardError: If the file cannot be written.
    """
    if form == "json":
        text = (
            json.dumps(build_json_schema(describe_config(), describe_layers(), target), indent=1, ensure_ascii=False)
            + "\n"
        )
    elif target != "recipe":
        raise ConfigError(
            f"--for {target}: only applies to a JSON Schema; the Markdown page has every field. Add --format json"
        )
    else:
        text = render_config_page(describe_config(), describe_recipes(), describe_layers())
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TrainyardError(f"{out}: cannot be written: {error.strerror}") from error

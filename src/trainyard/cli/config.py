"""``trainyard config schema``: every field of a config, for people and for editors."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from trainyard.config.reference.fields import describe_config, describe_recipes
from trainyard.config.reference.json_schema import build_schema, targets
from trainyard.config.reference.markdown import render_page
from trainyard.errors import ConfigError, TrainyardError


def schema_targets() -> list[str]:
    """Returns what a JSON Schema may be for."""
    return targets(describe_config())


def show_schema(form: str, target: str, out: Path | None) -> None:
    """Prints the reference, or writes it to a file.

    Args:
        form: ``markdown``, or ``json`` for a JSON Schema.
        target: What the JSON Schema is for: ``recipe``, ``config`` or the name of a group.
        out: The file; None: it is printed.

    Raises:
        ConfigError: If there is no such target, or one is named for the page.
        TrainyardError: If the file can't be written.
    """
    if form == "json":
        text = json.dumps(build_schema(describe_config(), target), indent=1, ensure_ascii=False) + "\n"
    elif target != "recipe":
        raise ConfigError(f"--for {target}: chooses a JSON Schema, and the page tells everything. Add --format json")
    else:
        text = render_page(describe_config(), describe_recipes())
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TrainyardError(f"{out}: can't be written: {error.strerror}") from error

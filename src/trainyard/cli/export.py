"""``trainyard export`` and ``trainyard promote``: hand a trained model to other people and programs."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from rich.console import Console
from rich.text import Text

from trainyard.serving import export_run, promote_run
from trainyard.tracking import TrackingStore


def export_command(run: str, folder: Path, uri: str | None) -> None:
    """Exports a run into a self-contained folder, and lists its files.

    Args:
        run: The run's id, or its folder.
        folder: The folder to create; it must not exist or must be empty.
        uri: The tracking store that has the run; None uses the default store of this folder.

    Raises:
        TrainyardError: If the export fails; see `export_run`.
    """
    out = export_run(run, TrackingStore.from_option(uri), folder)
    console = Console(soft_wrap=True, highlight=False)
    for file in sorted(out.iterdir()):
        console.print(Text(f"{file.stat().st_size:>12,}  {os.path.relpath(file)}"))
    console.print(Text(f"How to load the model: see {os.path.relpath(out / 'README.md')}"))


def promote_command(run: str, name: str, alias: str | None, uri: str | None) -> None:
    """Registers a run's model in MLflow's model registry, and prints the command that serves it.

    Args:
        run: The run's id.
        name: The name of the registered model.
        alias: The alias to set on this version, such as ``champion``; None sets none.
        uri: The tracking store that has the run; None uses the default store of this folder.

    Raises:
        TrainyardError: If the model cannot be registered; see `promote_run`.
    """
    store = TrackingStore.from_option(uri)
    registered = promote_run(run, name, alias, store)
    outcome = "registered" if registered.new else "already registered:"
    alias_text = f", alias {alias}" if alias else ""
    console = Console(soft_wrap=True, highlight=False)
    console.print(Text(f"{outcome} {name} version {registered.version}{alias_text}"))
    serve = f"mlflow models serve --env-manager local -m {shlex.quote(registered.uri)}"
    console.print(Text(f"serve it  MLFLOW_TRACKING_URI={shlex.quote(store.name)} {serve}"))

"""``trainyard export`` and ``trainyard promote``: a trained model, handed to others."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from rich.console import Console
from rich.text import Text

from trainyard.serving.export import export_run
from trainyard.serving.promote import promote_run
from trainyard.system.uris import without_credentials
from trainyard.tracking.stores import store_of_command


def export_command(run: str, folder: Path, uri: str | None) -> None:
    """Writes a run into a folder that stands alone, and says what is in it.

    Args:
        run: Its id in the store, or its folder.
        folder: The folder to make; new or empty.
        uri: The store that knows the run; None: the one that runs go to from here.

    Raises:
        TrainyardError: As `export.export_run`.
    """
    out = export_run(run, store_of_command(uri), folder)
    console = Console(soft_wrap=True, highlight=False)
    for file in sorted(out.iterdir()):
        console.print(Text(f"{file.stat().st_size:>12,}  {os.path.relpath(file)}"))
    console.print(Text(f"read {os.path.relpath(out / 'README.md')}: it says how to load the model"))


def promote_command(run: str, name: str, alias: str | None, uri: str | None) -> None:
    """Registers a run's model, and says how to serve it.

    Args:
        run: Its id.
        name: Of the registered model.
        alias: To point to this version, or None.
        uri: The store that knows the run; None: the one that runs go to from here.

    Raises:
        TrainyardError: As `promote.promote_run`.
    """
    store = store_of_command(uri)
    registered = promote_run(run, name, alias, store)
    done = "registered" if registered.new else "registered before:"
    pointed = f", which {alias} points to" if alias else ""
    console = Console(soft_wrap=True, highlight=False)
    console.print(Text(f"{done} {name} version {registered.version}{pointed}"))
    serve = f"mlflow models serve --env-manager local -m {shlex.quote(registered.uri)}"
    console.print(Text(f"serve it  MLFLOW_TRACKING_URI={shlex.quote(without_credentials(store))} {serve}"))

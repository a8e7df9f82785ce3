"""``trainyard export`` and ``trainyard promote``: export a run's model to a folder, and register it in MLflow."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from trainyard.cli.app import RunReference, StoreUri
from trainyard.system import print_next_steps, print_styled, print_wrapped


def export(
    run: RunReference,
    folder: Annotated[Path, typer.Argument(help="Folder to create; it must be new or empty.", metavar="DIR")],
    *,
    uri: StoreUri = None,
) -> None:
    """Export a run's model, scores and report to a folder, with a README that explains how to load the model.

    Examples:
      trainyard export RUN_ID digits
    """
    from trainyard.runs import MODEL_FILE
    from trainyard.serving import export_run
    from trainyard.tracking import TrackingStore

    out = export_run(run, TrackingStore.from_option(uri), folder, print_styled)
    for file in sorted(out.iterdir()):
        size = Text(f"{file.stat().st_size:>12,}  ")
        print_wrapped(Console(highlight=False), Text(os.path.relpath(file)), size)
    print_styled(f"How to load the model: see {os.path.relpath(out / 'README.md')}")
    program = f"import keras; keras.models.load_model({json.dumps(os.path.relpath(out / MODEL_FILE))}).summary()"
    print_next_steps({"load it": shlex.join(["python", "-c", program])})


def promote(
    run: RunReference,
    name: Annotated[str, typer.Argument(help="Name of the registered model.", metavar="NAME")],
    *,
    alias: Annotated[
        str | None, typer.Option(metavar="ALIAS", help="Alias to set on this version, such as `champion`.")
    ] = None,
    uri: StoreUri = None,
) -> None:
    """Verify the weights of a run's model, and register the model in MLflow's model registry.

    Examples:
      trainyard promote RUN_ID digits --alias champion
    """
    from trainyard.serving import promote_run
    from trainyard.tracking import TrackingStore

    store = TrackingStore.from_option(uri)
    registered = promote_run(run, name, alias, store)
    outcome = "registered" if registered.new else "already registered:"
    print_styled(f"{outcome} {name} version {registered.version}{f', alias {alias}' if alias else ''}")
    serve = f"mlflow models serve --env-manager local -m {shlex.quote(registered.uri)}"
    print_next_steps({"serve it": f"MLFLOW_TRACKING_URI={shlex.quote(store.name)} {serve}"})

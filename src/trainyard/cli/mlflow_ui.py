"""``trainyard ui``: starts the MLflow UI on a tracking store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainyard.cli.app import StoreUri, complete_sweep
from trainyard.errors import ConfigError, TrackingError
from trainyard.system import get_sqlite_path, raise_on_signals, redact_credentials


def ui(
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="Experiment to open. [default: that of the latest run]")
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Sweep in this folder to open. The best trials are listed first.",
            autocompletion=complete_sweep,
        ),
    ] = None,
    uri: StoreUri = None,
    port: Annotated[
        int,
        typer.Option(
            min=1, max=65435, metavar="N", help="Port to listen on. If it is in use, the next free port is used."
        ),
    ] = 5000,
) -> None:
    """Start the MLflow UI on the tracking store; only this machine can reach it."""
    from trainyard.sweep import find_sweep
    from trainyard.tracking import (
        SHARE_KEY,
        TrackingStore,
        build_sweep_view_key,
        build_training_view_url,
        ui_server,
    )

    if sweep and experiment:
        raise ConfigError("--sweep: already selects the experiment. Remove --experiment")
    view = SHARE_KEY
    if sweep:
        experiment = find_sweep(sweep, "--sweep").read_header()["experiment"]
        view = build_sweep_view_key(Path(sweep).name)
    uri = TrackingStore.from_option(uri).uri
    if (file := get_sqlite_path(uri)) and not file.exists():
        raise ConfigError(f"{file}: there are no runs here yet. Start one: trainyard train experiment=quickstart")

    def build_link(address: str, experiment_id: str | None) -> str:
        """Returns the address of the UI, with the experiment and the view to open if there are runs."""
        return build_training_view_url(address, experiment_id, view) if experiment_id else f"{address} (no runs yet)"

    if uri.startswith("http"):
        typer.echo(build_link(redact_credentials(uri), ui_server.find_experiment_id(uri, experiment)))
        return
    port = ui_server.find_free_port(port)
    with raise_on_signals(), ui_server.mlflow_server(uri, port) as running:
        typer.echo(f"Starting the MLflow UI on {redact_credentials(uri)} ...")
        experiment_id = ui_server.find_experiment_id(uri, experiment)
        ui_server.wait_until_ready(running)
        typer.echo(f"{build_link(f'http://{ui_server.HOST}:{port}', experiment_id)}\nPress Ctrl-C to stop the server.")
        running.process.wait()
        raise TrackingError(f"the MLflow server stopped unexpectedly, with exit code {running.process.returncode}")

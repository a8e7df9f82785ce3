"""``trainyard ui``: starts the MLflow UI on a tracking store."""

from __future__ import annotations

from typing import Annotated

import typer

from trainyard.cli.app import StoreUri, complete_sweep
from trainyard.errors import ConfigError, TrackingError, find_exit_code


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
) -> int:
    """Start the MLflow UI on the tracking store; only this machine can reach it.

    Examples:
      trainyard ui
      trainyard ui --sweep widths
    """
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
        header = find_sweep(sweep, "--sweep").read_header()
        experiment, view = header["experiment"], build_sweep_view_key(header["name"])
    store = TrackingStore.from_option(uri)
    if (file := store.sqlite_file) and not file.exists():
        raise ConfigError(f"{file}: there are no runs here yet. Start one: trainyard train experiment=quickstart")

    def build_link(address: str, experiment_id: str | None) -> str:
        """Returns the address of the UI, with the experiment and the view to open if there are runs."""
        return build_training_view_url(address, experiment_id, view) if experiment_id else f"{address} (no runs yet)"

    if store.is_server and not store.uri.startswith("http"):
        raise ConfigError(f"ui: expected a server or a database, got {store.name}. Open the web page of this service")
    if store.is_server:
        typer.echo(build_link(store.name, store.find_experiment_id(experiment)))
        return 0
    port = ui_server.find_free_port(port)
    try:
        with ui_server.mlflow_server(store.uri, port) as running:
            typer.echo(f"Starting the MLflow UI on {store.name} ...")
            experiment_id = store.find_experiment_id(experiment)
            ui_server.wait_until_ready(running)
            link = build_link(f"http://{ui_server.HOST}:{port}", experiment_id)
            typer.echo(f"{link}\nPress Ctrl-C to stop the server.")
            code = running.process.wait()
            raise TrackingError(f"the MLflow server stopped unexpectedly, with exit code {code}")
    except KeyboardInterrupt as interrupt:  # the usual end, which needs no message
        return find_exit_code(interrupt)

"""``trainyard ui``: the MLflow UI on the store that runs go to."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from trainyard.errors import ConfigError
from trainyard.interrupts import signals_raise
from trainyard.stores import LocalStore, sqlite_path, without_password
from trainyard.tracking import server, training_view_url


def ui_command(experiment: str | None, uri: str | None, port: int) -> None:
    """Serves the UI until it is interrupted, or names the link where a server runs already.

    Args:
        experiment: The experiment to open, or None for that of the latest run.
        uri: The store, or None for the one that runs go to by default.
        port: The first port to try.

    Raises:
        ConfigError: If there is no store yet.
        TrackingError: If the store can't be reached or the server does not start.
    """
    uri = uri or LocalStore().resolve_uri(os.environ, Path.cwd())
    if (file := sqlite_path(uri)) and not file.exists():
        raise ConfigError(f"{file}: there are no runs here yet. Start one: trainyard train experiment=quickstart")
    if uri.startswith("http"):
        typer.echo(_link(uri, server.latest_experiment(uri, experiment)))
        return
    port = server.free_port(port)
    with signals_raise(), server.mlflow_server(uri, port) as running:
        typer.echo(f"Starting the MLflow UI on {without_password(uri)} ...")
        experiment_id = server.latest_experiment(uri, experiment)
        server.wait_until_ready(running)
        typer.echo(f"{_link(f'http://{server.HOST}:{port}', experiment_id)}\nCtrl-C ends it.")
        running.process.wait()


def _link(address: str, experiment_id: str | None) -> str:
    return training_view_url(address, experiment_id) if experiment_id else f"{address} (no runs yet)"

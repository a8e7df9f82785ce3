"""``trainyard ui``: the MLflow UI on the store that runs go to."""

from __future__ import annotations

from pathlib import Path

import typer

from trainyard.errors import ConfigError, TrackingError
from trainyard.sweep.folder import find_sweep
from trainyard.system.signals import signals_raise
from trainyard.system.uris import sqlite_path, without_credentials
from trainyard.tracking import sweep_view_key, training_view_url, ui_server
from trainyard.tracking.stores import store_of_command
from trainyard.tracking.ui_views import SHARE_KEY


def ui_command(experiment: str | None, sweep: str | None, uri: str | None, port: int) -> None:
    """Serves the UI until it is interrupted, or names the link where a server runs already.

    Args:
        experiment: The experiment to open, or None for that of the latest run.
        sweep: The sweep to open, by its name or its folder, or None.
        uri: The store, or None for the one that runs go to by default.
        port: The first port to try.

    Raises:
        ConfigError: If there is no store yet, or no such sweep.
        TrackingError: If the store can't be reached or the server does not start.
    """
    if sweep and experiment:
        raise ConfigError("--sweep: names the experiment too. Leave --experiment out")
    view = None
    if sweep:
        experiment, view = find_sweep(sweep, "--sweep").read_header()["experiment"], sweep_view_key(Path(sweep).name)
    uri = store_of_command(uri)
    if (file := sqlite_path(uri)) and not file.exists():
        raise ConfigError(f"{file}: there are no runs here yet. Start one: trainyard train experiment=quickstart")
    if uri.startswith("http"):
        typer.echo(_link(without_credentials(uri), ui_server.latest_experiment(uri, experiment), view))
        return
    port = ui_server.free_port(port)
    with signals_raise(), ui_server.mlflow_server(uri, port) as running:
        typer.echo(f"Starting the MLflow UI on {without_credentials(uri)} ...")
        experiment_id = ui_server.latest_experiment(uri, experiment)
        ui_server.wait_until_ready(running)
        typer.echo(f"{_link(f'http://{ui_server.HOST}:{port}', experiment_id, view)}\nCtrl-C ends it.")
        running.process.wait()
        raise TrackingError(f"the MLflow server ended by itself, with code {running.process.returncode}")


def _link(address: str, experiment_id: str | None, view: str | None) -> str:
    if not experiment_id:
        return f"{address} (no runs yet)"
    return training_view_url(address, experiment_id, view or SHARE_KEY)

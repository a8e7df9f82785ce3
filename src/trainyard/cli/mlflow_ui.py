"""``trainyard ui``: starts the MLflow UI on a tracking store."""

from __future__ import annotations

from pathlib import Path

import typer

from trainyard.errors import ConfigError, TrackingError
from trainyard.sweep import find_sweep
from trainyard.system import get_sqlite_path, raise_on_signals, redact_credentials
from trainyard.tracking import SHARE_KEY, TrackingStore, build_sweep_view_key, build_training_view_url, ui_server


def ui_command(experiment: str | None, sweep: str | None, uri: str | None, port: int) -> None:
    """Serves the MLflow UI until it is interrupted; for a store that is a server, prints only the link.

    Args:
        experiment: The experiment to open; None opens that of the latest run.
        sweep: The sweep to open, by its name or its folder; None opens no sweep.
        uri: The tracking store; None uses the default store of this folder.
        port: The first port to try.

    Raises:
        ConfigError: If there is no store yet, or no such sweep.
        TrackingError: If the store is unreachable, or the server does not start.
    """
    if sweep and experiment:
        raise ConfigError("--sweep: already selects the experiment. Remove --experiment")
    view = None
    if sweep:
        experiment, view = (
            find_sweep(sweep, "--sweep").read_header()["experiment"],
            build_sweep_view_key(Path(sweep).name),
        )
    uri = TrackingStore.from_option(uri).uri
    if (file := get_sqlite_path(uri)) and not file.exists():
        raise ConfigError(f"{file}: there are no runs here yet. Start one: trainyard train experiment=quickstart")
    if uri.startswith("http"):
        typer.echo(_build_link(redact_credentials(uri), ui_server.find_experiment_id(uri, experiment), view))
        return
    port = ui_server.find_free_port(port)
    with raise_on_signals(), ui_server.mlflow_server(uri, port) as running:
        typer.echo(f"Starting the MLflow UI on {redact_credentials(uri)} ...")
        experiment_id = ui_server.find_experiment_id(uri, experiment)
        ui_server.wait_until_ready(running)
        typer.echo(
            f"{_build_link(f'http://{ui_server.HOST}:{port}', experiment_id, view)}\nPress Ctrl-C to stop the server."
        )
        running.process.wait()
        raise TrackingError(f"the MLflow server stopped unexpectedly, with exit code {running.process.returncode}")


def _build_link(address: str, experiment_id: str | None, view: str | None) -> str:
    """Returns the address of the UI, with the experiment and the view to open if there are runs."""
    if not experiment_id:
        return f"{address} (no runs yet)"
    return build_training_view_url(address, experiment_id, view or SHARE_KEY)

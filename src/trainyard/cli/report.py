"""``trainyard report``: draws the plots of a run and writes its report."""

from __future__ import annotations

import os

import typer

from trainyard.cli.app import RunReference, StoreUri
from trainyard.system import print_styled


def report(run: RunReference, *, uri: StoreUri = None) -> None:
    """Write the report of a run that has none, with its plots, and log them to its MLflow run.

    The report of a run that failed or was interrupted has the error and the completed epochs instead of scores.

    Examples:
      trainyard report RUN_ID
    """
    from trainyard.config import prepare_hydra
    from trainyard.runs import report_run
    from trainyard.tracking import TrackingStore

    prepare_hydra()
    file = report_run(run, None if uri is None else TrackingStore.from_option(uri), print_styled)
    typer.echo(os.path.relpath(file))

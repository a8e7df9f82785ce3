"""A run that a store lacks, in whole or in part, told to it from the run's folder: each thing once, however often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.system.uris import without_credentials
from trainyard.tracking import operations
from trainyard.tracking.connection import open_store, tracking_errors
from trainyard.tracking.journal import KEY_TAG, Account
from trainyard.tracking.mlflow_model import ServableModel
from trainyard.tracking.operations import OpenRun, cut_tags
from trainyard.tracking.runs import DIED, PAGE, PARENT_TAG, all_pages

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

OPEN = ("RUNNING", "SCHEDULED", "UNFINISHED")
"""The statuses of a run that has not said how it ended."""


def upload(account: Account, files: Sequence[Path], uri: str, make_model: Callable[[], ServableModel] | None) -> str:
    """Has a store hold all of a run, and nothing of it twice.

    A run that was being created when the connection broke, or the process that uploaded it, is found by its key.

    Args:
        account: What the run told. One that did not say how it ended was KILLED, unless the store knows better.
        files: What of its folder is logged.
        uri: The store.
        make_model: Makes the servable model; None where none is wanted.

    Returns:
        MLflow's id of the run.

    Raises:
        TrackingError: If the store fails. It can be tried again.
    """
    status, tags = account.status or "KILLED", {**account.tags, KEY_TAG: account.key}
    if without_credentials(uri) != account.uri:
        tags.pop(PARENT_TAG, None)  # the run of the sweep is in the store that both were meant for
    client, experiment_id = open_store(uri, account.experiment, account.notes)
    with tracking_errors(uri):
        found = _find_run(client, account.key)
        if account.status is None:
            if found and found.info.status not in OPEN:
                status = found.info.status
            else:
                tags.setdefault("error", DIED)
        if found is None:
            found = client.create_run(experiment_id, account.started, cut_tags(tags), account.name)
        run = OpenRun(client, uri, found.info.experiment_id, found.info.run_id)
        operations.complete_params(run, account.params)
        operations.set_tags(run, tags)
        early, late = _around_model(account)
        operations.log_history(run, early)
        operations.log_inputs(run, account.inputs)
        operations.log_files(run, files)
        if make_model and not operations.has_model(run):
            operations.log_model(run, make_model())
        operations.log_history(run, late)
        if account.status and "error" not in tags:
            operations.clear_error(run)  # which the store's own failure was
        operations.end(run, status, account.last)
    return run.run_id


def has_run(uri: str, run_id: str, account: Account) -> bool:
    """Tells whether a store still has a run as it ended, which was once uploaded to it whole.

    Raises:
        TrackingError: If the store fails.
    """
    client, _ = open_store(uri, account.experiment, account.notes)
    with tracking_errors(uri):
        found = _find_run(client, account.key)
    return found is not None and found.info.run_id == run_id and found.info.status not in OPEN


def _find_run(client: MlflowClient, key: str) -> Run | None:
    """Returns the run with a key, in whichever experiment it is by now."""
    experiments = [found.experiment_id for found in all_pages(client.search_experiments)]
    for start in range(0, len(experiments), PAGE):
        some = experiments[start : start + PAGE]
        for run in all_pages(client.search_runs, some, f"tags.`{KEY_TAG}` = '{key}'"):
            return run
    return None


def _around_model(account: Account) -> tuple[list[operations.Measured], list[operations.Measured]]:
    """Returns the metrics that are logged before the model, and those of the whole run's time."""
    late = [step == 0 and all(name.startswith("time/") for name in values) for values, step, _ in account.metrics]
    pairs = list(zip(account.metrics, late, strict=True))
    return [entry for entry, is_late in pairs if not is_late], [entry for entry, is_late in pairs if is_late]

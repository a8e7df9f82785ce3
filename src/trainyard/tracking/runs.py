"""Runs that are in a store already: found by their id, and closed where their process died without doing so."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.errors import TrackingError
from trainyard.system import environment
from trainyard.system.uris import without_credentials
from trainyard.tracking.connection import connect, connect_to_existing, tracking_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DIED = "the process ended without a word, as by SIGKILL or for lack of memory"
"""The tag `error` of a run that says RUNNING when its process is gone."""
PARENT_TAG = "mlflow.parentRunId"
"""The tag of a run that names the one that it belongs to."""
RESTORED_TAG = "restored_epoch"
"""The tag of a run whose model has the weights of this epoch, which early stopping restored, and not of the last."""
PAGE = 1000
"""How many runs or experiments MLflow is asked for at once."""


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """A run as the store knows it.

    Attributes:
        run_id: MLflow's id.
        status: RUNNING, FINISHED, FAILED or KILLED.
        tags: All its tags.
    """

    run_id: str
    status: str
    tags: dict[str, str]


def find_run(uri: str, run_id: str) -> LoggedRun:
    """Returns a run by its id.

    Raises:
        TrackingError: If the store has no such run, or can't be reached.
    """
    with tracking_errors(uri):
        run = get_run(connect_to_existing(uri), uri, run_id)
    return LoggedRun(run.info.run_id, run.info.status, dict(run.data.tags))


def get_run(client: MlflowClient, uri: str, run_id: str) -> Run:
    """Returns a run as MLflow gives it.

    Args:
        client: Of the store.
        uri: Of the store, for what is said where it lacks the run.
        run_id: MLflow's id.

    Raises:
        TrackingError: If the store has no such run.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise TrackingError(
            f"{without_credentials(uri)} has no run {run_id!r}. Copy the id from the MLflow UI or from the end of "
            "a run's output, or name its store (tracking.uri, of a command --uri)"
        ) from error


def reopen_run(client: MlflowClient, experiment_id: str, run_id: str, tags: Mapping[str, str]) -> bool:
    """Has an earlier run say RUNNING again, with new tags, without an end and without an error.

    Returns:
        False where the experiment has no such run, or it was deleted.
    """
    from mlflow.entities import RunStatus, RunTag
    from mlflow.exceptions import MlflowException

    try:
        earlier = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    if earlier.info.lifecycle_stage != "active" or earlier.info.experiment_id != experiment_id:
        return False
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    if "error" in earlier.data.tags:
        client.delete_tag(run_id, "error")
    client.update_run(run_id, status="RUNNING")
    with contextlib.suppress(AttributeError, MlflowException):  # the client itself can't take the end time away
        client._tracking_client.store.update_run_info(run_id, RunStatus.RUNNING, 0, None)  # noqa: SLF001
    return True


def download_files(uri: str, run_id: str, names: Sequence[str], folder: Path) -> None:
    """Downloads files that a run logged.

    Args:
        uri: Of the store.
        run_id: MLflow's id.
        names: The paths of the files among the run's artifacts.
        folder: Where they go, under the same paths; it is there.

    Raises:
        TrackingError: If the store can't be reached, or has not all of them.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with tracking_errors(uri):
        client = connect(uri)
        held = {artifact.path for artifact in client.list_artifacts(run_id)}
        if missing := [name for name in names if name not in held]:
            raise TrackingError(f"{without_credentials(uri)} has no {missing[0]} of the run {run_id}")
        for name in names:
            client.download_artifacts(run_id, name, str(folder))


def mark_killed(uri: str, run_id: str) -> None:
    """Closes a run whose process is gone, as KILLED, with the reason in the tag `error`."""
    with tracking_errors(uri):
        client = connect(uri)
        client.set_tag(run_id, "error", DIED)
        client.set_terminated(run_id, "KILLED")


def is_orphan(run: LoggedRun) -> bool:
    """Tells whether a run says RUNNING and the process that it ran in, on this host, is gone."""
    return run.status == "RUNNING" and is_here(run) and not is_alive(run)


def is_here(run: LoggedRun) -> bool:
    """Tells whether a run was started on this host, the only one whose processes can be looked at."""
    return run.tags.get("host") == socket.gethostname()


def is_alive(run: LoggedRun) -> bool:
    """Tells whether the process that a run of this host was started in still runs."""
    return environment.is_alive(run.tags.get("pid", ""), run.tags.get("started", ""))


def all_pages(search: Callable[..., Any], *arguments: object, **settings: object) -> Iterator[Any]:
    """Yields what one of MLflow's searches finds, page by page."""
    token: str | None = None
    while True:
        page = search(*arguments, max_results=PAGE, page_token=token, **settings)
        yield from page
        token = page.token
        if not token:
            return

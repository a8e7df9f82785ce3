"""Existing runs in a store: finding them, reopening them, downloading their files, and closing orphans."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.errors import TrackingError
from trainyard.system import is_process_alive, redact_credentials
from trainyard.tracking import names
from trainyard.tracking.connection import connect, connect_to_existing, tracking_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PROCESS_DIED = "the process ended without an error report, for example by SIGKILL or because memory ran out"
"""The tag `error` of a RUNNING run whose process no longer exists."""
PAGE_SIZE = 1000
"""Number of runs or experiments that one request to MLflow returns at most."""


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """A run in a store.

    Attributes:
        run_id: MLflow's id of the run.
        status: RUNNING, FINISHED, FAILED or KILLED.
        tags: All tags of the run.
    """

    run_id: str
    status: str
    tags: dict[str, str]


def find_run(uri: str, run_id: str) -> LoggedRun:
    """Finds a run by its id.

    Raises:
        TrackingError: If the store has no such run, or can't be reached.
    """
    with tracking_errors(uri):
        run = get_run(connect_to_existing(uri), uri, run_id)
    return LoggedRun(run.info.run_id, run.info.status, dict(run.data.tags))


def get_run(client: MlflowClient, uri: str, run_id: str) -> Run:
    """Returns a run as MLflow's `Run` entity.

    Args:
        client: A client of the store.
        uri: The tracking URI, used in the error message.
        run_id: MLflow's id of the run.

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
            f"{redact_credentials(uri)} has no run {run_id!r}. Copy the id from the MLflow UI or from the output of "
            "the run, or specify another store (tracking.uri, or --uri of a command)"
        ) from error


def reopen_run(client: MlflowClient, experiment_id: str, run_id: str, tags: Mapping[str, str]) -> bool:
    """Reopens a run: sets it to RUNNING, applies new tags, and clears its end time and the tag `error`.

    Returns:
        False if the experiment does not contain the run, or the run was deleted.
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
    if names.ERROR in earlier.data.tags:
        client.delete_tag(run_id, names.ERROR)
    client.update_run(run_id, status="RUNNING")
    with contextlib.suppress(AttributeError, MlflowException):  # the public client can't clear the end time
        client._tracking_client.store.update_run_info(run_id, RunStatus.RUNNING, 0, None)  # noqa: SLF001
    return True


def download_files(uri: str, run_id: str, paths: Sequence[str], folder: Path) -> None:
    """Downloads artifacts of a run.

    Args:
        uri: The tracking URI.
        run_id: MLflow's id of the run.
        paths: The paths of the files in the root of the run's artifacts.
        folder: The existing folder to which the files are written, with the same relative paths.

    Raises:
        TrackingError: If the store can't be reached, or a file does not exist.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with tracking_errors(uri):
        client = connect(uri)
        existing = {artifact.path for artifact in client.list_artifacts(run_id)}
        if missing := [path for path in paths if path not in existing]:
            raise TrackingError(
                f"the run {run_id} in the tracking store {redact_credentials(uri)} has no artifact {missing[0]}"
            )
        for path in paths:
            client.download_artifacts(run_id, path, str(folder))


def mark_killed(uri: str, run_id: str) -> None:
    """Closes a run whose process no longer exists, as KILLED, with the reason in the tag `error`."""
    with tracking_errors(uri):
        client = connect(uri)
        client.set_tag(run_id, names.ERROR, PROCESS_DIED)
        client.set_terminated(run_id, "KILLED")


def is_orphan(run: LoggedRun) -> bool:
    """Returns whether a run has the status RUNNING but its process, on this host, no longer exists."""
    return run.status == "RUNNING" and is_on_this_host(run) and not is_alive(run)


def is_on_this_host(run: LoggedRun) -> bool:
    """Returns whether a run was started on this host; only processes of this host can be checked."""
    return run.tags.get(names.HOST) == socket.gethostname()


def is_alive(run: LoggedRun) -> bool:
    """Returns whether the process of a run that was started on this host still exists."""
    return is_process_alive(run.tags.get(names.PID, ""), run.tags.get(names.STARTED, ""))


def iterate_pages(search: Callable[..., Any], *arguments: object, **settings: object) -> Iterator[Any]:
    """Yields all results of one of MLflow's search functions, requested page by page."""
    token: str | None = None
    while True:
        page = search(*arguments, max_results=PAGE_SIZE, page_token=token, **settings)
        yield from page
        token = page.token
        if not token:
            return

"""Runs that are in a store already: found by their id, and closed where their process died without doing so.

Before it: store. After it: worker; resume, which goes on from an interrupted run; modelfiles, which wants its model;
health.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainyard.errors import TrackingError
from trainyard.tracking.store import connect, tracking_errors
from trainyard.uris import without_credentials

DIED = "the process ended without a word, as by SIGKILL or for lack of memory"
"""The tag `error` of a run that says RUNNING when its process is gone."""


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
    from mlflow.exceptions import MlflowException

    with tracking_errors(uri):
        try:
            run = connect(uri).get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise TrackingError(
                f"{without_credentials(uri)} has no run {run_id!r}. Copy the id from the MLflow UI or from the end of "
                "a run's output, or name its store (tracking.uri, of a command --uri)"
            ) from error
    return LoggedRun(run.info.run_id, run.info.status, dict(run.data.tags))


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

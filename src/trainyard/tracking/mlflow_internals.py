"""The private functions of MLflow that Trainyard uses. A test checks them with the pinned version of MLflow."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient


def clear_end_time(client: MlflowClient, run_id: str) -> None:
    """Removes the end time of a run that is RUNNING again; without effect in versions of MLflow that do not allow it.

    The public client can only set the end time.
    """
    from mlflow.entities import RunStatus
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(AttributeError, MlflowException):
        client._tracking_client.store.update_run_info(run_id, RunStatus.RUNNING, 0, None)  # noqa: SLF001

"""The private functions of MLflow that Trainyard uses. A test checks them with the pinned version of MLflow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
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


def write_requirements(folder: Path, packages: list[str]) -> None:
    """Writes the pinned requirements of a model to its folder, in MLflow's files for pip, conda and virtualenv."""
    from mlflow.utils.environment import _mlflow_conda_env, _PythonEnv

    (folder / "requirements.txt").write_text("\n".join(packages))
    _mlflow_conda_env(folder / "conda.yaml", additional_pip_deps=packages)
    _PythonEnv.current().to_yaml(folder / "python_env.yaml")


def is_transient_error(error: BaseException) -> bool:
    """Returns whether a request that failed with this error may succeed if it is repeated.

    These are answers 429, 500, 502, 503 and 504, connections that fail or time out, and databases that are locked or
    restarted. MLflow wraps the errors of the libraries that it uses, in different ways.
    """
    import sqlalchemy as sa
    from requests import exceptions

    transient = exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError, exceptions.RetryError
    for cause in _iterate_causes(error):
        if isinstance(cause, transient):
            return not isinstance(cause, exceptions.SSLError)
        if isinstance(cause, sa.exc.DBAPIError):
            return cause.connection_invalidated or "database is locked" in str(cause)
    return False


def is_missing_endpoint(error: BaseException) -> bool:
    """Returns whether a server does not know the address of a request: it answered 404 without an error of MLflow."""
    return getattr(error, "error_code", None) == "ENDPOINT_NOT_FOUND"


def _iterate_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and the errors that caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

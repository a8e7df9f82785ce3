"""The private functions of MLflow that Trainyard uses. A test checks them with the pinned version of MLflow."""

from __future__ import annotations

import contextlib
import functools
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


def cache_latest_schema_revision() -> None:
    """Makes MLflow read the files of its schema revisions now, and not again for each store of this process."""
    from mlflow.store.db import utils

    with contextlib.suppress(AttributeError):  # another version of MLflow
        utils._get_latest_schema_revision = functools.cache(utils._get_latest_schema_revision)  # noqa: SLF001
        utils._get_latest_schema_revision()  # noqa: SLF001


def write_requirements(folder: Path, packages: list[str]) -> None:
    """Writes the pinned requirements of a model to its folder, in MLflow's files for pip, conda and virtualenv."""
    from mlflow.utils.environment import _mlflow_conda_env, _PythonEnv

    (folder / "requirements.txt").write_text("\n".join(packages))
    _mlflow_conda_env(folder / "conda.yaml", additional_pip_deps=packages)
    _PythonEnv.current().to_yaml(folder / "python_env.yaml")

"""Searches for runs in a store, and loads their params, metrics and tags."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainyard.config import format_suggestion
from trainyard.errors import ConfigError
from trainyard.system import gc_paused, redact_credentials
from trainyard.tracking.connection import connect, connect_to_existing, tracking_errors
from trainyard.tracking.runs import get_run, iterate_pages


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run in a store, with its logged data.

    Attributes:
        run_id: MLflow's id of the run.
        name: The name of the run.
        experiment: The name of its experiment.
        status: RUNNING, FINISHED, FAILED or KILLED.
        started: Start time in milliseconds since 1970.
        params: All params, as text.
        metrics: The last value of each metric.
        tags: All tags.
        test_digest: The first 36 characters of the sha256 of the test images, or None if the run did not log them.
    """

    run_id: str
    name: str
    experiment: str
    status: str
    started: int
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    test_digest: str | None


def search_runs(uri: str, experiment: str | None, filter_string: str) -> list[StoredRun]:
    """Returns the runs that match a filter and were not deleted, latest first.

    Args:
        uri: The tracking URI.
        experiment: The name of an experiment; None searches all experiments.
        filter_string: A filter in MLflow's search syntax; empty selects all runs.

    Raises:
        ConfigError: If there is no such experiment, or the filter is invalid.
        TrackingError: If the store can't be reached.
    """
    from mlflow.exceptions import MlflowException

    with tracking_errors(uri):
        client = connect_to_existing(uri)
        names = {entity.experiment_id: entity.name for entity in iterate_pages(client.search_experiments)}
        ids = [key for key, name in names.items() if experiment in (None, name)]
        if experiment is not None and not ids:
            available = sorted(names.values())
            raise ConfigError(
                f"--experiment: {redact_credentials(uri)} has no experiment {experiment!r}."
                f"{format_suggestion(experiment, available)} Available: {', '.join(available)}"
            )
        if not ids:  # there is no experiment that this user may read
            return []
        try:
            with gc_paused():  # MLflow creates hundreds of objects per run, which slows the collector down
                runs = iterate_pages(client.search_runs, ids, filter_string, order_by=["attributes.start_time DESC"])
                return [_build_stored_run(run, names[run.info.experiment_id]) for run in runs]
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise ConfigError(
                "--filter: expected an MLflow filter string, such as 'params.`optimizer.name` = \"adam\"', "
                f"got {filter_string!r}: {error.message}"
            ) from error


def load_stored_run(uri: str, run_id: str) -> StoredRun:
    """Loads a run by its id.

    Raises:
        TrackingError: If the store has no such run, or can't be reached.
    """
    with tracking_errors(uri):
        client = connect_to_existing(uri)
        run = get_run(client, uri, run_id)
        return _build_stored_run(run, client.get_experiment(run.info.experiment_id).name)


def load_metric_history(uri: str, run_id: str, names: Sequence[str]) -> list[dict[str, float]]:
    """Loads the values of metrics for each epoch of a run, first to last; a metric may be missing in an epoch.

    Raises:
        TrackingError: If the store can't be reached.
    """
    epochs: dict[int, dict[str, float]] = defaultdict(dict)
    with tracking_errors(uri):
        client = connect(uri)
        for name in names:
            for metric in client.get_metric_history(run_id, name):
                epochs[metric.step][name] = metric.value
    return [epochs[step] for step in sorted(epochs)]


def _build_stored_run(run: Any, experiment: str) -> StoredRun:  # noqa: ANN401 - MLflow is not typed
    """Returns a `StoredRun` from MLflow's `Run` entity and the name of its experiment."""
    return StoredRun(
        run_id=run.info.run_id,
        name=run.info.run_name or run.info.run_id,
        experiment=experiment,
        status=run.info.status,
        started=run.info.start_time,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
        test_digest=_find_test_digest(run),
    )


def _find_test_digest(run: Any) -> str | None:  # noqa: ANN401 - MLflow is not typed
    """Returns the digest of the test images that a `Run` entity has as an input, or None."""
    for entry in run.inputs.dataset_inputs if run.inputs else ():
        if any(tag.key == "mlflow.data.context" and tag.value == "test" for tag in entry.tags):
            return str(entry.dataset.digest)
    return None

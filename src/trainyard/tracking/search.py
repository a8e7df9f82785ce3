"""Runs of a store, found by what they are: for whoever compares them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainyard.config.registry import did_you_mean
from trainyard.errors import ConfigError
from trainyard.system.garbage import collector_paused
from trainyard.system.uris import without_credentials
from trainyard.tracking.connection import connect, connect_to_existing, tracking_errors
from trainyard.tracking.runs import all_pages, get_run


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run as a store knows it.

    Attributes:
        run_id: MLflow's id.
        name: Of the run.
        experiment: The name of its experiment.
        status: RUNNING, FINISHED, FAILED or KILLED.
        started: In milliseconds since 1970.
        params: As text, as MLflow holds them.
        metrics: The last value of each.
        tags: All.
        test_digest: The beginning of the sha256 of its test images, or None where it names none.
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


def search_runs(uri: str, experiment: str | None, wanted: str) -> list[StoredRun]:
    """Returns runs that were not deleted, the latest first.

    Args:
        uri: Of the store.
        experiment: The name of theirs; None: of any.
        wanted: A filter in MLflow's language; empty: all.

    Raises:
        ConfigError: If there is no such experiment, or the filter can't be read.
        TrackingError: If the store can't be reached.
    """
    from mlflow.exceptions import MlflowException

    with tracking_errors(uri):
        client = connect_to_existing(uri)
        names = {found.experiment_id: found.name for found in all_pages(client.search_experiments)}
        ids = [key for key, name in names.items() if experiment in (None, name)]
        if experiment is not None and not ids:
            known = sorted(names.values())
            raise ConfigError(
                f"--experiment: {without_credentials(uri)} has no experiment {experiment!r}."
                f"{did_you_mean(experiment, known)} There are: {', '.join(known)}"
            )
        if not ids:  # none that this user may read
            return []
        try:
            with collector_paused():  # MLflow makes some hundred objects a run, and Python would look through them all
                found = all_pages(client.search_runs, ids, wanted, order_by=["attributes.start_time DESC"])
                return [_stored(run, names[run.info.experiment_id]) for run in found]
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise ConfigError(
                "--filter: expected a filter as MLflow takes them, such as 'params.`optimizer.name` = \"adam\"', "
                f"got {wanted!r}: {error.message}"
            ) from error


def stored_run(uri: str, run_id: str) -> StoredRun:
    """Returns a run by its id.

    Raises:
        TrackingError: If the store has no such run, or can't be reached.
    """
    with tracking_errors(uri):
        client = connect_to_existing(uri)
        run = get_run(client, uri, run_id)
        return _stored(run, client.get_experiment(run.info.experiment_id).name)


def stored_history(uri: str, run_id: str, names: Sequence[str]) -> list[dict[str, float]]:
    """Returns metrics of a run epoch by epoch, first to last; an epoch may lack some.

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


def _stored(run: Any, experiment: str) -> StoredRun:  # noqa: ANN401 - MLflow is not typed
    return StoredRun(
        run_id=run.info.run_id,
        name=run.info.run_name or run.info.run_id,
        experiment=experiment,
        status=run.info.status,
        started=run.info.start_time,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
        test_digest=_test_digest(run),
    )


def _test_digest(run: Any) -> str | None:  # noqa: ANN401 - MLflow is not typed
    for entry in run.inputs.dataset_inputs if run.inputs else ():
        if any(tag.key == "mlflow.data.context" and tag.value == "test" for tag in entry.tags):
            return str(entry.dataset.digest)
    return None

"""Rebuilds a run's `RunRecord` from the tracking store, for callers that have only the id of the run."""

from __future__ import annotations

from trainyard.tracking import names
from trainyard.tracking.connection import connect, tracking_errors
from trainyard.tracking.operation_log import RunRecord
from trainyard.tracking.operations import TimedMetrics
from trainyard.tracking.runs import iterate_pages


def load_stored_record(uri: str, run_id: str) -> RunRecord:
    """Loads everything that a run logged from a store, with the metrics of every step but without the inputs.

    Raises:
        TrackingError: If the store has no such run, or can't be reached.
    """
    with tracking_errors(uri):
        client = connect(uri)
        run = client.get_run(run_id)
        experiment = client.get_experiment(run.info.experiment_id)
        history: list[TimedMetrics] = [
            ({name: metric.value}, metric.step, metric.timestamp)
            for name in run.data.metrics
            for metric in client.get_metric_history(run_id, name)
        ]
    return RunRecord(
        key=run.data.tags.get(names.RUN_KEY, ""),
        uri=uri,
        experiment=experiment.name,
        notes="",
        name=run.info.run_name,
        model=False,
        started=run.info.start_time,
        updated=run.info.end_time or run.info.start_time,
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        metrics=history,
        status=run.info.status,
        stores={uri: run_id},
    )


def find_sibling_accuracies(uri: str, record: RunRecord, excluded_run_id: str | None = None) -> dict[str, float]:
    """Returns the test accuracy, by seed, of finished runs with the same config as a run but another seed.

    Args:
        uri: The tracking URI.
        record: A run in the store.
        excluded_run_id: The id of a run to leave out.

    Raises:
        TrackingError: If the store can't be reached.
    """
    with tracking_errors(uri):
        client = connect(uri)
        experiment = client.get_experiment_by_name(record.experiment)
        if experiment is None:
            return {}
        filter_string = f"tags.config_hash = '{record.tags.get('config_hash', '')}' and attributes.status = 'FINISHED'"
        runs = list(iterate_pages(client.search_runs, [experiment.experiment_id], filter_string))
    return {
        run.data.tags[names.SEED]: run.data.metrics["accuracy/test"]
        for run in runs
        if run.info.run_id != excluded_run_id
        and "accuracy/test" in run.data.metrics
        and run.data.tags.get(names.SEED, record.tags[names.SEED]) != record.tags[names.SEED]
    }

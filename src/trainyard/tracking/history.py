"""What a store knows of a run, as its own account: for whoever has no more of it than its id."""

from __future__ import annotations

from trainyard.tracking.connection import connect, tracking_errors
from trainyard.tracking.journal import Account
from trainyard.tracking.operations import Measured
from trainyard.tracking.runs import all_pages


def stored_account(uri: str, run_id: str) -> Account:
    """Returns what a run has told its store; of its metrics every step, of its inputs nothing.

    Raises:
        TrackingError: If the store has no such run, or can't be reached.
    """
    with tracking_errors(uri):
        client = connect(uri)
        run = client.get_run(run_id)
        experiment = client.get_experiment(run.info.experiment_id)
        history: list[Measured] = [
            ({name: metric.value}, metric.step, metric.timestamp)
            for name in run.data.metrics
            for metric in client.get_metric_history(run_id, name)
        ]
    return Account(
        key=run.data.tags.get("trainyard.key", ""),
        uri=uri,
        experiment=experiment.name,
        notes="",
        name=run.info.run_name,
        model=False,
        started=run.info.start_time,
        last=run.info.end_time or run.info.start_time,
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        metrics=history,
        status=run.info.status,
        stores={uri: run_id},
    )


def accuracies_of_siblings(uri: str, account: Account, without: str | None = None) -> dict[str, float]:
    """Returns the accuracy on the test images of finished runs that computed the same with other seeds, by seed.

    Args:
        uri: Of the store.
        account: Of a run in it.
        without: The id of a run that does not count.

    Raises:
        TrackingError: If the store can't be reached.
    """
    with tracking_errors(uri):
        client = connect(uri)
        experiment = client.get_experiment_by_name(account.experiment)
        if experiment is None:
            return {}
        wanted = f"tags.config_hash = '{account.tags.get('config_hash', '')}' and attributes.status = 'FINISHED'"
        runs = list(all_pages(client.search_runs, [experiment.experiment_id], wanted))
    return {
        run.data.tags["seed"]: run.data.metrics["accuracy/test"]
        for run in runs
        if run.info.run_id != without
        and "accuracy/test" in run.data.metrics
        and run.data.tags.get("seed", account.tags["seed"]) != account.tags["seed"]
    }

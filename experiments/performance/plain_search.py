"""Finds the best runs with `mlflow.search_runs`, as a user would without Trainyard.

    python plain_search.py STORE EXPERIMENT

Prints the three runs with the highest test accuracy.
"""

import sys


def main(store: str, experiment: str) -> None:
    """Fetches all runs of an experiment and prints the three best.

    Args:
        store: URI of the tracking store.
        experiment: Name of the experiment.
    """
    import mlflow

    mlflow.set_tracking_uri(store)
    runs = mlflow.search_runs(experiment_names=[experiment], order_by=["metrics.`accuracy/test` DESC"])
    print(runs[["run_id", "params.seed", "metrics.accuracy/test"]].head(3))  # noqa: T201 - the output of the script


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

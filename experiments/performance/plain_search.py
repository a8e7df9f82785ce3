"""What a user would write to find the best of many runs: MLflow's own search, as a table of pandas.

    python plain_search.py STORE EXPERIMENT

It prints the three runs with the highest accuracy on the test images.
"""

import sys


def main(store: str, experiment: str) -> None:
    """Reads all runs of an experiment and prints the best.

    Args:
        store: Its URI.
        experiment: Its name.
    """
    import mlflow

    mlflow.set_tracking_uri(store)
    runs = mlflow.search_runs(experiment_names=[experiment], order_by=["metrics.`accuracy/test` DESC"])
    print(runs[["run_id", "params.seed", "metrics.accuracy/test"]].head(3))  # noqa: T201 - a script prints


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

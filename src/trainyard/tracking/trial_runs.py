"""The runs of a sweep's trials in the store: the child runs of the sweep's parent run.

A child run has the tag ``mlflow.parentRunId``, and its number in the sweep in the tag ``trainyard.trial``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainyard.tracking import names, operations
from trainyard.tracking.operations import OpenRun
from trainyard.tracking.runs import PROCESS_DIED, LoggedRun, find_run, is_on_this_host, is_orphan, iterate_pages


@dataclass(frozen=True, slots=True)
class TrialRun:
    """The FINISHED run of a trial.

    Attributes:
        run_id: MLflow's id of the run.
        metrics: The last value of each metric.
    """

    run_id: str
    metrics: dict[str, float]


def find_finished_trials(parent: OpenRun) -> dict[str, TrialRun]:
    """Returns the FINISHED run of each trial, by the trial's number as text; the latest if a trial has several."""
    return {
        child.data.tags[names.TRIAL_NUMBER]: TrialRun(child.info.run_id, dict(child.data.metrics))
        for child in _search_children(parent, "FINISHED")
        if names.TRIAL_NUMBER in child.data.tags
    }


def close_orphans(parent: OpenRun, errors: Mapping[str, str], ended_elsewhere: Collection[str] | None = ()) -> None:
    """Marks as KILLED every RUNNING child run whose process no longer exists.

    Only processes on this host can be checked. A run on another host is closed if `ended_elsewhere` covers its trial.

    Args:
        parent: The run of the sweep.
        errors: Texts for the tag `error`, by the trial's number as text. Other trials get `PROCESS_DIED`.
        ended_elsewhere: Numbers (as text) of the trials that, according to their launcher, no longer run on another
            host. None means all trials.
    """
    for run in _search_children(parent, "RUNNING"):
        child = LoggedRun(run.info.run_id, run.info.status, dict(run.data.tags))
        number = child.tags.get(names.TRIAL_NUMBER, "")
        is_lost = not is_on_this_host(child) and (ended_elsewhere is None or number in ended_elsewhere)
        # Read the status again: the run may have ended since the search.
        if (is_lost or is_orphan(child)) and find_run(parent.uri, child.run_id).status == "RUNNING":
            open_child = replace(parent, run_id=child.run_id)
            operations.set_tags(open_child, {"error": errors.get(number, PROCESS_DIED)})
            operations.end(open_child, "KILLED")


def _search_children(parent: OpenRun, status: str) -> Iterator[Any]:
    """Yields the child runs with a status as MLflow's `Run` entities, oldest first."""
    yield from iterate_pages(
        parent.client.search_runs,
        [parent.experiment_id],
        f"tags.`mlflow.parentRunId` = '{parent.run_id}' AND attributes.status = '{status}'",
        order_by=["attributes.start_time ASC"],
    )

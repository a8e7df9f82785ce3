"""The trials of a sweep as the store knows them: the child runs of its parent run.

A child is tagged ``mlflow.parentRunId``, and ``trainyard.trial`` with its number in the sweep.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainyard.tracking import operations
from trainyard.tracking.operations import OpenRun
from trainyard.tracking.runs import DIED, LoggedRun, all_pages, find_run, is_here, is_orphan

TRIAL_TAG = "trainyard.trial"


@dataclass(frozen=True, slots=True)
class FinishedTrial:
    """A trial whose run is FINISHED.

    Attributes:
        run_id: MLflow's id of its run.
        metrics: The last value of each.
    """

    run_id: str
    metrics: dict[str, float]


def find_finished(parent: OpenRun) -> dict[str, FinishedTrial]:
    """Returns the trials that finished, by their number as text; of a trial with several such runs, the latest."""
    return {
        child.data.tags[TRIAL_TAG]: FinishedTrial(child.info.run_id, dict(child.data.metrics))
        for child in _children(parent, "FINISHED")
        if TRIAL_TAG in child.data.tags
    }


def close_orphans(parent: OpenRun, errors: Mapping[str, str], elsewhere: Collection[str] | None = ()) -> None:
    """Marks as KILLED every child that says RUNNING and whose process, on this host, is gone.

    Args:
        parent: The run of the sweep.
        errors: What became of a trial, for the tag `error`, by its number as text. Of others it is said that their
            process died.
        elsewhere: The trials, by their number as text, of which no attempt on another host is alive, as their launcher
            says; None: that is so of all.
    """
    for found in _children(parent, "RUNNING"):
        child = LoggedRun(found.info.run_id, found.info.status, dict(found.data.tags))
        number = child.tags.get(TRIAL_TAG, "")
        lost = not is_here(child) and (elsewhere is None or number in elsewhere)
        if (lost or is_orphan(child)) and find_run(parent.uri, child.run_id).status == "RUNNING":  # has not ended since
            opened = replace(parent, run_id=child.run_id)
            operations.set_tags(opened, {"error": errors.get(number, DIED)})
            operations.end(opened, "KILLED")


def _children(parent: OpenRun, status: str) -> Iterator[Any]:
    """Yields the children with a status, as MLflow describes runs, the oldest first."""
    yield from all_pages(
        parent.client.search_runs,
        [parent.experiment_id],
        f"tags.`mlflow.parentRunId` = '{parent.run_id}' AND attributes.status = '{status}'",
        order_by=["attributes.start_time ASC"],
    )

"""The runs of a sweep's trials in the store: the child runs of the sweep's parent run.

A child run has the tag ``mlflow.parentRunId``, and its number in the sweep in the tag ``trainyard.trial``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from trainyard.tracking import names, operations
from trainyard.tracking.connection import iterate_pages
from trainyard.tracking.operations import OpenRun
from trainyard.tracking.run_record import RunRecord, build_run_record
from trainyard.tracking.tracking_store import PROCESS_DIED


def find_finished_trials(parent: OpenRun) -> dict[str, str]:
    """Returns the id of each trial's FINISHED run by the trial's number as text; the latest if a trial has several."""
    return {
        child.tags[names.TRIAL_NUMBER]: child.run_id or ""
        for child in _search_children(parent, "FINISHED")
        if names.TRIAL_NUMBER in child.tags
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
    for child in _search_children(parent, "RUNNING"):
        number = child.tags.get(names.TRIAL_NUMBER, "")
        is_lost = not child.is_on_this_host and (ended_elsewhere is None or number in ended_elsewhere)
        # Read the status again: the run may have ended since the search.
        if (is_lost or child.is_orphan) and parent.client.get_run(child.run_id).info.status == "RUNNING":
            open_child = replace(parent, run_id=child.run_id or "")
            operations.set_tags(open_child, {"error": errors.get(number, PROCESS_DIED)})
            operations.end(open_child, "KILLED")


def _search_children(parent: OpenRun, status: str) -> Iterator[RunRecord]:
    """Yields the child runs with a status, oldest first."""
    condition = f"tags.`mlflow.parentRunId` = '{parent.run_id}' AND attributes.status = '{status}'"
    order = ["attributes.start_time ASC"]
    for child in iterate_pages(parent.client.search_runs, [parent.experiment_id], condition, order_by=order):
        yield build_run_record(child, "", parent.store)

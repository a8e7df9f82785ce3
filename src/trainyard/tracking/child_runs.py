"""Queries and operations of a sweep's parent run: its store, and the runs of its trials.

They can be pickled, so that another process can perform them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from trainyard.tracking import names
from trainyard.tracking.operations import OpenRun
from trainyard.tracking.run_record import RunRecord, build_run_record
from trainyard.tracking.tracking_store import PROCESS_DIED, TrackingStore


def has_logged_models(run: OpenRun) -> bool:
    """Returns whether the store of a run has logged models."""
    return run.store.has_logged_models


def find_finished_trials(parent: OpenRun) -> dict[str, str]:
    """Returns the id of each trial's FINISHED run by the trial's number as text; the latest if a trial has several."""
    return {
        child.tags[names.TRIAL_NUMBER]: child.run_id or ""
        for child in _search_children(parent, "FINISHED")
        if names.TRIAL_NUMBER in child.tags
    }


def find_stored_trials(store: TrackingStore, key: str) -> dict[str, str]:
    """Returns the result of `find_finished_trials` for the sweep whose parent run has a key.

    The result is empty if the store does not contain this run, or does not exist. Raises a TrackingError if it fails.
    """
    file = store.sqlite_file
    if file and not (file.exists() and file.stat().st_size):
        return {}
    with store.translate_errors():
        parent = store.find_run_by_key(key)
        if parent is None:
            return {}
        return find_finished_trials(OpenRun(store, parent.info.experiment_id, parent.info.run_id, ""))


def close_orphans(
    parent: OpenRun,
    errors: Mapping[str, str],
    ended_elsewhere: Collection[str] | None = (),
    only: str | None = None,
) -> None:
    """Marks as KILLED every RUNNING child run whose process no longer exists.

    Only processes on this host can be checked. A run on another host is closed if `ended_elsewhere` covers its trial.

    Args:
        parent: The run of the sweep.
        errors: Texts for the tag `error`, by the trial's number as text. Other trials get `PROCESS_DIED`.
        ended_elsewhere: Numbers (as text) of the trials that, according to their launcher, no longer run on another
            host. None means all trials.
        only: The number (as text) of the only trial whose run may be closed. None means all trials.
    """
    for child in _search_children(parent, "RUNNING"):
        number = child.tags.get(names.TRIAL_NUMBER, "")
        if only is not None and number != only:
            continue
        is_lost = not child.is_on_this_host and (ended_elsewhere is None or number in ended_elsewhere)
        # Read the status again: the run may have ended since the search.
        if (is_lost or child.is_orphan) and parent.client.get_run(child.run_id).info.status == "RUNNING":
            parent.store.mark_killed(child.run_id or "", errors.get(number, PROCESS_DIED))


def _search_children(parent: OpenRun, status: str) -> Iterator[RunRecord]:
    """Yields the child runs with a status, oldest first."""
    condition = f"tags.`mlflow.parentRunId` = '{parent.run_id}' AND attributes.status = '{status}'"
    for child in parent.store.iterate_runs(condition, [parent.experiment_id], ["attributes.start_time ASC"]):
        yield build_run_record(child, "", parent.store)

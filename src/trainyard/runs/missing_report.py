"""Writes the report of a run that has none, on request: of a finished run, or of one that failed or was interrupted."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from trainyard.data import PREPROCESSING_FILE
from trainyard.errors import ConfigError, TrackingError, TrainyardError
from trainyard.runs import artifacts
from trainyard.runs.failure import restore_failure_report
from trainyard.runs.lookup import find_run, get_run_folder
from trainyard.runs.report import list_report_files, restore_report
from trainyard.runs.sync import find_store
from trainyard.tracking import RunRecord, TrackingStore, load_operations, load_run_record, names, upload_files

_SOURCES = (names.CONFIG_FILE, "environment")
"""The artifacts that every run logs when it starts."""
_RESULTS = (PREPROCESSING_FILE, artifacts.MODEL_SUMMARY, "evaluation")
"""The further artifacts from which the report of a finished run is written."""


def report_run(reference: str, store: TrackingStore | None, notify: Callable[[str], None]) -> Path:
    """Returns the report of a run that has ended. If there is none, writes it with its plots, and logs them.

    They are written to the folder of the run. If it is not on this machine, the report is in Trainyard's cache. The
    report of a run that failed or was interrupted has the error and the completed epochs instead of scores.

    Args:
        reference: The run's id in the store, or its folder.
        store: The tracking store. None uses the store of the run if a folder is given, otherwise the default store.
        notify: Called with each warning, for example that a plot can't be drawn.

    Raises:
        ConfigError: If the run does not exist or may still be running, or one of its files can't be read.
        ModelError: If its preprocessing.json can't be read.
        TrackingError: If the store can't be reached, or does not contain the files of the run.
        TrainyardError: If the report can't be written.
    """
    run = find_run(reference, store or TrackingStore.default(), "report")
    _check_ended(run)
    if run.store and run.folder is None:
        return _report_remote_run(run, run.store, notify)
    folder = get_run_folder(run, "report")
    report = folder / names.REPORT_FILE
    if not report.is_file():
        _write_report(load_run_record(folder), folder, run.status, notify)
    logged = load_operations(folder)
    store = run.store or store or find_store(folder, logged)
    if run_id := run.run_id if run.store else logged.stores.get(store.name):
        upload_files(store, run_id, folder, list_report_files(folder))
    if not report.is_file():
        raise TrainyardError(f"{report}: it can't be written; the reason is in {folder / names.WARNINGS_FILE}")
    return report


def _check_ended(run: RunRecord) -> None:
    """Raises a ConfigError if a run is running, or was started on another host and has no final status."""
    if run.status != "RUNNING" or run.is_orphan:
        return
    expected = f"report: expected a run that has ended, got {run.identity}, which"
    if run.is_alive:
        raise ConfigError(
            f"{expected} is still running, as process {run.tags[names.PID]}. Wait until it ends, or stop it"
        )
    host = run.tags.get(names.HOST, "(unknown)")
    raise ConfigError(
        f"{expected} has no final status, so it may still be running on host {host}. Wait until it ends. If its "
        f"process no longer exists, close the run on {host}: trainyard sync {run.tags.get(names.FOLDER, 'FOLDER')}"
    )


def _write_report(run: RunRecord, folder: Path, status: str, notify: Callable[[str], None]) -> None:
    """Writes the report of a run to a folder with its artifacts. The status is RUNNING if its process died."""
    if status == "FINISHED":
        restore_report(run, folder, notify)
    else:
        restore_failure_report(run, folder, notify)


def _report_remote_run(run: RunRecord, store: TrackingStore, notify: Callable[[str], None]) -> Path:
    """Returns the report of a run whose folder is not on this machine, in Trainyard's cache."""
    import pooch

    run_id = str(run.run_id)
    report = Path(pooch.os_cache("trainyard")) / "reports" / f"{run_id}.html"
    if not report.is_file():
        report.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=report.parent) as temporary:
            folder = Path(temporary)
            try:
                store.download_files(run_id, [names.REPORT_FILE], folder)
            except TrackingError:  # the run has no report
                _download_sources(run, store, folder)
                _write_report(run, folder, run.status, notify)
                upload_files(store, run_id, folder, list_report_files(folder))
            (folder / names.REPORT_FILE).replace(report)
    return report


def _download_sources(run: RunRecord, store: TrackingStore, folder: Path) -> None:
    """Downloads the artifacts from which the report of a run is written. A run that did not finish may lack some."""
    run_id = str(run.run_id)
    if run.status == "FINISHED":
        store.download_files(run_id, (*_SOURCES, *_RESULTS), folder)
        return
    store.download_files(run_id, _SOURCES, folder)
    for name in (PREPROCESSING_FILE, artifacts.MODEL_SUMMARY, names.ERROR_FILE):
        with contextlib.suppress(TrackingError):
            store.download_files(run_id, [name], folder)

"""The only place that knows MLflow: the store, the experiment and its view, one run, its model."""

from trainyard.tracking.operations import DatasetInput
from trainyard.tracking.runs import LoggedRun, download_files, find_run, mark_killed
from trainyard.tracking.store import training_view_url
from trainyard.tracking.tracker import Tracker, open_tracker

__all__ = [
    "DatasetInput",
    "LoggedRun",
    "Tracker",
    "download_files",
    "find_run",
    "mark_killed",
    "open_tracker",
    "training_view_url",
]

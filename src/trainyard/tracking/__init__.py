"""The only place that knows MLflow: the store, the experiment and its view, one run, a sweep's, a model."""

from trainyard.tracking.children import FinishedTrial
from trainyard.tracking.journal import Account, logged_files, note_stored, read_account
from trainyard.tracking.operations import DatasetInput
from trainyard.tracking.parent import ParentRun
from trainyard.tracking.runs import LoggedRun, download_files, find_run, mark_killed
from trainyard.tracking.servable import ServableModel
from trainyard.tracking.store import training_view_url
from trainyard.tracking.tracker import Tracker, open_tracker
from trainyard.tracking.upload import has_run, upload
from trainyard.tracking.view import sweep_view_key

__all__ = [
    "Account",
    "DatasetInput",
    "FinishedTrial",
    "LoggedRun",
    "ParentRun",
    "ServableModel",
    "Tracker",
    "download_files",
    "find_run",
    "has_run",
    "logged_files",
    "mark_killed",
    "note_stored",
    "open_tracker",
    "read_account",
    "sweep_view_key",
    "training_view_url",
    "upload",
]

"""The only place that knows MLflow: the store, the experiment and its view, one run, a sweep's, a model."""

from trainyard.tracking.connection import training_view_url
from trainyard.tracking.journal import Account, logged_files, note_stored, read_account
from trainyard.tracking.mlflow_model import ServableModel
from trainyard.tracking.operations import DatasetInput
from trainyard.tracking.runs import LoggedRun, download_files, find_run, mark_killed
from trainyard.tracking.sweep_run import ParentRun
from trainyard.tracking.tracker import Tracker, open_tracker
from trainyard.tracking.trial_runs import FinishedTrial
from trainyard.tracking.ui_views import sweep_view_key
from trainyard.tracking.upload import has_run, upload

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

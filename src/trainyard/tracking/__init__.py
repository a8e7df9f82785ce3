"""Access to MLflow: stores, experiments, runs and their views in the UI, and logged models."""

from trainyard.tracking.connection import training_view_url
from trainyard.tracking.journal import RunRecord, find_logged_files, load_run_record, record_stored
from trainyard.tracking.mlflow_model import ServableModel
from trainyard.tracking.operations import DatasetInput
from trainyard.tracking.runs import LoggedRun, download_files, find_run, mark_killed
from trainyard.tracking.sweep_run import SweepParentRun
from trainyard.tracking.tracker import Tracker, open_tracker
from trainyard.tracking.trial_runs import TrialRun
from trainyard.tracking.ui_views import sweep_view_key
from trainyard.tracking.upload import has_run, upload_record

__all__ = [
    "DatasetInput",
    "LoggedRun",
    "RunRecord",
    "ServableModel",
    "SweepParentRun",
    "Tracker",
    "TrialRun",
    "download_files",
    "find_logged_files",
    "find_run",
    "has_run",
    "load_run_record",
    "mark_killed",
    "open_tracker",
    "record_stored",
    "sweep_view_key",
    "training_view_url",
    "upload_record",
]

"""Access to MLflow: stores, experiments, runs and their views in the UI, and logged models."""

from trainyard.tracking import names, ui_server
from trainyard.tracking.connection import build_training_view_url, find_artifact_folder
from trainyard.tracking.health import PROCESS_TAGS, StoreHealth, examine_store, roll_back_interrupted_write
from trainyard.tracking.history import find_sibling_accuracies, load_stored_record
from trainyard.tracking.mlflow_model import ServableModel
from trainyard.tracking.model_registry import LoggedModel, download_logged_model, find_logged_model, register_model
from trainyard.tracking.operation_log import (
    LOCK,
    OPERATION_LOG_FILE,
    RunRecord,
    find_logged_files,
    load_run_record,
    record_stored,
)
from trainyard.tracking.operations import DatasetInput
from trainyard.tracking.runs import (
    LoggedRun,
    download_files,
    find_run,
    is_alive,
    is_on_this_host,
    is_orphan,
    mark_killed,
)
from trainyard.tracking.search import StoredRun, load_metric_history, load_stored_run, search_runs
from trainyard.tracking.stores import URI_VARIABLE, LocalStore, resolve_store_uri
from trainyard.tracking.sweep_run import SweepParentRun
from trainyard.tracking.tracker import Tracker, open_tracker
from trainyard.tracking.trial_runs import TrialRun
from trainyard.tracking.ui_views import SHARE_KEY, build_sweep_view_key
from trainyard.tracking.upload import has_run, upload_record

__all__ = [
    "LOCK",
    "OPERATION_LOG_FILE",
    "PROCESS_TAGS",
    "SHARE_KEY",
    "URI_VARIABLE",
    "DatasetInput",
    "LocalStore",
    "LoggedModel",
    "LoggedRun",
    "RunRecord",
    "ServableModel",
    "StoreHealth",
    "StoredRun",
    "SweepParentRun",
    "Tracker",
    "TrialRun",
    "build_sweep_view_key",
    "build_training_view_url",
    "download_files",
    "download_logged_model",
    "examine_store",
    "find_artifact_folder",
    "find_logged_files",
    "find_logged_model",
    "find_run",
    "find_sibling_accuracies",
    "has_run",
    "is_alive",
    "is_on_this_host",
    "is_orphan",
    "load_metric_history",
    "load_run_record",
    "load_stored_record",
    "load_stored_run",
    "mark_killed",
    "names",
    "open_tracker",
    "record_stored",
    "register_model",
    "resolve_store_uri",
    "roll_back_interrupted_write",
    "search_runs",
    "ui_server",
    "upload_record",
]

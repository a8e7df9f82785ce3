"""Access to MLflow: stores, experiments, runs and their views in the UI, and logged models."""

from trainyard.tracking import names, ui_server
from trainyard.tracking.child_runs import find_stored_trials
from trainyard.tracking.connection import build_training_view_url
from trainyard.tracking.health import StoreHealth, examine_store, roll_back_interrupted_write
from trainyard.tracking.mlflow_internals import cache_latest_schema_revision
from trainyard.tracking.mlflow_model import MODEL_PACKAGES, ServableModel
from trainyard.tracking.model_registry import register_model
from trainyard.tracking.operation_log import LOCK, OPERATION_LOG_FILE, LoggedOperations, load_operations
from trainyard.tracking.operations import DIGEST_LENGTH, DatasetInput, find_test_split
from trainyard.tracking.run_record import RunRecord, load_run_record
from trainyard.tracking.schema import describe_upgrade, load_schema_revisions
from trainyard.tracking.stores import URI_VARIABLE
from trainyard.tracking.tracker import Tracker, make_writable, open_tracker
from trainyard.tracking.tracking_store import PROCESS_DIED, StoredModel, TrackingStore
from trainyard.tracking.ui_views import SHARE_KEY, build_sweep_view_key
from trainyard.tracking.upload import has_run, upload_files, upload_operations
from trainyard.tracking.writer import RunRequest

"""One run from start to end: its folder, artifacts and tags; resuming, finding and uploading runs."""

from trainyard.runs.commands import build_model_commands, build_run_commands, build_store_command
from trainyard.runs.console import ScreenProgress, print_result, run_and_print
from trainyard.runs.context import TrialInfo, build_provenance_tags
from trainyard.runs.experiment import run_experiment
from trainyard.runs.lookup import (
    MODEL_FILE,
    MODEL_SUFFIXES,
    find_model,
    find_run,
    find_run_folder,
    find_start_model,
    load_model,
)
from trainyard.runs.missing_report import report_run
from trainyard.runs.provenance import describe_run_provenance, load_dataset_summary
from trainyard.runs.report import write_missing_report
from trainyard.runs.result import RunResult
from trainyard.runs.resume import load_recorded_overrides
from trainyard.runs.sync import LiveRunError, find_run_folders, sync_run
from trainyard.runs.tested_images import load_test_images

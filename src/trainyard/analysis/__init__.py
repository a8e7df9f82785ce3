"""Analysis of finished runs: comparisons, claims and reruns."""

from trainyard.analysis.claims.index import write_index
from trainyard.analysis.claims.judging import MIN_SEEDS
from trainyard.analysis.claims.record import PAGE
from trainyard.analysis.claims.reproduction import ClaimResult, reproduce_experiment
from trainyard.analysis.claims.spec import (
    CLAIM_FILE,
    EXPERIMENTS,
    TARGET_FILE,
    Claim,
    Target,
    find_spec,
    list_experiments,
    load_spec,
)
from trainyard.analysis.compare.comparison import Comparison, check_page_path, compare_records, compare_selection
from trainyard.analysis.compare.selection import Selection, load_single_run, search_runs
from trainyard.analysis.rerun.comparison import Agreement, RerunComparison
from trainyard.analysis.rerun.rerun import RerunResult, plan_rerun, run_rerun
from trainyard.analysis.run_collection import Run, RunCollection

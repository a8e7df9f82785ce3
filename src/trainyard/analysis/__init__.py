"""Analysis of finished runs: comparisons, claims and reruns."""

from trainyard.analysis.claims.index import write_index
from trainyard.analysis.claims.provenance import (
    check_recipe_matches_search,
    collect_runs_provenance,
    describe_search,
)
from trainyard.analysis.claims.record import (
    PAGE,
    build_summary,
    check_report_rows,
    describe_verdict,
    determine_verdict,
    write_record,
)
from trainyard.analysis.claims.results import Results, load_arm
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
from trainyard.analysis.compare.page import CURVE_METRICS, MAX_CURVES, RunPair, write_comparison_page
from trainyard.analysis.compare.predictions import compare_predictions, load_predictions, load_test_images
from trainyard.analysis.compare.selection import SelectedRuns, Selection, select_runs
from trainyard.analysis.compare.table import ComparisonTable, build_comparison_table, choose_metric
from trainyard.analysis.rerun.comparison import Likeness, RerunComparison, compare_runs
from trainyard.analysis.rerun.original import OriginalRun, keeps_engine, load_original, restore_config

__all__ = [
    "CLAIM_FILE",
    "CURVE_METRICS",
    "EXPERIMENTS",
    "MAX_CURVES",
    "PAGE",
    "TARGET_FILE",
    "Claim",
    "ComparisonTable",
    "Likeness",
    "OriginalRun",
    "RerunComparison",
    "Results",
    "RunPair",
    "SelectedRuns",
    "Selection",
    "Target",
    "build_comparison_table",
    "build_summary",
    "check_recipe_matches_search",
    "check_report_rows",
    "choose_metric",
    "collect_runs_provenance",
    "compare_predictions",
    "compare_runs",
    "describe_search",
    "describe_verdict",
    "determine_verdict",
    "find_spec",
    "keeps_engine",
    "list_experiments",
    "load_arm",
    "load_original",
    "load_predictions",
    "load_spec",
    "load_test_images",
    "restore_config",
    "select_runs",
    "write_comparison_page",
    "write_index",
    "write_record",
]
